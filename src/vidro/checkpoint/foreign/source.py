"""What somebody names to be imported: recognised by what lies there, never by its name alone, and handed to its reader.

    directory   config.json → `directory`; adapter_config.json → `adapter`; only a pickle → `pickled`
    file        GGUF → `gguf_file`; llama2.c → `llama2c`; what torch.save wrote → `pickled`, with --from-pickle
    otherwise   a name on the hub, fetched by the caller (`hub`)

Not here: the forms themselves, making a run (`api/importing`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.checkpoint.foreign.model import ForeignModel
from vidro.core.errors import CheckpointError, TokenizerError, UsageError
from vidro.core.files import sha256_file

if TYPE_CHECKING:
    from vidro.text.tokenizer import Tokenizer

DIRECTORY, ADAPTER, PICKLE, GGUF, LLAMA2C = "directory", "adapter", "pickle", "gguf", "llama2c"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(@[\w./-]+)?")
PICKLED = "pytorch_model.bin"

_LLAMA2C_MAGIC = b"24ka"  # 0x616b3432, little-endian
_LEGACY_PICKLE = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
_FORMS = "Known: a Hugging Face directory, GGUF, llama2.c, and with --from-pickle what torch.save wrote."


@dataclass(frozen=True)
class Source:
    """What is to be read, and what was said about it. Made of plain values, so another process can be told."""

    path: str
    kind: str
    tokenizer: str | None = None
    from_pickle: bool = False
    n_heads: int | None = None
    base: str | None = None
    cache_dir: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As keywords of `Source` again."""
        return asdict(self)


def is_hub_name(name: str) -> bool:
    """Whether this could be a model on the hub (`gpt2`, `user/name`, `user/name@revision`) and not a path."""
    return HUB_NAME.fullmatch(name) is not None and not name.endswith((".gguf", ".bin", ".pth", ".pt", ".safetensors"))


def recognise(path: Path) -> str:
    """Which reader a path is for, by its content. Raises CheckpointError for what is none of the known forms."""
    if path.is_dir():
        return _recognise_directory(path)
    if not path.is_file():
        raise CheckpointError("there is no such file or directory", where=path)
    try:
        with path.open("rb") as stream:
            start = stream.read(512)
    except OSError as problem:
        raise CheckpointError(f"it cannot be read ({problem.strerror})", where=path) from None
    if start.startswith(b"GGUF"):
        return GGUF
    if (
        start.startswith((b"PK\x03\x04", _LEGACY_PICKLE))
        or start[257:262] == b"ustar"
        or path.suffix in (".pth", ".pt")
    ):
        return PICKLE
    if start.startswith(_LLAMA2C_MAGIC) or _looks_like_llama2c(start, path.stat().st_size):
        return LLAMA2C
    if path.suffix == ".safetensors":
        what = "a file of weights alone does not say what model it is"
        raise CheckpointError(what, where=path, hint="Name the directory that holds it and its config.json.")
    if start[:1] == b"\x80":
        return PICKLE
    raise CheckpointError("this is no model in a form that is known", where=path, hint=_FORMS)


def _recognise_directory(path: Path) -> str:
    from vidro.checkpoint.foreign import adapter, directory
    from vidro.checkpoint.weights import INDEX, WEIGHTS

    if adapter.is_adapter(path):
        return ADAPTER
    if not directory.is_model(path):
        found = sorted(each.name for each in path.iterdir() if each.suffix in (".gguf", ".pth", ".pt", ".bin"))
        hint = f"Name the file: {path / found[0]}." if found else _FORMS
        raise CheckpointError("there is no config.json in this directory", where=path, hint=hint)
    here = any((path / name).is_file() for name in (WEIGHTS, INDEX))
    return PICKLE if not here and (path / PICKLED).is_file() else DIRECTORY


def _looks_like_llama2c(start: bytes, size: int) -> bool:
    """Seven sizes of which a model could be made, and a file that is large enough for its embedding."""
    if len(start) < 28:
        return False
    dim, hidden, layers, heads, kv_heads, vocab, context = struct.unpack("<7i", start[:28])
    positive = min(dim, hidden, layers, heads, kv_heads, context) > 0 and vocab != 0
    return positive and dim % heads == 0 and heads % kv_heads == 0 and layers < 1000 and size >= 4 * dim * abs(vocab)


def read(source: Source, say: Callable[[str], None] = lambda line: None) -> ForeignModel:
    """The model, by the reader of its form. Raises UsageError for an option that its form has no use for."""
    from vidro.checkpoint.foreign import adapter, directory

    path = Path(source.path)
    _check_options(source)
    if source.kind == LLAMA2C:
        from vidro.checkpoint.foreign import llama2c

        return llama2c.read(path, None if source.tokenizer is None else Path(source.tokenizer))
    tokenizer = _tokenizer(source)
    if source.kind == DIRECTORY:
        return directory.read(path, tokenizer=tokenizer)
    if source.kind == ADAPTER:
        base = None if source.base is None else _base(source, tokenizer)
        return _with_tokenizer(adapter.read(path, base), tokenizer, path)
    if source.kind == GGUF:
        from vidro.checkpoint.foreign import gguf_file

        return gguf_file.read(path, tokenizer=tokenizer)
    return _pickled(source, tokenizer, say)


def _pickled(source: Source, tokenizer: Tokenizer | None, say: Callable[[str], None]) -> ForeignModel:
    from vidro.checkpoint.foreign import directory, pickled

    path = Path(source.path)
    if not source.from_pickle:
        what = "this is a pickle, which may run code when it is opened"
        hint = "--from-pickle opens it in a process that may do nothing else."
        raise UsageError(what, where=path, hint=hint)
    template = directory.read_template(path) if path.is_dir() else None
    path = path / PICKLED if path.is_dir() else path
    cache = None if source.cache_dir is None else Path(source.cache_dir)
    model = pickled.read(path, tokenizer=tokenizer, n_heads=source.n_heads, cache_dir=cache, say=say)
    return replace(model, chat_template=template)


def _check_options(source: Source) -> None:
    if source.from_pickle and source.kind != PICKLE:
        raise UsageError("there is nothing pickled here", where="from-pickle", hint="Leave it out.")
    if source.n_heads is not None and source.kind != PICKLE:
        hint = "Leave it out: this form says how many heads it has."
        raise UsageError("the number of heads is asked for with --from-pickle only", where="n-heads", hint=hint)
    if source.base is not None and source.kind != ADAPTER:
        raise UsageError("only an adapter has a base", where="base", hint="Leave it out.")


def _tokenizer(source: Source) -> Tokenizer | None:
    from vidro.checkpoint.foreign import directory
    from vidro.text.foreign import load_any

    if source.tokenizer is None:
        return None
    place = Path(source.tokenizer)
    if (place / directory.TIKTOKEN).is_file() or place.name == directory.TIKTOKEN:
        return directory.read_tokenizer(place if place.is_dir() else place.parent)[0]
    return load_any(source.tokenizer, cache_dir=None if source.cache_dir is None else Path(source.cache_dir))


def _base(source: Source, tokenizer: Tokenizer | None) -> ForeignModel:
    from vidro.checkpoint.foreign import directory

    assert source.base is not None
    return directory.read(Path(source.base), tokenizer=tokenizer)


def _with_tokenizer(model: ForeignModel, tokenizer: Tokenizer | None, path: Path) -> ForeignModel:
    if tokenizer is None:
        return model
    if tokenizer.vocab_size > model.config.vocab_size:
        sizes = f"{tokenizer.vocab_size:,} tokens, but the model knows {model.config.vocab_size:,}"
        raise TokenizerError(f"the tokenizer has {sizes}", where=path, hint="They do not belong together.")
    return replace(model, tokenizer=tokenizer)


def fingerprints(source: Source) -> dict[str, str]:
    """SHA-256 of each file that was read, by its name."""
    from vidro.checkpoint.foreign import directory

    path = Path(source.path)
    if not path.is_dir():
        return {path.name: sha256_file(path)}
    extra = ("adapter_config.json", "adapter_model.safetensors", PICKLED) if source.kind != DIRECTORY else ()
    files = [*directory.files_of(path), *(path / name for name in extra if (path / name).is_file())]
    return {file.name: sha256_file(file) for file in files}
