"""A run in your hands: its record, its curves, and the model inside, ready to write.

Nothing heavy happens before it is needed: `load` reads names, the first `generate` reads weights. Not here: making a
run (`pretrain`), the files of a run (`checkpoint/run`).
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.api.evaluate import AnswerOptions, TaskOptions
from vidro.api.export import ExportOptions
from vidro.api.memorisation import SEED, MemorisationOptions
from vidro.api.quantized import check_quantize, open_int8
from vidro.api.settings import sampling_options, signature
from vidro.config.schema import SamplingOptions, Settings
from vidro.core.errors import UsageError

if TYPE_CHECKING:
    from vidro.api.export import ExportReport
    from vidro.checkpoint.run import OpenedRun
    from vidro.config.schema import ModelConfig
    from vidro.data.documents import ReadReport
    from vidro.evals.accuracy import ClassScores
    from vidro.evals.copying import Memorisation
    from vidro.evals.instructions import RunAnswers
    from vidro.evals.perplexity import TextScore
    from vidro.evals.tasks import TaskScores
    from vidro.infer.answering import Answerer
    from vidro.infer.classifier import ClassifierSession, Prediction
    from vidro.infer.session import Generation, Piece, Session
    from vidro.model.transformer import Transformer
    from vidro.text.conversation import PromptStyle
    from vidro.text.tokenizer import Tokenizer


MOST_PARENTS = 100  # a chain of --from longer than this is a circle


def to_stderr(message: str) -> None:
    """Where remarks go when nobody says otherwise."""
    print(message, file=sys.stderr, flush=True)


def load(
    name: str | Path = "last", *, runs_dir: str | Path = "runs", device: str = "auto", quantize: str | None = None,
    cache_dir: Path | None = None,
) -> Run:  # fmt: skip
    """The run called `name`: a path, a name under `runs_dir`, ``last``, ``NAME@best`` or ``NAME@500`` (a step).

    `quantize` "int8" and `cache_dir`: see `Run`. Raises RunError with the nearest known name.
    """
    from vidro.checkpoint.run import resolve_run

    ref = resolve_run(name, runs_dir=Path(runs_dir))
    return Run(ref.path, at=ref.at, device=device, quantize=quantize, cache_dir=cache_dir)


class Run:
    """A run directory and the model in it.

    `at` chooses the model: None or "best" (lowest validation loss), or a step that has a checkpoint. `quantize` "int8"
    gives its matrices eight bits (on the CPU, faster; never written); what that costs is said, measured once and kept
    in `cache_dir` (None: the user's). `say` receives remarks, such as "using the checkpoint of step 500 instead".
    """

    def __init__(
        self,
        path: str | Path,
        *,
        at: str | None = None,
        device: str = "auto",
        quantize: str | None = None,
        cache_dir: Path | None = None,
        say: Callable[[str], None] = to_stderr,
    ) -> None:
        check_quantize(quantize, device)
        self.quantize, self.cache_dir = quantize, cache_dir
        self.path = Path(path)
        self.at = at
        self.device = device
        self.say = say

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})" if self.at is None else f"Run({str(self.path)!r}, at={self.at!r})"

    @property
    def reference(self) -> str:
        """The run's path, with the step where it is not the best: what `load` finds it by."""
        return str(self.path) if self.at is None else f"{self.path}@{self.at}"

    # -- what it is ----------------------------------------------------------------------------------------------

    @functools.cached_property
    def opened(self) -> OpenedRun:
        """The checked files. Raises RunError or CheckpointError when no whole model is there."""
        from vidro.checkpoint.run import RunRef, open_run

        opened = open_run(RunRef(self.path, self.at))
        for message in opened.notes:
            self.say(message)
        return opened

    @property
    def record(self) -> dict[str, Any]:
        """``vidro.json``: where the run comes from and what it reached; empty before the first save."""
        from vidro.checkpoint.run import read_record

        return read_record(self.path)

    @property
    def settings(self) -> Any:
        """``run.toml``: every setting, resolved; PretrainOptions of a pretrained run, ClassifyOptions … of others."""
        from vidro.config.load import read_any_settings

        return read_any_settings(self.path / "run.toml")

    @property
    def config(self) -> ModelConfig:
        """The shape of the model."""
        return self.model.config

    def events(self) -> list[dict[str, Any]]:
        """Everything the run said while it trained, in order (``metrics.jsonl``; see docs/formats.md)."""
        from vidro.core.events import read_events

        return read_events(self.path / "metrics.jsonl")

    def samples(self) -> list[dict[str, Any]]:
        """What the model wrote while it learned (``samples.jsonl``), oldest first."""
        from vidro.core.events import read_events

        return [event for event in read_events(self.path / "samples.jsonl") if event["event"] == "sample"]

    def ancestry(self) -> list[Run]:
        """The runs this one was continued from (``--from``), the first parent first, and this one last."""
        runs: list[Run] = [self]
        while (parent := runs[0].record.get("parent")) and len(runs) < MOST_PARENTS:
            runs.insert(0, Run(parent, device=self.device, say=self.say))
        return runs

    def training_texts(self, *, cache_dir: Path | None = None) -> Iterator[str]:
        """The documents that the run learned from, read anew. Raises DataError when the text is gone or has changed."""
        from vidro.api import texts
        from vidro.api.places import default_cache_dir

        return texts.training_texts(self, cache_dir=default_cache_dir() if cache_dir is None else cache_dir)

    def known_words(self, *, cache_dir: Path | None = None) -> Counter[str]:
        """How often the text of this run and of those before it has each word. Counted once, then kept in the cache.

        Raises DataError when one of the texts is gone or has changed.
        """
        from vidro.api import texts
        from vidro.api.places import default_cache_dir

        cache = default_cache_dir() if cache_dir is None else cache_dir
        known: Counter[str] = Counter()
        for run in self.ancestry():
            known.update(texts.own_words(run, cache))
        return known

    # -- a model that answers ------------------------------------------------------------------------------------

    @functools.cached_property
    def style(self) -> PromptStyle | None:
        """How conversations are put into ids for this model; None for one that only continues texts."""
        from vidro.infer.answering import style_of_run

        return style_of_run(self.path, self.record, self.tokenizer)

    @functools.cached_property
    def answerer(self) -> Answerer:
        """Model, tokenizer and style together. Raises UsageError where the run was not taught to answer."""
        from vidro.infer.answering import Answerer

        if self.style is None:
            hint = "Teach it: vidro finetune instruct RUN --data FILE."
            raise UsageError("this run was not taught to answer", where=self.path, hint=hint)
        return Answerer(self.model, self.tokenizer, self.style)

    def answer(self, question: str, *, input: str = "", system: str | None = None, **sampling: Any) -> str:
        """The model's answer to a question (`input`: the text that it is about). Keywords: SamplingOptions."""
        from vidro.text.conversation import Message

        opening = [] if system is None else [Message("system", system)]
        conversation = [*opening, Message("user", question, input)]
        (answer,) = self.answerer.answers([conversation], sampling_options(sampling))
        return answer.text.strip()

    def evaluate_instructions(self, data: str | Path, **options: Any) -> RunAnswers:
        """The answers to the rows of a file of instructions, their scores, and a judge's where one is named.

        Keywords: AnswerOptions and `skip_empty`, `judge_key`, `on_progress`; for several runs side by side see
        `vidro.api.evaluate`. Remarks go to `say`. Raises DataError and UsageError.
        """
        from vidro.api.evaluate import evaluate_instructions

        return evaluate_instructions([self], data, **options).runs[0]

    def evaluate_tasks(self, tasks: str | Path | Sequence[str | Path], **options: Any) -> TaskScores:
        """What the model reaches in tasks of lm-evaluation-harness (an extra): names, YAML files, folders of them.

        Keywords: TaskOptions and `on_progress`. Remarks go to `say`. Raises UsageError and DataError.
        """
        from vidro.api.evaluate import evaluate_tasks

        return evaluate_tasks([self], tasks, **options)[0]

    # -- a classifier --------------------------------------------------------------------------------------------

    @functools.cached_property
    def classifier(self) -> ClassifierSession:
        """Model and reader together, for many texts. Raises UsageError where the run is no classifier."""
        from vidro.infer.classifier import ClassifierSession, Reader

        known = self.record.get("reader", {})
        context = self.model.config.context_length
        most, pad_to = known.get("max_tokens", context), known.get("pad_to")
        reader = Reader(self.tokenizer, most, pad_to=pad_to, starts=known.get("starts", False))
        return ClassifierSession(self.model, reader)

    def predict(self, text: str) -> Prediction:
        """The class of a text, with the probability of each class. Raises UsageError where there are no classes."""
        return self.classifier.predict(text)

    def predict_many(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """The class of each text, in order, some hundreds at a time."""
        return self.classifier.stream(texts)

    def evaluate_labels(
        self, data: str | Path, *, text_column: str | None = None, label_column: str | None = None,
        encoding: str | None = None, skip_empty: bool = False,
    ) -> ClassScores:  # fmt: skip
        """How many labelled texts of a table get their own class. Remarks go to `say`. Raises DataError.

        The table may lack some of the run's classes, and may not have others.
        """
        from vidro.api.evaluate import evaluate_labels

        columns = {"text_column": text_column, "label_column": label_column, "encoding": encoding}
        return evaluate_labels(self, Path(data), skip_empty=skip_empty, **columns)

    # -- the model -----------------------------------------------------------------------------------------------

    @functools.cached_property
    def model(self) -> Transformer:
        """The model, in evaluation mode on the run's device; with `quantize` its int8 form (says what that costs)."""
        if self.quantize is not None:
            return open_int8(self)
        from vidro.checkpoint.run import load_model
        from vidro.model.device import choose_device

        return load_model(self.opened, choose_device(self.device))

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer the model was trained with."""
        from vidro.checkpoint.run import load_tokenizer

        return load_tokenizer(self.opened)

    @functools.cached_property
    def session(self) -> Session:
        """Model and tokenizer together, for many calls."""
        from vidro.infer.session import Session

        return Session(self.model, self.tokenizer)

    def generate(self, prompt: str = "", **sampling: Any) -> str:
        """The model's continuation of `prompt` (without the prompt). Keywords: SamplingOptions.

        ``"".join(run.stream(prompt, seed=1)) == run.generate(prompt, seed=1)``. Raises UsageError for an unknown
        keyword.
        """
        return "".join(self.stream(prompt, **sampling))

    def stream(self, prompt: str = "", **sampling: Any) -> Iterator[str]:
        """The continuation piece by piece, as it is made; never half a character."""
        return (piece.text for piece in self.pieces(prompt, sampling_options(sampling)))

    def pieces(self, prompt: str, options: SamplingOptions) -> Iterator[Piece]:
        """The same with ids and log-probabilities; remarks (the context is full) go to `say`."""
        for piece in self.session.stream(prompt, options):
            if piece.note is not None:
                self.say(piece.note)
            yield piece

    def generate_many(self, prompts: Sequence[str], *, samples: int = 1, **sampling: Any) -> list[Generation]:
        """`samples` continuations of each prompt, with ids, log-probabilities, seed and speed; prompts in order.

        Raises UsageError when `samples` is below 1, or above 1 where all would be the same.
        """
        from vidro.model.sampling import is_greedy

        options = sampling_options(sampling)
        if samples < 1:
            raise UsageError(f"{samples} is too small", where="samples", hint="It must be at least 1.")
        if samples > 1 and is_greedy(options):
            raise UsageError("greedy samples are all the same", where="samples", hint="Ask for one, or drop greedy.")
        return self.session.generate(list(prompts), options, n=samples)

    def evaluate(
        self,
        text: str | Path,
        *,
        stride: int | None = None,
        encoding: str | None = None,
        skip_bad: bool = False,
        cache_dir: Path | None = None,
        report: ReadReport | None = None,
    ) -> TextScore:
        """How well the model predicts a text (a file, folder, pattern or cached corpus): bits per byte, perplexity.

        Every token is predicted once (design, section 4); with `stride`, windows overlap. What was changed or left out
        while reading goes to `say`, or is only counted where the caller gives a `report`. Raises DataError.
        """
        from vidro.api.places import default_cache_dir
        from vidro.data.documents import ReadReport, read_documents
        from vidro.evals.perplexity import score_text

        if self.model.config.labels:
            hint = "Say labelled texts: vidro evaluate RUN --labels FILE."
            raise UsageError("this run is a classifier; it predicts no text", where=self.path, hint=hint)
        cache = default_cache_dir() if cache_dir is None else cache_dir
        counted = ReadReport() if report is None else report
        found = read_documents(text, encoding=encoding, skip_bad=skip_bad, report=counted, cache_dir=cache)
        texts = [document.text for document in found]
        for message in counted.notes if report is None else ():
            self.say(message)
        return score_text(self.model, self.tokenizer, texts, stride=stride)

    def yardsticks(
        self, text: str | Path, *, encoding: str | None = None, skip_bad: bool = False, cache_dir: Path | None = None
    ) -> dict[str, float]:
        """What a byte of `text` costs compressors and counting models that know this run's training text, in bits.

        Raises DataError when the training text is gone or has changed.
        """
        from vidro.api.places import default_cache_dir
        from vidro.data.documents import read_documents
        from vidro.evals.yardsticks import text_yardsticks

        cache = default_cache_dir() if cache_dir is None else cache_dir
        found = read_documents(text, encoding=encoding, skip_bad=skip_bad, cache_dir=cache)
        return text_yardsticks(self.training_texts(cache_dir=cache), (document.text for document in found))

    def memorisation(
        self,
        text: str | Path | None = None,
        *,
        prompts: Sequence[str] = (),
        seed: int = SEED,
        cache_dir: Path | None = None,
        **options: Any,
    ) -> Memorisation:
        """What of the model's samples stands word for word in its training text, beside held-out text.

        `text` takes the place of the text that the record names. Keywords: MemorisationOptions. Remarks go to `say`.
        Raises DataError where the training text is gone or has changed.
        """
        from vidro.api.memorisation import measure_memorisation

        return measure_memorisation(self, text, prompts=prompts, seed=seed, cache_dir=cache_dir, **options)

    def export(self, out: str | Path, **options: Any) -> ExportReport:
        """Write the model for others, re-open it there and compare. Keywords: ExportOptions. Remarks go to `say`."""
        from vidro.api.export import export

        return export(self, out, say=self.say, **options)

    def plot(self) -> list[Path]:
        """Draw the run's curves (loss, perplexity, learning rate, speed) into its ``plots/``; the files' paths."""
        from vidro.evals.plots import plot_run

        return plot_run(self.path)


def _show_settings(function: Any, first: list[inspect.Parameter], schema: type[Settings] = SamplingOptions) -> None:
    function.__signature__ = signature(first, schema)


_self, _prompt, _data, _tasks, _out = (
    inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for name in ("self", "prompt", "data", "tasks", "out")
)
_show_settings(Run.generate, [_self, _prompt.replace(default="")])
_show_settings(Run.stream, [_self, _prompt.replace(default="")])
_show_settings(Run.evaluate_instructions, [_self, _data], AnswerOptions)
_own = [p for p in inspect.signature(Run.memorisation).parameters.values() if p.kind is not p.VAR_KEYWORD]
_show_settings(Run.memorisation, _own, MemorisationOptions)
_show_settings(Run.evaluate_tasks, [_self, _tasks], TaskOptions)
_show_settings(Run.export, [_self, _out], ExportOptions)
