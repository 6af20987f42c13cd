"""A written GGUF file, opened by llama.cpp in a process of its own, and compared with what Vidro computes.

    python -m vidro.checkpoint.gguf.verify FILE SCRATCH

`SCRATCH` holds ``request.json`` (a `Sample`); the answer is put beside it as ``answer.json``. llama.cpp comes with
`xllamacpp`: its server listens at 127.0.0.1 for as long as the process lives. Where that is not installed, the file's
tensors are read back and compared with the run's, and the answer says so.

llama.cpp tells the log-probability of a token only when it has chosen it. So each question forces the choice
(`logit_bias`); the numbers it gives are those before any bias. Not here: what is asked (`vidro.api.export_gguf`).
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.checkpoint.verify_hf import (
    ANSWER,
    REQUEST,
    Answer,
    Differs,
    answer_of,
    first_difference,
    same_ids,
    shortened,
)
from vidro.core.errors import ExportError
from vidro.core.files import storage_errors

if TYPE_CHECKING:
    from torch import Tensor


NUMBERS_WITHIN = 2e-2
"""Nats; llama.cpp computes GELU from a table of 16-bit numbers, and F16 rounds the weights."""
SHARE_WITHIN = 1e-3
"""For tokens less probable than e^-20, whose rounding grows with the logits: the share of their nats."""
TIE_NATS = 2 * NUMBERS_WITHIN
"""Two tokens this close may change places when both are off by as much as is allowed."""
PERPLEXITY_WITHIN = 0.01
"""Share of the perplexity, for Q8_0."""
N_SHOWN, ALL = 64, 2**20
"""How many tokens' probabilities are asked for."""
WAIT_S = 600
FORCED = 1e6


@dataclass(frozen=True)
class Question:
    """After the tokens `ids` comes `target`: ln of its probability, and the most probable tokens with theirs.

    `counts`: whether the target belongs to a text, and so to the perplexity.
    """

    ids: list[int]
    target: int
    nats: float
    top: list[tuple[int, float]]
    counts: bool = True


@dataclass(frozen=True)
class Sample:
    """What is asked of llama.cpp, and what we expect.

    `texts`: text and ids. `conversations`: (messages, whether the answer is asked for, the written text, its ids or
    None). `model_dir`: where the run's own weights lie, to compare tensors with where there is no llama.cpp.
    """

    kind: str
    context_length: int
    model_dir: str
    texts: list[tuple[str, list[int]]]
    questions: list[Question]
    conversations: list[tuple[list[dict[str, str]], bool, str, list[int] | None]] = field(default_factory=list)


# -- here: start the other process -----------------------------------------------------------------------------------


def reopen(file: Path, sample: Sample) -> Answer:
    """Open `file` in another process and compare. Raises ExportError when that process does not finish."""
    with storage_errors(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        scratch = Path(made)
        (scratch / REQUEST).write_text(json.dumps(asdict(sample)), encoding="utf-8")
        return answer_of(__name__, file, scratch)


# -- there: open and compare -----------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Compare and write the answer; a difference is an answer too."""
    file, scratch = map(Path, arguments)
    request = json.loads((scratch / REQUEST).read_text(encoding="utf-8"))
    questions = [
        Question(**{**question, "top": [(number, nats) for number, nats in question["top"]]})
        for question in request.pop("questions")
    ]
    sample = Sample(**request, questions=questions)
    answer = Answer()
    compare = compare_with_llama if find_spec("xllamacpp") is not None else compare_tensors
    try:
        for what, result in compare(file, sample, answer):
            answer.checks.append((what, result))
    except Differs as problem:
        answer.problem = str(problem)
    except Exception as problem:  # whatever a library says of a file it cannot open
        answer.problem = f"{type(problem).__name__}: {problem}".splitlines()[0][:300]
    (scratch / ANSWER).write_text(json.dumps(asdict(answer)), encoding="utf-8")
    return 0


class Llama:
    """llama.cpp's server on one file, and its HTTP endpoints."""

    def __init__(self, file: Path, context_length: int) -> None:
        xllamacpp: Any = import_module("xllamacpp")  # it has types for only a part of itself

        settings = xllamacpp.CommonParams()
        settings.model.path = str(file)
        settings.n_ctx, settings.n_parallel = context_length, 1
        settings.cpuparams.n_threads = max(1, (os.cpu_count() or 1) // 2)  # its threads spin: not on cores in use
        settings.warmup, settings.n_gpu_layers, settings.verbosity = False, 0, 0
        # What was computed for earlier tokens is kept as it is: rounding it to 16 bits is a choice of who runs a model.
        settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        # So is its flash attention, which rounds queries to 16 bits: 0.02 nats on real weights, 0.00001 without.
        settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.server = xllamacpp.Server(settings)
        # A proxy that the environment names has no part in a call to this very process.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """The answer of an endpoint. Raises Differs with the server's words when it refuses."""
        data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(self.server.listening_address + path, data, headers)
        try:
            with self._opener.open(request, timeout=WAIT_S) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as problem:
            raise Differs(f"{path} refuses: {problem.read().decode(errors='replace')[:200]}") from None

    def encode(self, text: str, *, names_are_tokens: bool = False, begun: bool = False) -> list[int]:
        """The ids of a text; with `names_are_tokens` the name of a special token becomes the token.

        `begun`: after the token that the file asks to be put before every text, where it asks for one.
        """
        return self.post("/tokenize", content=text, add_special=begun, parse_special=names_are_tokens)["tokens"]

    def next_token(self, question: Question) -> tuple[float, list[tuple[int, float]]]:
        """ln of the target's probability after the question's tokens, and the most probable tokens with theirs.

        Where the choice ends the text, llama.cpp tells nothing: another token is forced then, and all are told.
        """
        for forced in (question.target, *(number for number, _ in question.top)):
            told = self._choose(question.ids, forced, n_told=N_SHOWN if forced == question.target else ALL)
            if told is None:
                continue
            top = [(each["id"], each["logprob"]) for each in told["top_logprobs"]]
            nats = told["logprob"] if told["id"] == question.target else dict(top).get(question.target)
            if nats is None or told["id"] != forced:
                raise Differs(f"it does not know the token {question.target}")
            return nats, top
        raise Differs(f"every probable token after {len(question.ids)} tokens ends its text")

    def _choose(self, ids: list[int], forced: int, *, n_told: int) -> dict[str, Any] | None:
        reply = self.post(
            "/completion", prompt=ids, n_predict=1, n_probs=n_told, temperature=0, cache_prompt=True,
            logit_bias=[[forced, FORCED]],
        )  # fmt: skip
        if reply["tokens_evaluated"] != len(ids):
            raise Differs(f"it read {reply['tokens_evaluated']} tokens of {len(ids)}")
        told = reply.get("completion_probabilities")
        return told[0] if told else None


def compare_with_llama(file: Path, sample: Sample, answer: Answer) -> Iterator[tuple[str, str]]:
    """Ids, template and numbers, as llama.cpp has them."""
    answer.by = f"llama.cpp (xllamacpp {version('xllamacpp')})"
    llama = Llama(file, sample.context_length)
    yield same_ids(sample, llama.encode)  # pyright: ignore[reportArgumentType]  # it reads `texts`, which is the same
    if sample.conversations:
        yield same_conversations(sample, llama)
    found = [llama.next_token(question) for question in sample.questions]
    if sample.kind in ("f32", "f16"):
        yield same_numbers(sample.questions, found)
    yield perplexities(sample, [nats for nats, _ in found])


def same_conversations(sample: Sample, llama: Llama) -> tuple[str, str]:
    """The chat template in the file writes what the style writes, and it becomes the same ids."""
    asked = [conversation for conversation in sample.conversations if conversation[1]]
    for messages, _, expected, ids in asked:
        written = llama.post("/apply-template", messages=messages)["prompt"]
        # A token that the file puts before every text is cut from what the template writes, not to stand there twice.
        first = expected.removesuffix(written)
        begun = first != "" and llama.encode(first, names_are_tokens=True) == llama.encode("", begun=True)
        if written != expected and not begun:
            at = first_difference(written, expected)
            raise Differs(
                f"the chat template writes {shortened(written[at:])} at character {at}, not {shortened(expected[at:])}"
            )
        found = llama.encode(written, names_are_tokens=True, begun=begun)
        if ids is not None and found != list(ids):
            at = first_difference(found, ids)
            raise Differs(
                f"the ids of a conversation differ from place {at} on: {found[at : at + 4]}, not {ids[at : at + 4]}"
            )
    return "chat template", f"{len(asked)} conversations written the same"


def same_numbers(
    questions: Sequence[Question], found: Sequence[tuple[float, list[tuple[int, float]]]]
) -> tuple[str, str]:
    """Every target and every probable token within `NUMBERS_WITHIN`, and the same most probable one."""
    largest, n_ties = 0.0, 0
    for question, (nats, top) in zip(questions, found, strict=True):
        theirs = dict(top)
        missing = [number for number, _ in question.top if number not in theirs]
        if missing:
            raise Differs(
                f"the token {missing[0]} is not among the {len(top)} most probable after {len(question.ids)} tokens"
            )
        pairs = [(question.nats, nats), *((ours, theirs[number]) for number, ours in question.top)]
        difference, wrong = 0.0, False
        for ours, their in pairs:
            difference = max(difference, abs(ours - their))
            # Written so that a NaN does not pass.
            wrong |= not abs(ours - their) <= max(NUMBERS_WITHIN, SHARE_WITHIN * abs(ours))
        if wrong:
            raise Differs(
                f"the log-probabilities differ by {difference:.1e} nats after {len(question.ids)} tokens "
                f"({NUMBERS_WITHIN:g} is allowed)"
            )
        largest = max(largest, difference)
        best, chosen = question.top[0], top[0][0]
        if chosen != best[0]:
            if best[1] - dict(question.top).get(chosen, -math.inf) > TIE_NATS:
                raise Differs(f"another token is the most probable after {len(question.ids)} tokens")
            n_ties += 1
    ties = f" ({n_ties} near ties changed places)" if n_ties else ""
    of = f"over {len(questions):,} places"
    return "log-probabilities", f"largest difference {largest:.1e} nats {of}; the most probable are the same{ties}"


def perplexities(sample: Sample, found: Sequence[float]) -> tuple[str, str]:
    """Perplexity of a text that the model wrote, before and after; judged for Q8_0, told for the others."""
    counted = [number for number, question in enumerate(sample.questions) if question.counts]
    before = math.exp(-math.fsum(sample.questions[number].nats for number in counted) / len(counted))
    after = math.exp(-math.fsum(found[number] for number in counted) / len(counted))
    share = after / before - 1
    told = f"{before:.4g} before, {after:.4g} after ({share:+.2%}), over {len(counted):,} tokens that the model wrote"
    if not math.isfinite(after):
        raise Differs("the perplexity is not a number")
    if sample.kind == "q8_0" and not abs(share) <= PERPLEXITY_WITHIN:
        raise Differs(f"the perplexity is {told}; {PERPLEXITY_WITHIN:.0%} is allowed")
    return "perplexity", told + ("; not judged" if sample.kind == "q4_0" else "")


def compare_tensors(file: Path, sample: Sample, answer: Answer) -> Iterator[tuple[str, str]]:
    """Every tensor in the file beside the run's, after the rounding that its kind of number has."""
    from gguf import GGUFReader, dequantize

    from vidro.checkpoint.gguf.write import foreign_tensors
    from vidro.checkpoint.huggingface import CONFIG, from_hf_config
    from vidro.checkpoint.names import from_foreign_lazily
    from vidro.checkpoint.weights import open_weights
    from vidro.core.files import read_json

    answer.by = f"gguf {version('gguf')}"
    place = Path(sample.model_dir)
    config = from_hf_config(read_json(place / CONFIG, error=ExportError), where=place)
    expected = foreign_tensors(from_foreign_lazily(open_weights(place), config, where=place), config)
    stored = {tensor.name: tensor for tensor in GGUFReader(file).tensors}
    if stored.keys() != expected.keys():
        raise Differs(f"the tensors are not those of the model: {sorted(stored.keys() ^ expected.keys())[0]}")
    worst = 0.0
    for name, tensor in stored.items():
        kind = tensor.tensor_type.name
        worst = max(worst, rounding(name, dequantize(tensor.data, tensor.tensor_type), expected[name], kind))
    yield "tensors", f"{len(stored)} read back, the largest rounding {worst:.1e} of a row's largest number"


ROUNDING = {"F32": 0.0, "F16": 1e-3, "Q8_0": 0.5 / 127 + 2e-3, "Q4_0": 1 / 8 + 1e-2}
"""By how much a number may differ, as a share of the largest in its row."""


def rounding(name: str, found: Any, expected: Tensor, kind: str) -> float:
    """The largest difference as a share of the largest number of its row. Raises Differs past what the kind rounds."""
    import torch

    read = torch.from_numpy(found.copy()).float()
    wanted = expected.float()
    if read.shape != wanted.shape:
        raise Differs(f"{name} has the shape {list(read.shape)}, not {list(wanted.shape)}")
    scale = wanted.abs().amax(-1, keepdim=True).clamp(min=1e-12)
    difference = float(((read - wanted).abs() / scale).max())
    if not difference <= ROUNDING[kind]:
        raise Differs(f"{name} differs by {difference:.1e} of a row's largest number ({ROUNDING[kind]:.1e} is allowed)")
    return difference


if __name__ == "__main__":
    # The answer lies there. A server that is told to stop while it still begins may wait for itself for ever.
    os._exit(main(sys.argv[1:]))
