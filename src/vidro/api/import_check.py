"""A written run, opened by a process of its own and compared with what it was made from.

    python -m vidro.api.import_check REQUEST ANSWER

The source is read once more and compared tensor by tensor. A Hugging Face directory is opened by Transformers too,
where it is installed: same logits on random ids, same ids for a nasty text. One model is in memory at a time.
Not here: reading (`checkpoint/foreign`), what becomes of the answer (`importing`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.checkpoint.foreign.source import DIRECTORY, Source
from vidro.core.errors import CheckpointError, VidroError

if TYPE_CHECKING:
    from torch import Tensor

    from vidro.config.schema import ModelConfig

Checks = list[tuple[str, str]]

TOLERANCE = 1e-4
"""Largest difference of two logits, as a share of the largest logit."""

NASTY = (
    "Hello,  world!\r\n\tIt's 3.14159 × 10⁶ — naïve café, Olá ☃ 你好 🙂👩‍👩‍👧 \u00a0e\u0301 don't  \n\n  DON'T 00123 "
    "<|endoftext|> <|im_start|>user\n[INST] x_i++ \ufeff  "
)
N_ROWS, N_TOKENS = 2, 48
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}


def compare(run: Path, source: Source) -> tuple[Checks, list[str]]:
    """(what was verified with which result, what was not and why). Raises CheckpointError where it does not hold."""
    with tempfile.TemporaryDirectory(prefix="vidro-import-") as made:
        request, answer = Path(made) / "request.json", Path(made) / "answer.json"
        request.write_text(json.dumps({"run": str(run.absolute()), "source": source.to_json()}), encoding="utf-8")
        command = [sys.executable, "-m", __name__, str(request), str(answer)]
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, **OFFLINE},
        )  # fmt: skip
        if not answer.is_file():
            last = (done.stderr.decode(errors="replace").strip().split("\n") or [""])[-1][:200]
            what = f"the process that compares it with its source did not finish ({last or done.returncode})"
            raise CheckpointError(what, where=source.path, hint="Nothing was imported.")
        found = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in found:
        raise CheckpointError(found["error"], where=source.path, hint="Nothing was imported.")
    return [(what, result) for what, result in found["checks"]], found["notes"]


def main(request: Path, answer: Path) -> None:
    """Compare and write the answer."""
    wanted = json.loads(request.read_text(encoding="utf-8"))
    run, source = Path(wanted["run"]), Source(**wanted["source"])
    try:
        checks, notes = _compared(run, source)
        found: dict[str, Any] = {"checks": checks, "notes": notes}
    except VidroError as problem:
        found = {"error": problem.what}
    answer.write_text(json.dumps(found), encoding="utf-8")


def _compared(run: Path, source: Source) -> tuple[Checks, list[str]]:
    checks = [_tensors(run, source)]
    if source.kind != DIRECTORY:
        return checks, []
    if find_spec("transformers") is None:
        return checks, ["logits were not compared: Transformers is not installed (pip install 'vidro[hf]')"]
    checks.append(_logits(run, Path(source.path)))
    if source.tokenizer is not None:
        return checks, ["ids were not compared: the tokenizer is not the source's"]
    if not (Path(source.path) / "tokenizer.json").is_file():
        return checks, ["ids were not compared: the source has no tokenizer.json"]
    return [*checks, _ids(run, Path(source.path))], []


def _logits(run: Path, source: Path) -> tuple[str, str]:
    """Both models on the same random ids, one model after the other."""
    import torch
    import transformers

    from vidro.checkpoint.huggingface import CONFIG, from_hf_config, read_model
    from vidro.core.files import read_json

    config = from_hf_config(read_json(run / CONFIG, error=CheckpointError))
    ids = random_ids(config, read_json(source / CONFIG, error=CheckpointError).get("pad_token_id"))
    theirs = _their_logits(source, config, ids)
    with torch.no_grad():
        ours = read_model(run).eval()(ids)
    ours = ours[:, -1] if config.labels else ours
    largest, off = theirs.abs().max().item(), (ours - theirs).abs().max().item()
    if not off <= TOLERANCE * largest:  # a NaN too
        raise CheckpointError(
            f"its logits differ from those of Transformers by {off:.2g} (the largest is {largest:.2g})"
        )
    what = f"{'class scores' if config.labels else 'logits'}, Transformers {transformers.__version__}"
    return what, f"largest difference {off / largest:.1e} of the largest, {ids.numel()} random tokens"


def random_ids(config: ModelConfig, avoided: Any) -> Tensor:
    """Ids [N_ROWS, T] without the pad token, by which others would find the end of a text."""
    import torch

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(config.vocab_size, (N_ROWS, min(config.context_length, N_TOKENS)), generator=generator)
    return torch.where(ids == avoided, (ids + 1) % config.vocab_size, ids) if isinstance(avoided, int) else ids


def _their_logits(source: Path, config: ModelConfig, ids: Tensor) -> Tensor:
    import torch
    import transformers

    from vidro.checkpoint.foreign.directory import CLASS_BIAS
    from vidro.checkpoint.weights import open_weights

    transformers.utils.logging.set_verbosity_error()
    auto = transformers.AutoModelForSequenceClassification if config.labels else transformers.AutoModelForCausalLM
    numbers = {"dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype": torch.float32}
    model = auto.from_pretrained(source, local_files_only=True, use_safetensors=True, **numbers).eval()
    with torch.no_grad():
        logits = torch.cat([model(row[None]).logits for row in ids])
    tensors = open_weights(source)
    return logits + tensors[CLASS_BIAS].float() if CLASS_BIAS in tensors else logits


def _ids(run: Path, source: Path) -> tuple[str, str]:
    import transformers

    from vidro.text.tokenizer import Tokenizer

    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(source / "tokenizer.json"))
    expected = theirs(NASTY, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    found = Tokenizer.load(run).encode(NASTY)
    if found != expected:
        at = next((i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), len(found))
        raise CheckpointError(f"its tokenizer gives other ids than Transformers from place {at} of a difficult text on")
    return f"ids, Transformers {transformers.__version__}", f"equal for a difficult text ({len(found)} tokens)"


def _tensors(run: Path, source: Source) -> tuple[str, str]:
    """The run's tensors and those of the source read anew, equal to the last bit of 32."""
    import torch

    from vidro.checkpoint.foreign.source import read
    from vidro.checkpoint.huggingface import CONFIG, from_hf_config
    from vidro.checkpoint.names import from_foreign_lazily
    from vidro.checkpoint.weights import open_weights
    from vidro.core.files import read_json

    model = read(source)
    config = from_hf_config(read_json(run / CONFIG, error=CheckpointError))
    if config != model.config:
        raise CheckpointError("its shape came out otherwise than it is in the source")
    written = from_foreign_lazily(open_weights(run), config, where=run)
    for name in written:
        if not torch.equal(written[name].float(), model.state[name].float()):
            raise CheckpointError(f"the tensor {name} is not what it is in the source")
    return "every tensor, with the source read anew", f"{len(written)} of {len(written)} equal"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
