"""Finished runs of random weights, for tests of exports: every family, vocabulary and style without any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import vidro
from vidro.checkpoint.huggingface import write_model
from vidro.checkpoint.run import write_record
from vidro.config.schema import ModelConfig
from vidro.data.tinyworld import text
from vidro.model.init import initialise
from vidro.model.transformer import Transformer
from vidro.text.styles import get_style
from vidro.text.tokenizer import Tokenizer

TALE = text(seed=4, n_bytes=20_000)
SHAPE: dict[str, Any] = {
    "context_length": 96, "d_model": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "d_head": 16, "d_ff": 96,
}  # fmt: skip
OWN_TEMPLATE = (
    "{% for message in messages %}\n{{ message['role'] | upper }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}\nASSISTANT: {% endif %}"
)
"""A chat template that is none of Vidro's own styles."""


def random_run(
    folder: Path, tokenizer: Tokenizer, *, style: str | None = None, step: int = 0, **changes: Any
) -> vidro.Run:
    """A run whose weights all have an opinion, also those that begin at zero or one. `changes`: to `SHAPE`."""
    model = Transformer(ModelConfig(**{"vocab_size": tokenizer.vocab_size, **SHAPE, **changes}))
    initialise(model, seed=3, scheme="pytorch")
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
        if model.config.tie_embeddings:  # else a token's logit is its embedding's square, and it repeats itself
            model.head.weight.mul_(0.15)
    write_model(folder, model, tokenizer)
    labels = model.config.labels
    record: dict[str, Any] = {"kind": "classifier" if labels else "instruct" if style else "base", "step": step}
    if labels:
        record["reader"] = {"max_tokens": model.config.context_length - 6, "pad_to": None}
    if style is not None:
        record["prompt_style"] = style
        (folder / "chat_template.jinja").write_text(get_style(style, tokenizer).jinja, encoding="utf-8")
    write_record(folder, {**record, "tokenizer": {"fingerprint": tokenizer.fingerprint}})
    return vidro.Run(folder, device="cpu")
