"""Tiny files of llama2.c, put together byte by byte: weights of versions 0 and 1, and a tokenizer."""

from __future__ import annotations

import struct

import numpy as np

from vidro.checkpoint.foreign.llama2c import MAGIC

DIM, HIDDEN, LAYERS, HEADS, KV, CONTEXT = 8, 12, 2, 2, 1, 16
LETTERS = [" ", "a", "b", "c"]
JOINED = ["ab", " a", "abc"]
VOCAB = 259 + len(JOINED) + len(LETTERS)
SHAPES = {
    "attn_norm": (DIM,), "q": (DIM, DIM), "k": (KV * 4, DIM), "v": (KV * 4, DIM), "o": (DIM, DIM), "ffn_norm": (DIM,),
    "w1": (HIDDEN, DIM), "w2": (DIM, HIDDEN), "w3": (HIDDEN, DIM),
}  # fmt: skip


def parts(seed: int = 0) -> dict[str, np.ndarray]:
    """All tensors, those of the blocks one above the other."""
    rng = np.random.default_rng(seed)
    shapes = {"embedding": (VOCAB, DIM), "norm": (DIM,), "head": (VOCAB, DIM)}
    shapes |= {name: (LAYERS, *shape) for name, shape in SHAPES.items()}
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def version_0(numbers: dict[str, np.ndarray], *, tied: bool) -> bytes:
    sizes = struct.pack("<7i", DIM, HIDDEN, LAYERS, HEADS, KV, VOCAB if tied else -VOCAB, CONTEXT)
    tables = np.full((2, CONTEXT, 2), 77, dtype=np.float32)
    order = ["attn_norm", "q", "k", "v", "o", "ffn_norm", "w1", "w2", "w3"]
    arrays = [numbers["embedding"], *(numbers[name] for name in order), numbers["norm"], tables]
    return sizes + b"".join(array.tobytes() for array in [*arrays, *([] if tied else [numbers["head"]])])


def version_1(numbers: dict[str, np.ndarray], *, tied: bool, version: int = 1) -> bytes:
    sizes = struct.pack("<Ii7iB", MAGIC, version, DIM, HIDDEN, LAYERS, HEADS, KV, VOCAB, CONTEXT, tied).ljust(
        256, b"\0"
    )
    order = ["attn_norm", "ffn_norm", "norm", "embedding", "q", "k", "v", "o", "w1", "w2", "w3"]
    return sizes + b"".join(numbers[name].tobytes() for name in [*order, *([] if tied else ["head"])])


def words(*more: str) -> bytes:
    tokens = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{byte:02X}>" for byte in range(256)), *JOINED, *LETTERS, *more]
    records = [
        struct.pack("<fi", -float(max(0, n - 259)), len(token)) + token.encode() for n, token in enumerate(tokens)
    ]
    return struct.pack("<i", 7) + b"".join(records)
