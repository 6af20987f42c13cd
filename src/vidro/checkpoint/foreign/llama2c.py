"""llama2.c's files: the weights (versions 0 and 1) and the tokenizer with scores.

    version 0   seven sizes; embedding, then each kind of matrix of all layers; two tables of rotary positions
    version 1   "ak42", 1, seven sizes, one byte; the norms of all layers first, no tables
    tokenizer   the longest token; then score, length and bytes of each

Rotary positions turn neighbours (2i, 2i + 1) there, as in GGUF, whose names the tensors get on their way. Every text
begins with ``<s>`` there, and the next ``<s>`` is what ends it, so it is this tokenizer's end mark.
Not here: GGUF (`gguf_file`). The format: karpathy/llama2.c, export.py.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vidro.checkpoint.foreign.model import ForeignModel
from vidro.checkpoint.names import from_foreign_lazily
from vidro.checkpoint.weights import Lazy
from vidro.config.load import build
from vidro.config.schema import ModelConfig
from vidro.core.errors import CheckpointError, ModelError, TokenizerError, UsageError
from vidro.text.foreign import load_any
from vidro.text.sentencepiece import SPACE, scored_bpe
from vidro.text.tokenizer import Tokenizer

FORM = "a llama2.c file"
MAGIC, HEADER_1 = 0x616B3432, 256
LARGEST_SIZE, MOST_LAYERS, MOST_ROTARY = 2**20, 10_000, 2**26
MOST_TOKENS, LONGEST_TOKEN = 2**20, 256
NORM_EPS, ROPE_THETA = 1e-5, 10_000.0  # written in its code, not in its files

UNK, START, END = "<unk>", "<s>", "</s>"
_ALTERED = "The file is cut short or altered; fetch it again."


def read(path: Path, tokenizer: Path | None = None) -> ForeignModel:
    """The model of a file. `tokenizer` is its ``tokenizer.bin``, or whatever names one; None looks beside the file.

    Raises CheckpointError for a file that is not as long as its sizes say, ModelError for a version that is not read,
    TokenizerError for a tokenizer that is missing, damaged or of another size.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            header = stream.read(HEADER_1)
    except FileNotFoundError:
        raise CheckpointError("there is no such file", where=path) from None
    except OSError as problem:
        raise CheckpointError(f"it cannot be read ({problem.strerror})", where=path) from None
    version, sizes, tied = _header(header, path)
    config = _config(sizes, tied, path)
    makers, place = {}, HEADER_1 if version else 28
    for name, shape in _tensors(config, version):
        if name:
            makers[name] = partial(_read, path, place, shape)
        place += 4 * math.prod(shape)
    if place != size:
        what = f"it has {size:,} bytes, and a model of these sizes {place:,}"
        raise CheckpointError(what, where=path, hint="The file is cut short or altered, or is no llama2.c file.")
    state = from_foreign_lazily(Lazy(makers), config, "gguf", where=path)
    text = _tokenizer(path, tokenizer, config.vocab_size)
    notes = [f"stored in float32, llama2.c version {version}"]
    if text.special_ids.get(START) == text.eot_id:
        notes.append(f"every text begins with {START} and ends where the next would begin")
    return ForeignModel(FORM, config, state, text, notes=tuple(notes))


def _header(header: bytes, path: Path) -> tuple[int, tuple[int, ...], bool]:
    """Version, the seven sizes, and whether the head is the embedding."""
    if len(header) < 28:
        raise CheckpointError("this is no llama2.c file: it is too short", where=path)
    magic, version = struct.unpack("<Ii", header[:8])
    if magic != MAGIC:
        sizes = struct.unpack("<7i", header[:28])
        return 0, (*sizes[:5], abs(sizes[5]), sizes[6]), sizes[5] > 0
    if version != 1:
        what = f"version {version} of llama2.c's format is not read" + (" (int8 in groups)" if version == 2 else "")
        raise ModelError(what, where=path, hint="Export it again in float32: export.py --version 1 (or 0).")
    if len(header) < HEADER_1 or header[36] > 1 or any(header[37:]):
        raise CheckpointError("its header is damaged", where=path, hint=_ALTERED)
    return 1, struct.unpack("<7i", header[8:36]), header[36] == 1


def _config(sizes: tuple[int, ...], tied: bool, path: Path) -> ModelConfig:
    d_model, d_ff, n_layers, n_heads, n_kv_heads, vocab_size, context = sizes
    in_bounds = min(sizes) > 0 and max(sizes) <= LARGEST_SIZE and n_layers <= MOST_LAYERS
    if not in_bounds or d_model % n_heads or context * (d_model // n_heads) > MOST_ROTARY:
        shown = ", ".join(f"{size:,}" for size in sizes)
        raise CheckpointError(f"this is no llama2.c file: its sizes would be {shown}", where=path)
    try:
        return build(ModelConfig, {
            "family": "llama", "vocab_size": vocab_size, "context_length": context, "d_model": d_model,
            "n_layers": n_layers, "n_heads": n_heads, "n_kv_heads": n_kv_heads, "d_head": d_model // n_heads,
            "d_ff": d_ff, "norm_eps": NORM_EPS, "rope_theta": ROPE_THETA, "tie_embeddings": tied,
        })  # fmt: skip
    except UsageError as problem:
        raise CheckpointError(f"these sizes do not make a model ({problem})", where=path) from None


def _tensors(config: ModelConfig, version: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """GGUF's name (none: not a weight) and the shape of each tensor, in the order of the file."""
    width, hidden, half = config.d_model, config.d_ff, config.d_head // 2
    q, kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    shapes = {
        "attn_norm": (width,), "attn_q": (q, width), "attn_k": (kv, width), "attn_v": (kv, width),
        "attn_output": (width, q), "ffn_norm": (width,), "ffn_gate": (hidden, width), "ffn_down": (width, hidden),
        "ffn_up": (hidden, width),
    }  # fmt: skip
    embedding = ("token_embd", (config.vocab_size, width))
    matrices = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_down", "ffn_up"]
    if version == 1:
        matrices.remove("ffn_norm")
        order = ["attn_norm", "ffn_norm", "output_norm", "token_embd", *matrices]
    else:
        order = ["token_embd", "attn_norm", *matrices, "output_norm", "", ""]
    whole = {"token_embd": embedding[1], "output_norm": (width,), "": (config.context_length, half)}
    for kind in [*order, *([] if config.tie_embeddings else ["output"])]:
        if kind in shapes:
            yield from ((f"blk.{n}.{kind}.weight", shapes[kind]) for n in range(config.n_layers))
        else:
            yield (f"{kind}.weight" if kind else ""), whole.get(kind, embedding[1])


def _read(path: Path, place: int, shape: tuple[int, ...]) -> Tensor:
    data = torch.empty(4 * math.prod(shape), dtype=torch.uint8)
    with path.open("rb") as stream:
        stream.seek(place)
        if stream.readinto(data.numpy().data) != len(data):
            raise CheckpointError("it became shorter while it was read", where=path, hint=_ALTERED)
    return data.view(torch.float32).reshape(shape)


# -- text ----------------------------------------------------------------------------------------------------------


def _tokenizer(path: Path, given: Path | None, vocab_size: int) -> Tokenizer:
    names = (f"tok{vocab_size}.bin", "tokenizer.bin", "tokenizer.json")
    file = given or next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)
    if file is None:
        what = "a llama2.c file holds no tokenizer, and there is none beside it"
        hint = f"Put it there as {' or '.join(names[:2])}, or name it: --tokenizer FILE."
        raise TokenizerError(what, where=path, hint=hint)
    found = read_tokenizer(file) if file.suffix == ".bin" else load_any(file)
    if found.vocab_size > vocab_size or (file.suffix == ".bin" and found.vocab_size != vocab_size):
        what = f"the tokenizer has {found.vocab_size:,} tokens, but the model knows {vocab_size:,}"
        raise TokenizerError(what, where=file, hint="They do not belong together.")
    return found


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a ``tokenizer.bin``; ids 0, 1 and 2 are unknown, start and end. Raises TokenizerError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_TOKENS * 16 + 1)
    except FileNotFoundError:
        raise TokenizerError("there is no such file", where=path) from None
    except OSError as problem:
        raise TokenizerError(f"it cannot be read ({problem.strerror})", where=path) from None
    tokens, scores = _records(data, path)
    if len(tokens) < 259 or tokens[0] != UNK or tokens[1].strip() != START or tokens[2].strip() != END:
        what = "this is no llama2.c tokenizer: its first tokens are not unknown, start and end"
        raise TokenizerError(what, where=path, hint=_ALTERED)
    tokens[1:3] = START, END  # llama2.c writes them between line ends
    special = {UNK: 0, START: 1, END: 2}
    try:
        spec = scored_bpe(tokens, scores, special=special, unk=UNK, start=START)
        return Tokenizer(spec, eot=START)
    except TokenizerError as problem:
        raise TokenizerError(problem.what, where=path, hint=problem.hint) from None


def _records(data: bytes, path: Path) -> tuple[list[str], list[float]]:
    """Tokens with ▁ for a space, and their scores."""
    tokens, scores, place = [], [], 4
    while place + 8 <= len(data) and len(tokens) < MOST_TOKENS:
        score, length = struct.unpack_from("<fi", data, place)
        piece = data[place + 8 : place + 8 + length] if 0 < length <= LONGEST_TOKEN else b""
        if len(piece) != length or not piece:
            said = "is cut short" if 0 < length <= LONGEST_TOKEN else f"has {length:,} bytes"
            raise TokenizerError(f"token {len(tokens)} {said}", where=path, hint=_ALTERED)
        try:
            tokens.append(piece.decode("utf-8").replace(" ", SPACE))
        except UnicodeDecodeError:
            raise TokenizerError(f"token {len(tokens)} is not UTF-8 text", where=path, hint=_ALTERED) from None
        scores.append(score)
        place += 8 + length
    longest = struct.unpack("<i", data[:4])[0] if len(data) >= 4 else 0
    if place != len(data) or not 0 < longest <= LONGEST_TOKEN:
        raise TokenizerError("this is no llama2.c tokenizer", where=path, hint=_ALTERED)
    return tokens, scores
