"""A written Hugging Face directory, opened by somebody else in a process of its own, and compared with what we expect.

    python -m vidro.checkpoint.verify_hf DIRECTORY SCRATCH

`SCRATCH` holds ``request.json`` (texts and their ids, inputs, conversations and how they are written) and
``expected.safetensors`` (log-probabilities); the answer is put beside them as ``answer.json``. Transformers is the one
who opens; where it is not installed, Vidro's own reader does, and the answer says so.

Not here: what is compared (`vidro.api.export_sample`), writing (`huggingface`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.core.errors import ExportError
from vidro.core.files import storage_errors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

REQUEST, EXPECTED, ANSWER = "request.json", "expected.safetensors", "answer.json"
TOLERANCE = 1e-4
"""Largest difference of log-probabilities, as a share of the largest of them."""
OFFLINE = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error", "USE_TF": "0", "USE_FLAX": "0",
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """What is asked of the one who opens, and what we expect. Either `windows` or `classes` is filled.

    `texts`: text and ids. `windows`: rows of ids for a language model, one length; `places`: which of them are
    compared. `classes`: texts for a classifier. `log_probabilities`: float [rows, places, V] or [texts, classes].
    `conversations`: (messages, whether the answer is asked for, the written text, the ids or None).
    `begun`: the ids that are put before every text.
    """

    texts: list[tuple[str, list[int]]]
    log_probabilities: Tensor
    windows: list[list[int]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    conversations: list[tuple[list[dict[str, str]], bool, str, list[int] | None]] = field(default_factory=list)


@dataclass
class Answer:
    """What the other process found: comparisons that held (what, figure), the first that did not, and who opened."""

    checks: list[tuple[str, str]] = field(default_factory=list)
    problem: str | None = None
    by: str = ""


class Differs(Exception):
    """A comparison that does not hold."""


# -- here: start the other process -----------------------------------------------------------------------------------


def reopen(directory: Path, sample: Sample) -> Answer:
    """Open `directory` in another process and compare. Raises ExportError when that process does not finish."""
    from safetensors.torch import save_file

    request = {name: value for name, value in vars(sample).items() if name != "log_probabilities"}
    scratch_place = Path(tempfile.gettempdir())
    with storage_errors(scratch_place), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        scratch = Path(made)
        (scratch / REQUEST).write_text(json.dumps(request), encoding="utf-8")
        save_file({"log_probabilities": sample.log_probabilities.contiguous()}, scratch / EXPECTED)
        return answer_of(__name__, directory, scratch)


def answer_of(module: str, written: Path, scratch: Path) -> Answer:
    """Run `module` on what was written, in a process of its own; its answer lies in `scratch`. Raises ExportError."""
    command = [sys.executable, "-m", module, str(written.resolve()), str(scratch)]
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if done.returncode or not (scratch / ANSWER).is_file():
        last = done.stderr.decode(errors="replace").strip().split("\n")[-1][:200]
        why = f"it was stopped by signal {-done.returncode}" if done.returncode < 0 else last or "it gave no answer"
        raise ExportError(f"the process that opened the export again did not finish ({why})")
    said = json.loads((scratch / ANSWER).read_text(encoding="utf-8"))
    return Answer([(what, result) for what, result in said["checks"]], said["problem"], said["by"])


def agreed(answer: Answer) -> Answer:
    """The answer, where everything held. Raises ExportError naming the first thing that differs."""
    if answer.problem is not None:
        hint = "Nothing was written. Please report it."
        raise ExportError(f"{answer.by or 'the other process'} does not agree: {answer.problem}", hint=hint)
    return answer


# -- there: open and compare -----------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Compare and write the answer; a difference is an answer too."""
    directory, scratch = map(Path, arguments)
    os.environ.update(OFFLINE)  # before Transformers is imported
    from safetensors.torch import load_file

    request = json.loads((scratch / REQUEST).read_text(encoding="utf-8"))
    sample = Sample(log_probabilities=load_file(scratch / EXPECTED)["log_probabilities"], **request)
    answer = Answer()
    compare = compare_with_transformers if find_spec("transformers") is not None else compare_with_vidro
    try:
        for what, result in compare(directory, sample, answer):
            answer.checks.append((what, result))
    except Differs as problem:
        answer.problem = str(problem)
    except Exception as problem:  # whatever a library says of a directory it cannot open
        answer.problem = " ".join(f"{type(problem).__name__}: {problem}".split())[:300]
    (scratch / ANSWER).write_text(json.dumps(asdict(answer)), encoding="utf-8")
    return 0


def compare_with_transformers(directory: Path, sample: Sample, answer: Answer) -> Iterator[tuple[str, str]]:
    """Ids, templates and numbers, as Transformers has them."""
    import torch
    import transformers

    answer.by = f"transformers {transformers.__version__}"
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(directory)
    yield same_ids(sample, lambda text: tokenizer(text, split_special_tokens=True)["input_ids"], sample.begun)
    if sample.conversations:
        yield same_templates(sample, tokenizer)
    opener = transformers.AutoModelForSequenceClassification if sample.classes else transformers.AutoModelForCausalLM
    opened: Any = opener.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
    model, report = opened
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[kind]:
            raise Differs(f"{kind.replace('_', ' ')} among the weights: {sorted(map(str, report[kind]))[0]}")
    with torch.inference_mode():
        if sample.classes:
            batch = tokenizer(sample.classes, padding=True, return_tensors="pt")
            yield same_numbers(model.eval()(**batch).logits, sample)
        else:
            logits = model.eval()(torch.tensor(sample.windows)).logits[:, sample.places]
            yield same_numbers(logits, sample)


def compare_with_vidro(directory: Path, sample: Sample, answer: Answer) -> Iterator[tuple[str, str]]:
    """Ids and numbers, as Vidro's own reader has them: the files are whole, which is all that this can say."""
    import torch

    from vidro.checkpoint.huggingface import read_model
    from vidro.model.heads import class_logits
    from vidro.text.tokenizer import Tokenizer

    answer.by = "Vidro itself"
    tokenizer = Tokenizer.load(directory)
    begun = [tokenizer.start_id] if tokenizer.puts_start_first else []
    yield same_ids(sample, lambda text: [*begun, *tokenizer.encode(text)], sample.begun)
    model = read_model(directory).eval()
    with torch.inference_mode():
        if sample.classes:
            rows = [[*begun, *tokenizer.encode(text)] for text in sample.classes]
            length = max(map(len, rows))
            ids = torch.tensor([row + [tokenizer.padding_id] * (length - len(row)) for row in rows])
            yield same_numbers(class_logits(model, ids, torch.tensor([len(row) - 1 for row in rows])), sample)
        else:
            yield same_numbers(model(torch.tensor(sample.windows))[:, sample.places], sample)


def same_ids(sample: Sample, encode: Any, begun: Sequence[int] = ()) -> tuple[str, str]:
    """Every text has the ids that we expect, after those that begin it."""
    for text, ids in sample.texts:
        expected, found = [*begun, *ids], [int(number) for number in encode(text)]
        if found != expected:
            raise Differs(f"the ids of {shortened(text)} differ {parting(found, expected)}")
    n_ids = sum(len(ids) for _, ids in sample.texts)
    return "ids", f"equal for {len(sample.texts)} difficult texts ({n_ids:,} tokens)"


def same_templates(sample: Sample, tokenizer: Any) -> tuple[str, str]:
    """Every conversation is written as we write it; where ids are given, they are the same too."""
    for messages, asks, expected, ids in sample.conversations:
        written = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks)
        if written != expected:
            at = first_difference(written, expected)
            raise Differs(
                f"the chat template writes {shortened(written[at:])} at character {at}, not {shortened(expected[at:])}"
            )
        if ids is not None:
            found = tokenizer.apply_chat_template(messages, add_generation_prompt=asks, return_dict=True)["input_ids"]
            if list(found) != list(ids):
                raise Differs(f"the ids of a conversation differ {parting(found, ids)}")
    return "chat template", f"{len(sample.conversations)} conversations written the same"


def same_numbers(logits: torch.Tensor, sample: Sample) -> tuple[str, str]:
    """Log-probabilities, relative to the largest, and which is the most probable."""
    expected = sample.log_probabilities
    found = logits.float().log_softmax(-1)
    if found.shape != expected.shape:
        raise Differs(f"the model gives {list(found.shape)} numbers, not {list(expected.shape)}")
    largest = float(expected.abs().max())
    difference = float((found - expected).abs().max()) / max(largest, 1e-9)
    kind = "class probabilities" if sample.classes else "log-probabilities"
    if not difference <= TOLERANCE:  # written so that a NaN does not pass
        raise Differs(f"the {kind} differ by {difference:.1e} of the largest ({TOLERANCE:g} is allowed)")
    top = expected.gather(-1, found.argmax(-1, keepdim=True))[..., 0]
    if float((expected.amax(-1) - top).max()) > TOLERANCE * largest:
        raise Differs(f"the {kind} have another most probable {'class' if sample.classes else 'token'}")
    n = expected.shape[0] if sample.classes else expected.shape[0] * expected.shape[1]
    of = "texts in one padded batch" if sample.classes else "tokens"
    return kind, f"largest difference {difference:.1e} of the largest, over {n:,} {of}; the most probable are the same"


def first_difference(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Where two sequences part.

    >>> first_difference("abc", "abd"), first_difference([1], [1, 2])
    (2, 1)
    """
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def parting(found: Sequence[int], expected: Sequence[int]) -> str:
    """Where two rows of ids part, in words."""
    at = first_difference(found, expected)
    return f"from place {at} on: {list(found[at : at + 4])}, not {list(expected[at : at + 4])}"


def shortened(text: str) -> str:
    """The beginning of a text, in quotes."""
    return repr(text[:40]) + ("…" if len(text) > 40 else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
