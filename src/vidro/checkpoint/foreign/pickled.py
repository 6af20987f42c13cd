"""The reader's own model: a ``.pth`` of the book's GPTModel, nanoGPT, minGPT or Transformers' GPT-2.

    model.pth ─ looked at (`archive`) ─ opened by a restricted process (`unpickle`) ─ model.safetensors ─ `layouts`

This process reads only what the other one wrote: plain tensors and JSON. The weights are mapped from there, not read,
so importing holds the model once. A ``config.json`` beside a ``pytorch_model.bin`` says which of Transformers' models
it is. Not here: making a run of it (`api/importing`).
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.checkpoint.foreign.archive import check_table, check_weights
from vidro.checkpoint.foreign.model import ForeignModel
from vidro.core.errors import CheckpointError, TokenizerError, UsageError
from vidro.core.files import read_json, storage_errors

if TYPE_CHECKING:
    from torch import Tensor

    from vidro.config.schema import ModelConfig
    from vidro.text.tokenizer import Tokenizer

GPT2_VOCABULARIES = (50_257, 50_304)
"""GPT-2's, and nanoGPT's round number that holds it."""

_SLOWEST_BYTES_PER_S = 2 * 2**20
_START_S = 300


def read(
    path: Path,
    *,
    tokenizer: Tokenizer | None = None,
    n_heads: int | None = None,
    cache_dir: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> ForeignModel:
    """The model of a file that ``torch.save`` wrote, and a tokenizer where one is given or lies beside it.

    `cache_dir`/gpt2 is looked into for GPT-2's vocabulary. Raises CheckpointError for every file that is not plain
    weights of a known model, UsageError where `n_heads` must be said, TokenizerError where a model with GPT-2's number
    of tokens has no vocabulary, StorageError when the disk is full.
    """
    path = path.absolute()
    if not path.is_file():
        raise CheckpointError("there is no such file", where=path)
    beside = _config_beside(path)
    if beside is not None and n_heads is not None:
        raise UsageError("the config.json beside the file says it", where="n-heads", hint="Leave it out.")
    try:
        n_bytes = check_weights(path)
    except OSError as problem:
        raise CheckpointError(f"it cannot be read ({problem.strerror})", where=path) from None
    say(f"{path.name} is opened in a process of its own, without network, which may only read it")
    tensors, found = _unpickled(path, n_bytes)
    if beside is not None:
        config, state, notes = beside, _theirs(tensors, beside, path), ()
        form = "a pickled file of Transformers"
    else:
        config, state, notes, form = _ours(tensors, found, n_heads, path)
    model = ForeignModel(form, config, state, tokenizer, notes=tuple(notes))
    if tokenizer is None:
        return _with_tokenizer(model, path, found["settings"], cache_dir)
    _check_size(tokenizer, model.config, path)
    return model


def _ours(
    tensors: dict[str, Tensor], found: dict[str, Any], n_heads: int | None, path: Path
) -> tuple[ModelConfig, dict[str, Tensor], list[str], str]:
    from vidro.checkpoint.foreign import layouts

    layout = layouts.recognise(tensors, found["settings"], n_heads=n_heads, where=path)
    state, notes, config = layouts.state_of(layout, path), list(layout.notes), layout.config
    if layout.form == "book":
        form = "a pickled model of the book"
        notes.append("what its code did with the weights cannot be seen in them: vidro check FILE.py:GPTModel looks")
    elif layout.form == "hf":
        form = "a pickled GPT-2 of Transformers"
    elif config.tie_embeddings:
        form = "a pickled model of nanoGPT"
        difference, largest = layouts.gelu_difference(config, state)
        notes.append(
            "nanoGPT computes GELU exactly and this model in GPT-2's tanh form: logits differ by at most "
            f"{difference:.1g} where they reach {largest:.1f} (on random tokens)"
        )
    else:
        form = "a pickled model of minGPT"
    if found["holder"] is not None:
        notes.append(f"read from {found['holder']!r}; what else the file keeps (an optimizer's state) was left out")
    return config, state, notes, form


def _unpickled(path: Path, n_bytes: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors by their names in the file, what else was found); the tensors are mapped from a file already removed."""
    from safetensors import SafetensorError, safe_open

    from vidro.checkpoint.foreign.unpickle import WEIGHTS

    # Where a mapped file cannot be removed (Windows) it stays in the system's folder for temporary files.
    with storage_errors(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        found = _restricted("weights", path, Path(made), n_bytes)
        try:
            with safe_open(Path(made) / WEIGHTS, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iteration of its own)
        except (SafetensorError, OSError) as problem:
            raise CheckpointError(f"its weights did not come through ({problem})", where=path) from None
    for name, first in found["same"].items():
        tensors[name] = tensors[first]
    return tensors, found


def _restricted(kind: str, path: Path, folder: Path, n_bytes: int) -> dict[str, Any]:
    """What the restricted process found. Raises CheckpointError with its reason, OSError when the disk is full."""
    from vidro.checkpoint.foreign import unpickle

    command = [sys.executable, "-P", "-m", unpickle.__name__, kind, str(path), str(folder)]
    try:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            timeout=_START_S + n_bytes / _SLOWEST_BYTES_PER_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CheckpointError("opening it took far too long and was stopped", where=path) from None
    result = folder / unpickle.FOUND
    if done.returncode or not result.is_file():
        last = done.stderr.decode(errors="replace").strip().split("\n")[-1][:160]
        why = f"it was stopped by signal {-done.returncode}" if done.returncode < 0 else last or "it gave no answer"
        what = f"the process that opened it did not finish ({why})"
        raise CheckpointError(what, where=path, hint="It may hold more than weights.")
    found = json.loads(result.read_text(encoding="utf-8"))
    if found.get("errno") in (errno.ENOSPC, errno.EDQUOT):
        raise OSError(found["errno"], found["error"])
    if "error" in found:
        raise CheckpointError(found["error"], where=path)
    return found


def _config_beside(path: Path) -> ModelConfig | None:
    """The shape in a ``config.json`` beside the file, where it is one of Transformers'."""
    from vidro.checkpoint.huggingface import CONFIG, from_hf_config

    place = path.with_name(CONFIG)
    if not path.name.startswith("pytorch_model") or not place.is_file():
        return None
    return from_hf_config(read_json(place, error=CheckpointError), where=place)


def _theirs(tensors: dict[str, Tensor], config: ModelConfig, path: Path) -> dict[str, Tensor]:
    from vidro.checkpoint.foreign.layouts import Layout, state_of

    return state_of(Layout("hf", config, tensors, ()), path)


def _with_tokenizer(model: ForeignModel, path: Path, settings: dict[str, Any], cache_dir: Path | None) -> ForeignModel:
    """The model with the tokenizer that lies beside it, and what that asks for; without one where none is found."""
    from vidro.checkpoint.foreign import characters

    table = characters.beside(path, settings)
    if table is not None:
        return _with_characters(model, table)
    n_tokens = model.config.vocab_size
    found, place = _vocabulary(path.parent, cache_dir, gpt2=n_tokens in GPT2_VOCABULARIES)
    if found is not None:
        _check_size(found, model.config, path)
        return replace(model, tokenizer=found, notes=(*model.notes, f"tokenizer: the one in {place}"))
    if n_tokens in GPT2_VOCABULARIES:
        hint = "Give --tokenizer DIR, the folder with encoder.json and vocab.bpe of GPT-2."
        raise TokenizerError(f"{n_tokens:,} tokens are GPT-2's, and a .pth holds no vocabulary", where=path, hint=hint)
    return model


def _vocabulary(folder: Path, cache_dir: Path | None, *, gpt2: bool) -> tuple[Tokenizer | None, Path]:
    """A vocabulary beside the file; for GPT-2's number of tokens also where the book's code and Vidro keep it."""
    from vidro.text.foreign import load_any

    places = [folder, *(folder / "gpt2" / size for size in ("", "124M", "355M", "774M", "1558M"))] if gpt2 else [folder]
    if gpt2 and cache_dir is not None:
        places.append(cache_dir / "gpt2")
    pairs = (("tokenizer.json",), ("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))
    for place in places:
        if any(all((place / name).is_file() for name in pair) for pair in pairs):
            return load_any(place), place
    return None, folder


def _with_characters(model: ForeignModel, table: Path) -> ForeignModel:
    from vidro.checkpoint.foreign import characters

    check_table(table)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        listed = _restricted("table", table, Path(made), table.stat().st_size)["characters"]
    if len(listed) != model.config.vocab_size:
        what = f"it lists {len(listed)} characters, and the model has {model.config.vocab_size} tokens"
        raise TokenizerError(what, where=table, hint="They do not belong together.")
    tokenizer = characters.tokenizer_of(listed, table)
    note = f"tokenizer: the {len(listed)} characters of {table}"
    if model.config.labels:
        raise CheckpointError("a classifier of characters cannot be read", where=table)
    start = listed.index("\n") if "\n" in listed else 0
    config, state = characters.with_special_tokens(model.config, model.state, tokenizer.vocab_size, start)
    more = "an end-of-text mark was added, embedded as the line break with which nanoGPT begins, and never probable"
    return replace(model, config=config, state=state, tokenizer=tokenizer, notes=(*model.notes, note, more))


def _check_size(tokenizer: Tokenizer, config: ModelConfig, path: Path) -> None:
    if tokenizer.vocab_size > config.vocab_size:
        what = f"the tokenizer has {tokenizer.vocab_size:,} tokens, but the model knows {config.vocab_size:,}"
        raise TokenizerError(what, where=path, hint="They do not belong together.")
