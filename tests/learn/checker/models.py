"""Right models in the manners of a book, of nanoGPT, of Llama and of Qwen3: what the checker must find no fault with.

Every step that `broken` spoils is a method of its own. Small, plain, and each called in another way: a dict of
settings, a dataclass, keywords; logits, (logits, loss), an object with a cache, a cache that is handed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BOOK = {
    "vocab_size": 97, "context_length": 24, "emb_dim": 32, "n_heads": 4, "n_layers": 2, "drop_rate": 0.1,
    "qkv_bias": False,
}  # fmt: skip


# a book's GPT: a dict of settings, a mask as buffer, query, key and value apart


class BookNorm(nn.Module):
    """LayerNorm by hand."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        return self.scale * centred / torch.sqrt(x.var(dim=-1, keepdim=True, unbiased=False) + 1e-5) + self.shift


class BookAttention(nn.Module):
    """Multi-head attention, one method a step."""

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__()
        width = cfg["emb_dim"]
        self.n_heads = cfg["n_heads"]
        self.W_query = nn.Linear(width, width, bias=cfg["qkv_bias"])
        self.W_key = nn.Linear(width, width, bias=cfg["qkv_bias"])
        self.W_value = nn.Linear(width, width, bias=cfg["qkv_bias"])
        self.out_proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(cfg["drop_rate"])
        length = cfg["context_length"]
        self.register_buffer("mask", torch.triu(torch.ones(length, length), diagonal=1))

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = self.project(x)
        shares = self.drop(self.shares(self.masked(self.scores(queries, keys)), keys))
        return self.out_proj(self.joined(self.mixed(shares, values)))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.heads(self.W_query(x)), self.heads(self.W_key(x)), self.heads(self.W_value(x))

    def heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        return queries @ keys.transpose(2, 3)

    def hidden(self, scores: Tensor) -> Tensor:
        return self.mask.bool()[: scores.shape[-2], : scores.shape[-1]]

    def masked(self, scores: Tensor) -> Tensor:
        scores.masked_fill_(self.hidden(scores), -torch.inf)
        return scores

    def shares(self, scores: Tensor, keys: Tensor) -> Tensor:
        return torch.softmax(scores / keys.shape[-1] ** 0.5, dim=-1)

    def drop(self, shares: Tensor) -> Tensor:
        return self.dropout(shares)

    def mixed(self, shares: Tensor, values: Tensor) -> Tensor:
        return shares @ values

    def joined(self, mixed: Tensor) -> Tensor:
        return mixed.transpose(1, 2).contiguous().flatten(2)


class BookBlock(nn.Module):
    """Pre-norm block."""

    attention: type[BookAttention] = BookAttention

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__()
        width = cfg["emb_dim"]
        self.att = self.attention(cfg)
        self.ff = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norm1, self.norm2 = BookNorm(width), BookNorm(width)
        self.drop_shortcut = nn.Dropout(cfg["drop_rate"])

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_shortcut(self.att(self.norm1(x)))
        return x + self.drop_shortcut(self.ff(self.norm2(x)))


class BookGPT(nn.Module):
    """The model of a book's fourth chapter."""

    block: type[BookBlock] = BookBlock

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__()
        self.tok_emb = nn.Embedding(cfg["vocab_size"], cfg["emb_dim"])
        self.pos_emb = nn.Embedding(cfg["context_length"], cfg["emb_dim"])
        self.drop_emb = nn.Dropout(cfg["drop_rate"])
        self.trf_blocks = nn.Sequential(*[self.block(cfg) for _ in range(cfg["n_layers"])])
        self.final_norm = BookNorm(cfg["emb_dim"])
        self.out_head = nn.Linear(cfg["emb_dim"], cfg["vocab_size"], bias=False)

    def forward(self, in_idx: Tensor) -> Tensor:
        return self.out_head(self.final_norm(self.trf_blocks(self.drop_emb(self.embedded(in_idx)))))

    def embedded(self, in_idx: Tensor) -> Tensor:
        return self.tok_emb(in_idx) + self.pos_emb(torch.arange(in_idx.shape[1]))


# nanoGPT's manner: a dataclass, one fused matrix, tied weights, the loss inside, logits of the last token only


@dataclass
class NanoConfig:
    block_size: int = 1024
    vocab_size: int = 50304
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.1
    bias: bool = True


NANO = NanoConfig(block_size=24, vocab_size=97, n_layer=2, n_head=4, n_embd=32)


class NanoAttention(nn.Module):
    """One matrix makes query, key and value; PyTorch's fused attention, or by hand."""

    by_hand = False

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.n_head, self.dropout = config.n_head, config.dropout
        length = config.block_size
        self.register_buffer("bias", torch.tril(torch.ones(length, length)).view(1, 1, length, length))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.size()
        q, k, v = (
            part.view(batch, length, self.n_head, -1).transpose(1, 2) for part in self.c_attn(x).split(width, dim=2)
        )
        y = self.attend(q, k, v).transpose(1, 2).contiguous().view(batch, length, width)
        return self.c_proj(y)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.by_hand:
            scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            scores = scores.masked_fill(self.bias[:, :, : q.size(2), : q.size(2)] == 0, float("-inf"))
            return F.softmax(scores, dim=-1) @ v
        p = self.dropout if self.training else 0
        return F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=p, is_causal=True)


class NanoByHand(NanoAttention):
    """The same without the fused kernel."""

    by_hand = True


class NanoGPT(nn.Module):
    """forward(idx, targets) → (logits, loss); the data shifts the targets."""

    attention: type[NanoAttention] = NanoAttention

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.config = config
        width = config.n_embd
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config.vocab_size, width),
                "wpe": nn.Embedding(config.block_size, width),
                "h": nn.ModuleList(self.layer(config) for _ in range(config.n_layer)),
                "ln_f": nn.LayerNorm(width),
            }
        )
        self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
        self.start()
        self.tie()

    def layer(self, config: NanoConfig) -> nn.ModuleDict:
        width = config.n_embd
        mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        parts = {"ln_1": nn.LayerNorm(width), "attn": self.attention(config), "ln_2": nn.LayerNorm(width), "mlp": mlp}
        return nn.ModuleDict(parts)

    def start(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def tie(self) -> None:
        self.lm_head.weight = self.transformer["wte"].weight

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        x = self.transformer["wte"](idx) + self.transformer["wpe"](torch.arange(idx.size(1)))
        for layer in self.transformer["h"]:
            x = x + layer["attn"](layer["ln_1"](x))
            x = x + layer["mlp"](layer["ln_2"](x))
        x = self.transformer["ln_f"](x)
        if targets is None:
            return self.lm_head(x[:, [-1], :]), None
        logits = self.lm_head(x)
        return logits, self.loss(logits, targets)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)


# Llama's and Qwen3's manner: keywords, RMSNorm, rotary positions, grouped heads, a cache


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


def rotated(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    """Rotary positions, halves apart."""
    half = x.shape[-1] // 2
    angle = positions[:, None].float() * theta ** (-torch.arange(half) / half)
    cos, sin = angle.cos(), angle.sin()
    one, two = x[..., :half], x[..., half:]
    return torch.cat((one * cos - two * sin, two * cos + one * sin), dim=-1)


class LlamaAttention(nn.Module):
    """Grouped heads, written with einsum; keys and values of earlier tokens may be given."""

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.d_head = n_heads, n_kv_heads, dim // n_heads
        self.wq = nn.Linear(dim, dim, bias=False)
        self.wk = nn.Linear(dim, n_kv_heads * self.d_head, bias=False)
        self.wv = nn.Linear(dim, n_kv_heads * self.d_head, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)
        self.q_norm = RMSNorm(self.d_head) if qk_norm else nn.Identity()
        self.k_norm = RMSNorm(self.d_head) if qk_norm else nn.Identity()

    def forward(self, x: Tensor, held: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q = self.q_norm(self.wq(x).unflatten(-1, (self.n_heads, -1))).transpose(1, 2)
        k = self.k_norm(self.wk(x).unflatten(-1, (self.n_kv_heads, -1))).transpose(1, 2)
        v = self.wv(x).unflatten(-1, (self.n_kv_heads, -1)).transpose(1, 2)
        start = 0 if held is None else held[0].shape[2]
        q, k = self.turned(q, self.start(start)), self.turned(k, self.start(start))
        if held is not None:
            k, v = torch.cat((held[0], k), dim=2), torch.cat((held[1], v), dim=2)
        new = (k, v)
        k = k.repeat_interleave(self.n_heads // self.n_kv_heads, dim=1)
        v = v.repeat_interleave(self.n_heads // self.n_kv_heads, dim=1)
        scores = self.scale(torch.einsum("bhqe,bhke->bhqk", q, k))
        scores = scores + self.mask(x.shape[1], k.shape[2], start)
        mixed = torch.einsum("bhqk,bhke->bqhe", scores.softmax(-1), v)
        return self.wo(mixed.flatten(2)), new

    def start(self, held: int) -> int:
        """The position of the first new token."""
        return held

    def turned(self, x: Tensor, start: int) -> Tensor:
        return rotated(x, torch.arange(start, start + x.shape[2]), 10_000.0)

    def scale(self, scores: Tensor) -> Tensor:
        return scores * self.d_head**-0.5

    def mask(self, new: int, seen: int, start: int) -> Tensor:
        return torch.full((new, seen), float("-inf")).triu(diagonal=start + 1)


class LlamaBlock(nn.Module):
    attention: type[LlamaAttention] = LlamaAttention

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, hidden_dim: int, qk_norm: bool) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = RMSNorm(dim), RMSNorm(dim)
        self.attn = self.attention(dim, n_heads, n_kv_heads, qk_norm)
        self.w1 = nn.Linear(dim, hidden_dim, bias=False)
        self.w2 = nn.Linear(hidden_dim, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden_dim, bias=False)

    def forward(self, x: Tensor, held: Any) -> tuple[Tensor, Any]:
        added, new = self.attn(self.norm_1(x), held)
        x = x + added
        y = self.norm_2(x)
        return x + self.w2(F.silu(self.w1(y)) * self.w3(y)), new


class LlamaLM(nn.Module):
    """forward(input_ids, labels, past_key_values, use_cache) → an object; the model shifts the labels."""

    block: type[LlamaBlock] = LlamaBlock
    qk_norm = False

    def __init__(
        self, vocab_size: int, dim: int, n_layers: int, n_heads: int, n_kv_heads: int, hidden_dim: int,
        max_seq_len: int = 24,
    ) -> None:  # fmt: skip
        super().__init__()
        self.max_seq_len = max_seq_len
        self.embed = nn.Embedding(vocab_size, dim)
        self.layers = nn.ModuleList(
            self.block(dim, n_heads, n_kv_heads, hidden_dim, self.qk_norm) for _ in range(n_layers)
        )
        self.norm = RMSNorm(dim)
        self.head = nn.Linear(dim, vocab_size, bias=False)
        nn.init.normal_(self.embed.weight, std=0.02)

    def read(self, ids: Tensor, held: list[Any]) -> tuple[Tensor, list[Any]]:
        x, new = self.embed(ids), []
        for layer, past in zip(self.layers, held, strict=True):
            x, kept = layer(x, past)
            new.append(kept)
        return self.output(self.norm(x)), new

    def output(self, x: Tensor) -> Tensor:
        return self.head(x)

    def forward(
        self, input_ids: Tensor, labels: Tensor | None = None, past_key_values: Any = None, use_cache: bool = False
    ) -> SimpleNamespace:
        logits, new = self.read(input_ids, past_key_values or [None] * len(self.layers))
        loss = None if labels is None else self.loss(logits, labels)
        return SimpleNamespace(logits=logits, loss=loss, past_key_values=new if use_cache else None)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


class LayerCache:
    """Keys and values of each layer, handed to the model, which fills it."""

    def __init__(self, n_layers: int) -> None:
        self.held: list[Any] = [None] * n_layers


@dataclass
class QwenConfig:
    vocab_size: int = 97
    hidden_size: int = 32
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    intermediate_size: int = 64
    max_position_embeddings: int = 24


class QwenLM(LlamaLM):
    """Llama with normalised queries and keys; logits only, and a cache that is handed in."""

    qk_norm = True

    def __init__(self, cfg: QwenConfig) -> None:
        super().__init__(
            cfg.vocab_size, cfg.hidden_size, cfg.num_hidden_layers, cfg.num_attention_heads, cfg.num_key_value_heads,
            cfg.intermediate_size, cfg.max_position_embeddings,
        )  # fmt: skip
        self.cfg = cfg

    def forward(self, input_ids: Tensor, cache: LayerCache | None = None) -> Tensor:  # pyright: ignore
        logits, new = self.read(input_ids, [None] * len(self.layers) if cache is None else cache.held)
        if cache is not None:
            cache.held = new
        return logits


LLAMA = {"vocab_size": 97, "dim": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "hidden_dim": 64}


def right_models() -> dict[str, nn.Module]:
    """One of each, freshly made."""
    torch.manual_seed(0)
    by_hand = type("NanoGPTByHand", (NanoGPT,), {"attention": NanoByHand})
    return {
        "book": BookGPT(BOOK),
        "nano": NanoGPT(NANO),
        "nano by hand": by_hand(NANO),
        "llama": LlamaLM(**LLAMA),
        "qwen": QwenLM(QwenConfig()),
    }
