"""A reader's own model, written here with the parameter names of the book and of nanoGPT, computes the same once read.

The book's reader has a GPTModel (or its faster variant, or the classifier made of it) and `torch.save`; nanoGPT's has a
checkpoint. The modules below are small and their own; only names and shapes are those of the originals.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidro.checkpoint.foreign.layouts import fold_head_bias, recognise, state_of
from vidro.checkpoint.foreign.model import ForeignModel
from vidro.checkpoint.foreign.pickled import read
from vidro.core.errors import ModelError
from vidro.model.transformer import Transformer

V, T, D, H, L = 97, 24, 48, 4, 2
WHERE = Path("model.pth")


def tanh_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention written out, [B, T, D] each, H heads."""
    q, k, v = (each.view(*each.shape[:2], H, -1).transpose(1, 2) for each in (q, k, v))
    scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return (scores.masked_fill(later, -torch.inf).softmax(-1) @ v).transpose(1, 2).flatten(2)


class ScaleShift(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(D)), nn.Parameter(torch.zeros(D))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return self.scale * centred / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt() + self.shift


class BookAttention(nn.Module):
    def __init__(self, bias: bool, faster: bool) -> None:
        super().__init__()
        if faster:
            self.qkv, self.proj = nn.Linear(D, 3 * D, bias=bias), nn.Linear(D, D)
        else:
            self.W_query, self.W_key, self.W_value = (nn.Linear(D, D, bias=bias) for _ in range(3))
            self.out_proj = nn.Linear(D, D)
            self.register_buffer("mask", torch.ones(T, T).triu(1))
        self.faster = faster

    def forward(self, x: Tensor) -> Tensor:
        if self.faster:
            return self.proj(causal(*self.qkv(x).chunk(3, dim=-1)))
        return self.out_proj(causal(self.W_query(x), self.W_key(x), self.W_value(x)))


class Tanh(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return tanh_gelu(x)


class Widening(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(D, 4 * D), Tanh(), nn.Linear(4 * D, D))


class BookBlock(nn.Module):
    def __init__(self, bias: bool, faster: bool) -> None:
        super().__init__()
        self.att, self.ff = BookAttention(bias, faster), Widening()
        self.norm1, self.norm2 = (nn.LayerNorm(D) if faster else ScaleShift() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.att(self.norm1(x))
        return x + self.ff.layers(self.norm2(x))


class BookModel(nn.Module):
    def __init__(self, *, bias: bool = False, faster: bool = False, classes: int | None = None) -> None:
        super().__init__()
        self.tok_emb, self.pos_emb = nn.Embedding(V, D), nn.Embedding(T, D)
        self.trf_blocks = nn.Sequential(*(BookBlock(bias, faster) for _ in range(L)))
        self.final_norm = nn.LayerNorm(D) if faster else ScaleShift()
        self.out_head = nn.Linear(D, classes or V, bias=classes is not None)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tok_emb(ids) + self.pos_emb(torch.arange(ids.shape[1]))
        return self.out_head(self.final_norm(self.trf_blocks(x)))


class NanoBlock(nn.Module):
    def __init__(self, bias: bool, gelu: Any) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = (nn.LayerNorm(D, bias=bias) for _ in range(2))
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.c_attn, self.attn.c_proj = nn.Linear(D, 3 * D, bias=bias), nn.Linear(D, D, bias=bias)
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(D, 4 * D, bias=bias), nn.Linear(4 * D, D, bias=bias)
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        attn, mlp = self.attn, self.mlp
        x = x + attn.c_proj(causal(*attn.c_attn(self.ln_1(x)).chunk(3, dim=-1)))  # pyright: ignore
        return x + mlp.c_proj(self.gelu(mlp.c_fc(self.ln_2(x))))  # pyright: ignore


class NanoModel(nn.Module):
    def __init__(self, *, bias: bool, gelu: Any = F.gelu, tied: bool = True) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(V, D), "wpe": nn.Embedding(T, D),
                "h": nn.ModuleList(NanoBlock(bias, gelu) for _ in range(L)), "ln_f": nn.LayerNorm(D, bias=bias),
            }
        )  # fmt: skip
        self.lm_head = nn.Linear(D, V, bias=False)
        if tied:
            self.lm_head.weight = self.transformer["wte"].weight  # pyright: ignore

    def forward(self, ids: Tensor) -> Tensor:
        parts: Any = self.transformer
        x = parts["wte"](ids) + parts["wpe"](torch.arange(ids.shape[1]))
        for block in parts["h"]:
            x = block(x)
        return self.lm_head(parts["ln_f"](x))


def shaken(model: nn.Module) -> nn.Module:
    """Random weights everywhere, norms and biases included."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2 + (parameter == 1))
    return model.eval()


def difference(theirs: nn.Module, config: Any, state: Any) -> float:
    """The largest difference of a logit, by the largest logit."""
    ours = Transformer(config)
    ours.load_state_dict(state)
    ids = torch.randint(V, (3, T), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mine, yours = ours.eval()(ids), theirs(ids)
    assert yours.std() > 0.1, "logits that hardly differ would prove nothing"
    return ((mine - yours).abs().max() / yours.abs().max()).item()


MODELS = {
    "the book's": lambda: BookModel(),
    "the book's with qkv_bias": lambda: BookModel(bias=True),
    "the book's faster one": lambda: BookModel(faster=True),
    "the book's faster one with qkv_bias": lambda: BookModel(faster=True, bias=True),
    "the book's classifier": lambda: BookModel(classes=2),
    "nanoGPT's shape, tanh": lambda: NanoModel(bias=True, gelu=tanh_gelu),
    "nanoGPT's shape without biases, tanh": lambda: NanoModel(bias=False, gelu=tanh_gelu),
    "minGPT's shape": lambda: NanoModel(bias=True, gelu=tanh_gelu, tied=False),
}


@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.", "model._orig_mod."])
@pytest.mark.parametrize("name", MODELS)
def test_every_form_computes_the_same(name: str, wrapper: str) -> None:
    theirs = shaken(MODELS[name]())
    state = {f"{wrapper}{key}": tensor for key, tensor in theirs.state_dict().items() if ".mask" not in key}
    layout = recognise(state, {}, n_heads=H, where=WHERE)
    assert difference(theirs, layout.config, state_of(layout, WHERE)) < 1e-5


def test_the_book_s_model_and_classifier_through_a_file(tmp_path: Path) -> None:
    theirs = shaken(BookModel())
    optimizer = torch.optim.AdamW(theirs.parameters())
    kept = {"model_state_dict": theirs.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    torch.save({**kept, "cfg": {"n_heads": H, "drop_rate": 0.1}}, tmp_path / "model_and_optimizer.pth")
    found = read(tmp_path / "model_and_optimizer.pth")
    assert (found.form, found.config.dropout, found.config.tie_embeddings) == (
        "a pickled model of the book",
        0.1,
        False,
    )
    assert difference(theirs, found.config, found.state) < 1e-5

    classifier = shaken(BookModel(classes=3))
    torch.save(classifier.state_dict(), tmp_path / "review_classifier.pth")
    found = read(tmp_path / "review_classifier.pth", n_heads=H)
    assert found.config.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert difference(classifier, found.config, found.state) < 1e-5
    assert any("bias of the head" in note for note in found.notes)


def test_nanogpt_s_checkpoint_and_what_its_gelu_costs(tmp_path: Path) -> None:
    theirs = shaken(NanoModel(bias=False))
    settings = {"n_layer": L, "n_head": H, "n_embd": D, "block_size": T, "bias": False, "vocab_size": V, "dropout": 0.2}
    checkpoint = {
        "model": {f"_orig_mod.{name}": tensor for name, tensor in theirs.state_dict().items()},
        "optimizer": torch.optim.AdamW(theirs.parameters()).state_dict(), "model_args": settings, "iter_num": 5000,
        "best_val_loss": torch.tensor(1.47), "config": {"dataset": "none", "compile": True},
    }  # fmt: skip
    torch.save(checkpoint, tmp_path / "ckpt.pt")
    found: ForeignModel = read(tmp_path / "ckpt.pt")
    assert (found.form, found.config.dropout, found.config.tie_embeddings) == ("a pickled model of nanoGPT", 0.2, True)
    assert 1e-6 < difference(theirs, found.config, found.state) < 3e-3, "tanh for exact: small, but not nothing"
    assert any("GELU" in note and "differ by at most 0.0" in note for note in found.notes), found.notes


def test_a_head_s_bias_goes_into_the_norm_or_is_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(5, 16, generator=generator), torch.randn(5, generator=generator)
    shift, hidden = torch.randn(16, generator=generator), torch.randn(7, 16, generator=generator)
    folded = fold_head_bias(weight, bias, shift, WHERE)
    torch.testing.assert_close((hidden + folded) @ weight.T, (hidden + shift) @ weight.T + bias, rtol=1e-5, atol=1e-5)
    with pytest.raises(ModelError, match="bias that this model cannot express"):
        fold_head_bias(torch.randn(30, 16, generator=generator), torch.randn(30, generator=generator), shift, WHERE)
    with pytest.raises(ModelError, match="bias that this model cannot express"):
        fold_head_bias(weight[[0, 0]], bias[:2], shift, WHERE)
