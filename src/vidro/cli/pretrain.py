"""``vidro pretrain``: make a language model from a text."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from vidro.api.pretrain import Request, request
from vidro.api.settings import RunOptions
from vidro.cli.apps import make_app
from vidro.cli.options import Json, switch, takes
from vidro.config.schema import PretrainOptions

app = make_app(
    "pretrain",
    "Make a language model from a text, from scratch, and keep it in a run directory.",
    usage="vidro pretrain FILE (--minutes N | --tokens N | --steps N | --epochs N)",
    examples=(
        "vidro pretrain book.txt --minutes 10",
        "vidro pretrain books/ --epochs 3 --d-model 256 --n-layers 6",
        "vidro pretrain --resume last               go on after a stop",
        "vidro pretrain --resume last --more 10     its end ten minutes later",
        "vidro pretrain new.txt --from last --minutes 5",
    ),
)

TEXT_HELP = "A text: a file, a folder, a pattern such as 'books/*.txt', a corpus, or - for stdin."
File = Annotated[str | None, Parameter(help=TEXT_HELP)]
DryRun = Annotated[bool, switch("Show the settings and the model's size, and train nothing.")]


@app.default
@takes(RunOptions, PretrainOptions)
def pretrain(file: File = None, /, *, dry_run: DryRun = False, json: Json = False, **settings: Any) -> int:
    """Train, or show what would be trained."""
    wish = request(file, settings)
    return show_plan(wish, json=json) if dry_run else train(wish, json=json)


def train(wish: Request, *, json: bool) -> int:
    """Train with progress on stderr; a summary there, and on stdout the run directory (or one JSON object)."""
    from vidro.api.pretrain import carry_out
    from vidro.cli.places import cache_dir
    from vidro.cli.progress import show_progress
    from vidro.cli.terminal import print_json

    with show_progress() as progress:
        from vidro.train.machine import physical_threads, process_age_s
        from vidro.train.pretrain import exit_code  # loads torch, while the display says so

        result = carry_out(
            wish,
            cache_dir=cache_dir(),
            sinks=(progress,),
            on_landing=progress.landing,
            age_s=process_age_s(),
            processes=physical_threads(),
        )
    if json:
        print_json({"run": result.path, "reason": result.reason, **result.results})
    else:
        progress.summary(result.path)
        print(result.path, flush=True)
    return exit_code(result)


def show_plan(wish: Request, *, json: bool) -> int:
    """All settings, resolved, as TOML (or JSON), and what model they make."""
    from dataclasses import asdict

    from vidro.api.pretrain import look_ahead
    from vidro.api.words import human_bytes, human_count
    from vidro.cli.places import cache_dir
    from vidro.cli.terminal import note, print_json
    from vidro.config.load import to_dict, to_toml
    from vidro.model.count import count
    from vidro.train.machine import physical_threads, process_age_s

    setup = look_ahead(wish, cache_dir=cache_dir(), say=note, processes=physical_threads(), used_s=process_age_s)
    for message in setup.notes:
        note(message)
    size = count(setup.plan.model)
    if json:
        print_json({"settings": to_dict(setup.options), "model": to_dict(setup.plan.model), "size": asdict(size)})
        return 0
    train, val = setup.prepared.train.n_tokens, setup.prepared.val.n_tokens
    print(to_toml(to_dict(setup.options)), end="")
    steps = "as many as fit" if setup.plan.steps is None else f"{setup.plan.steps:,}"
    print(f"""
# text: {human_count(train)} tokens to learn from, {human_count(val)} to check with
# model: {size.n_parameters:,} parameters ({human_bytes(size.bytes_fp32)})
# step: {setup.plan.tokens_per_step:,} tokens; steps: {steps}
# nothing was trained""")
    return 0
