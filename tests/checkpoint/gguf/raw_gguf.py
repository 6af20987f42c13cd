"""A GGUF file put together byte by byte, so that tests can make every mistake and need no other package."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vidro.text.layout import BYTE_LETTERS

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(found: Any) -> bytes:
    """A setting's type and value."""
    if isinstance(found, bool):
        return struct.pack("<IB", BOOL, found)
    if isinstance(found, int):
        return struct.pack("<II", U32, found)
    if isinstance(found, float):
        return struct.pack("<If", F32, found)
    if isinstance(found, str):
        return struct.pack("<I", STRING) + text(found)
    kind = STRING if isinstance(found[0], str) else F32 if isinstance(found[0], float) else 5
    items = [text(item) if kind == STRING else struct.pack("<f" if kind == F32 else "<i", item) for item in found]
    return struct.pack("<IIQ", ARRAY, kind, len(found)) + b"".join(items)


@dataclass
class Raw:
    """What a file is to say."""

    values: dict[str, Any]
    tensors: dict[str, np.ndarray]
    version: int = 3
    alignment: int = 32
    offsets: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)

    def bytes(self) -> bytes:
        head = [b"GGUF", struct.pack("<IQQ", self.version, len(self.tensors), len(self.values))]
        head += [text(name) + value(found) for name, found in self.values.items()]
        data = bytearray()
        for name, array in self.tensors.items():
            data += bytes(-len(data) % self.alignment)
            sizes = array.shape[::-1]
            offset = self.offsets.get(name, len(data))
            kind = self.kinds.get(name, 0 if array.dtype == np.float32 else 1)
            head.append(text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset))
            data += array.tobytes()
        start = b"".join(head)
        return start + bytes(-len(start) % self.alignment) + bytes(data)


def tiny_llama(seed: int = 0) -> Raw:
    """A whole model: two blocks, grouped heads, 258 tokens (bytes, start, end), embedding of 259 rows."""
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(0.3)

    tensors = {"token_embd.weight": numbers(259, 16), "output_norm.weight": numbers(16)}
    for n in range(2):
        tensors |= {
            f"blk.{n}.attn_norm.weight": numbers(16), f"blk.{n}.attn_q.weight": numbers(16, 16),
            f"blk.{n}.attn_k.weight": numbers(8, 16), f"blk.{n}.attn_v.weight": numbers(8, 16),
            f"blk.{n}.attn_output.weight": numbers(16, 16), f"blk.{n}.ffn_norm.weight": numbers(16),
            f"blk.{n}.ffn_gate.weight": numbers(24, 16), f"blk.{n}.ffn_up.weight": numbers(24, 16),
            f"blk.{n}.ffn_down.weight": numbers(16, 24),
        }  # fmt: skip
    values = {
        "general.architecture": "llama", "llama.context_length": 32, "llama.embedding_length": 16,
        "llama.block_count": 2, "llama.feed_forward_length": 24, "llama.attention.head_count": 2,
        "llama.attention.head_count_kv": 1, "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 500.0, "llama.rope.dimension_count": 8, "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2", "tokenizer.ggml.tokens": [*BYTE_LETTERS, "<s>", "</s>", "[PAD258]"],
        "tokenizer.ggml.token_type": [1] * 256 + [3, 3, 5], "tokenizer.ggml.merges": ["ÿ ÿ"],
        "tokenizer.ggml.bos_token_id": 256, "tokenizer.ggml.eos_token_id": 257, "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    }  # fmt: skip
    return Raw(values, tensors)
