"""``vidro generate``: a model continues prompts."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vidro.cli.apps import make_app
from vidro.cli.options import Device, Json, Quantize, RunName, Threads, switch, takes, value
from vidro.config.schema import SamplingOptions
from vidro.core.errors import UsageError

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.infer.session import Generation

app = make_app(
    "generate",
    "Let a model continue a prompt. Without one it starts a new text.",
    usage='vidro generate RUN ["PROMPT"...]',
    examples=(
        'vidro generate last "Once upon a time"',
        'vidro generate last "Once" --samples 3 --temperature 1.0 --seed 7',
        'vidro generate book-1@500 "Once" --greedy --max-tokens 50',
        'vidro generate last "Once" --explain',
    ),
)

Prompts = Annotated[str, Parameter(help="What to continue; quotes around it. Several are continued side by side.")]
PromptsFile = Annotated[Path | None, value("A text file with one prompt a line.", "FILE")]
Samples = Annotated[int, value("How many continuations of each prompt.", "N")]
Logprobs = Annotated[bool, switch("Say how probable each token was.")]
Explain = Annotated[bool, switch("Show every step from the prompt to the next token, with the real numbers.")]

NOT_EXPLAINED = ("samples", "logprobs", "max_tokens", "stop", "on_full")


@app.default
@takes(SamplingOptions)
def generate(  # noqa: PLR0913 — as many parameters as flags
    run: RunName,
    /,
    *prompts: Prompts,
    prompts_file: PromptsFile = None,
    samples: Samples = 1,
    logprobs: Logprobs = False,
    explain: Explain = False,
    device: Device = "auto",
    quantize: Quantize = None,
    threads: Threads = None,
    json: Json = False,
    **sampling: Any,
) -> int:
    """Continue the prompts: as they are written where there is one text, else one after the other."""
    from vidro.api.run import load
    from vidro.api.settings import sampling_options
    from vidro.cli.options import use_threads
    from vidro.cli.places import cache_dir

    sampling_options(sampling)  # a wrong value is said before the model is looked for
    texts = all_prompts(prompts, prompts_file)
    if explain:
        said = {"samples": samples != 1, "logprobs": logprobs}
        check_explained(texts, [name for name, here in said.items() if here] + list(sampling))
    model = load(run, device=device, quantize=quantize, cache_dir=cache_dir())
    use_threads(threads)
    if explain:
        return explain_prompt(model, texts, sampling, json=json)
    if len(texts) == 1 and samples == 1 and not json and not logprobs:
        return write_live(model, texts[0], sampling)
    found = model.generate_many(texts, samples=samples, **sampling)
    if json:
        from vidro.cli.terminal import print_json

        results = [plain_generation(model, each, logprobs=logprobs) for each in found]
        print_json(results[0] if len(results) == 1 else {"generations": results})
    else:
        show_all(model, found, logprobs=logprobs)
    return 0


def all_prompts(prompts: tuple[str, ...], file: Path | None) -> list[str]:
    """The prompts of the command line, then those of the file; one empty prompt when there are none at all."""
    texts = list(prompts)
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as problem:
            if isinstance(problem, UnicodeDecodeError):
                raise UsageError("this is not UTF-8 text", where=file, hint="Save it as UTF-8.") from None
            raise UsageError("there is no such file", where=file) from None
        texts += [line for line in lines if line.strip()]
        if not texts:
            raise UsageError("there is no prompt in this file", where=file, hint="Write one a line.")
    return texts if texts else [""]


def write_live(run: Run, prompt: str, sampling: dict[str, Any]) -> int:
    """Print the prompt and then each piece as it comes; speed and seed at the end, on stderr."""
    import time
    from dataclasses import replace

    from vidro.api.settings import sampling_options
    from vidro.api.words import visible
    from vidro.infer.session import fresh_seed
    from vidro.model.sampling import is_greedy

    options = sampling_options(sampling)
    if options.seed is None and not is_greedy(options):
        options = replace(options, seed=fresh_seed())
    _ = run.session  # reading the weights is not writing
    pieces = iter(run.pieces(prompt, options))
    started, n_tokens = time.perf_counter(), 0
    first = [piece for piece in (next(pieces, None),) if piece is not None]  # mistakes come before anything is printed
    styled = sys.stdout.isatty()
    print(f"\x1b[1m{prompt}\x1b[0m" if styled else prompt, end="", flush=True)
    for piece in itertools.chain(first, pieces):
        n_tokens += 1
        print(visible(piece.text) if styled else piece.text, end="", flush=True)
    print(flush=True)
    _remark(n_tokens, n_tokens / max(time.perf_counter() - started, 1e-9), options.seed)
    return 0


def _remark(n_tokens: int, tokens_per_s: float, seed: int | None) -> None:
    from vidro.cli.terminal import note

    chance = "" if seed is None else f", --seed {seed} writes it again"
    line = f"{n_tokens} tokens, {tokens_per_s:.0f} tokens/s{chance}"
    note(f"\x1b[2m{line}\x1b[0m" if sys.stderr.isatty() else line)


def show_all(run: Run, found: list[Generation], *, logprobs: bool) -> None:
    """All texts, one below the other, with a heading each when there are several."""
    from vidro.api.words import visible
    from vidro.cli.terminal import stdout_console

    console = stdout_console()
    for number, each in enumerate(found, start=1):
        if len(found) > 1:
            seed = "" if each.seed is None else f", --seed {each.seed}"
            console.print(f"── {number} of {len(found)}{seed} ──", style="dim", markup=False)
        print(each.prompt + (visible(each.text) if console.is_terminal else each.text), flush=True)
        if logprobs:
            console.print(token_table(run, each))
        for message in each.notes:
            run.say(message)
    if len(found) == 1:
        _remark(len(found[0].ids), found[0].tokens_per_s, found[0].seed)


def token_table(run: Run, generation: Generation) -> Any:
    """Each token and how probable the model thought it."""
    import math

    from vidro.cli.terminal import table

    grid = table("token", "id", "probability", "nats", right=("id", "probability", "nats"))
    for number, nats in zip(generation.ids, generation.logprobs_nats, strict=True):
        grid.add_row(repr(run.tokenizer.token_text(number))[1:-1], str(number), f"{math.exp(nats):.1%}", f"{nats:.3f}")
    return grid


def plain_generation(run: Run, generation: Generation, *, logprobs: bool) -> dict[str, Any]:
    """The object of ``--json``."""
    fields: dict[str, Any] = {
        "text": generation.text,
        "ids": generation.ids,
        "tokens_per_s": round(generation.tokens_per_s, 2),
        "prompt": generation.prompt,
        "finish_reason": generation.finish_reason,
        "seed": generation.seed,
        "notes": generation.notes,
    }
    if logprobs:
        fields["tokens"] = [run.tokenizer.token_text(number) for number in generation.ids]
        fields["logprobs_nats"] = generation.logprobs_nats
    return fields


def check_explained(prompts: list[str], said: list[str]) -> None:
    """Raise UsageError for several prompts, and for flags that say nothing about the one token that is explained."""
    from vidro.cli.options import flag_name

    if len(prompts) != 1:
        raise UsageError("--explain explains one prompt", hint="Give one.")
    idle = [flag_name(name) for name in said if name in NOT_EXPLAINED]
    if idle:
        raise UsageError(f"--explain shows one token, so {' and '.join(idle)} would do nothing", hint="Leave it out.")


def explain_prompt(run: Run, prompts: list[str], sampling: dict[str, Any], *, json: bool) -> int:
    """The steps from one prompt to its next token."""
    from vidro.api.settings import sampling_options
    from vidro.cli.terminal import print_json
    from vidro.infer.explain import explain

    explanation = explain(run.model, run.tokenizer, prompts[0], sampling_options(sampling))
    if json:
        print_json(explanation)
    else:
        print(explanation)
    return 0
