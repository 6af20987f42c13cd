"""What a run knows by heart: its samples searched in all the text that it and the runs before it learned from.

Not here: the search and the figures (`evals/copying`), the screen (`cli/memorisation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.api.texts import kind_of, recorded_data, text_source
from vidro.config.load import resolve
from vidro.config.schema import DataOptions, SamplingOptions, Settings, setting
from vidro.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.evals.copying import Memorisation
    from vidro.infer.session import Generation

SAMPLES = 20
SEED = 1337


@dataclass(frozen=True, kw_only=True)
class MemorisationOptions(Settings):
    """What is drawn from the model, and what counts as copied."""

    samples: int | None = setting(None, f"Texts to draw: {SAMPLES}; with prompts, of each prompt, 1.", ge=1)
    min_chars: int = setting(30, "The shortest passage that counts as copied.", ge=20, unit="characters")
    max_tokens: int = setting(200, "Longest text to draw.", ge=1, unit="tokens")
    temperature: float = setting(0.8, "Below 1 bolder about the likely, above 1 more random; 0 is greedy.", ge=0)
    top_k: int | None = setting(None, "Choose among the k most probable tokens only.", ge=1)


@dataclass(frozen=True)
class LearnedText:
    """The text that is searched, and the held-out text beside it."""

    name: str
    train: list[str]
    held_out: list[str]


def memorisation_options(said: Mapping[str, Any]) -> MemorisationOptions:
    """MemorisationOptions from keywords. Raises UsageError for a name nobody knows."""
    return resolve(MemorisationOptions, flags=dict(said))


def measure_memorisation(
    run: Run,
    text: str | Path | None = None,
    *,
    prompts: Sequence[str] = (),
    seed: int = SEED,
    cache_dir: Path | None = None,
    **options: Any,
) -> Memorisation:
    """Draw samples from the run and find what of them stands in its training text, beside held-out text.

    `text` takes the place of the text that the record names, and is divided as that was. `prompts` are questions for a
    run that was taught to answer. Keywords: MemorisationOptions. Remarks go to the run's `say`. Raises DataError where
    the text is gone or has changed, UsageError for a classifier, which writes nothing, and for questions that were not
    asked.
    """
    from vidro.api.places import default_cache_dir

    chosen = memorisation_options(options)
    n_each = samples_each(chosen, prompted=bool(prompts))
    if run.style is not None and not prompts:
        hint = "Ask it: give prompts. Or measure the run that it was made from."
        raise UsageError("this run was taught to answer and starts no text by itself", where=run.path, hint=hint)
    cache = default_cache_dir() if cache_dir is None else cache_dir
    learned = learned_text(run, cache_dir=cache) if text is None else given_text(run, text, cache_dir=cache)
    return search(run, learned, draw(run, prompts, chosen, n=n_each, seed=seed), chosen, seed=seed)


def samples_each(options: MemorisationOptions, *, prompted: bool) -> int:
    """How many samples each prompt gets, or the bare start. Raises UsageError where all would be the same."""
    n = options.samples if options.samples is not None else 1 if prompted else SAMPLES
    if options.temperature == 0 and n > 1:
        raise UsageError("at temperature 0 all samples are the same", where="samples", hint="Ask for one.")
    return n


def draw(
    run: Run, prompts: Sequence[str], options: MemorisationOptions, *, n: int, seed: int
) -> list[tuple[str, Generation]]:
    """(prompt, sample) pairs: `n` after each prompt, or from the bare start, as every document began in training."""
    from vidro.text.conversation import Message

    how = {"max_tokens": options.max_tokens, "temperature": options.temperature, "top_k": options.top_k}
    if run.style is None or not prompts:
        drawn = run.session.generate(list(prompts) or [""], SamplingOptions(**how, seed=seed), n=n)
        return [(one.prompt, one) for one in drawn]
    asked = [[Message("user", prompt)] for prompt in prompts]
    rounds = [run.answerer.answers(asked, SamplingOptions(**how, seed=seed + number)) for number in range(n)]
    return [(prompt, one[place]) for place, prompt in enumerate(prompts) for one in rounds]


def search(
    run: Run,
    learned: LearnedText,
    drawn: Sequence[tuple[str, Generation]],
    options: MemorisationOptions,
    *,
    seed: int,
) -> Memorisation:
    """The samples and held-out text of their lengths, searched in the training text."""
    import numpy as np

    from vidro.data.split import utf8_length
    from vidro.evals.copying import Memorisation, copied_text, copy_index, held_out_passages

    texts = [one.text for _, one in drawn]
    rng = np.random.default_rng(seed)
    passages = held_out_passages(learned.held_out, [len(text) for text in texts], rng)
    n_short = sum(len(passage) < len(text) for passage, text in zip(passages, texts, strict=True))
    if n_short:
        run.say(f"The held-out text of {learned.name} is shorter than {n_short:,} of {len(texts):,} samples.")
    index = copy_index(learned.train)
    least = options.min_chars
    samples = [copied_text(index, one.text, min_chars=least, prompt=prompt, seed=one.seed) for prompt, one in drawn]
    return Memorisation(
        run=run.reference,
        text=learned.name,
        text_bytes=sum(map(utf8_length, learned.train)),
        min_chars=least,
        shortest_chars=index.shortest,
        samples=tuple(samples),
        held_out=tuple(copied_text(index, passage, min_chars=least) for passage in passages),
        n_short=n_short,
        settings={**{k: v for k, v in asdict(options).items() if v is not None}, "seed": seed},
    )


def learned_text(run: Run, *, cache_dir: Path) -> LearnedText:
    """All that the run and those before it learned from, and what the last pretraining kept back.

    Raises DataError where one of the texts is gone or has changed.
    """
    try:
        line = run.ancestry()
        bases = [each for each in line if kind_of(each) == "base"]
        if not bases:
            raise DataError("no run before it learned from a text of its own", where=run.path)
        train = list(distinct_texts(line, cache_dir=cache_dir))
        held_out = list(text_source(bases[-1], cache_dir=cache_dir).val_texts())
    except DataError as problem:
        hint = "Name the training text." if problem.hint is None else f"{problem.hint} Or name another."
        raise DataError(problem.what, where=problem.where, hint=hint) from None
    names = dict.fromkeys(str(recorded_data(each)["name"]) for each in line)
    return LearnedText(", ".join(names), train, held_out)


def distinct_texts(line: Sequence[Run], *, cache_dir: Path) -> Iterator[str]:
    """The training texts of the runs; a text that several of them read comes once."""
    seen: set[tuple[str, str]] = set()
    for run in line:
        key = (kind_of(run), recorded_data(run)["sha256"])
        if key not in seen:
            seen.add(key)
            yield from run.training_texts(cache_dir=cache_dir)


def given_text(run: Run, text: str | Path, *, cache_dir: Path) -> LearnedText:
    """A text that was named, divided as the run's own settings say."""
    from vidro.data.survey import open_source

    options = run.settings.data if kind_of(run) == "base" and (run.path / "run.toml").is_file() else DataOptions()
    source = open_source(text, options, cache_dir=cache_dir)
    for message in source.notes:
        run.say(message)
    split = source.split()
    return LearnedText(source.name, split.train, split.val)
