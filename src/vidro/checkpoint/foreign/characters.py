"""nanoGPT's models of characters: the table of ``meta.pkl`` as a tokenizer, and the special tokens such a model lacks.

nanoGPT's characters have no end-of-text mark, and every text begins after a line break. Here each tokenizer has one, so
the model gets rows for it and its fellows without computing anything else otherwise:

    embedding   a copy of the line break's, so a text that begins after the mark begins as it did
    head        a row w with w · h = -100 for every h, so none of them is ever probable

Such a row exists because the last norm's output is h = g · n + b with the numbers of n summing to 0: for w = c / g,
w · h = c · Σ b / g, whatever n is. Where that sum is not usable, b is moved along a direction that the head cannot see.
Not here: opening the file (`unpickle`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidro.config.schema import ModelConfig
from vidro.core.errors import ModelError, TokenizerError
from vidro.text.layout import word_level
from vidro.text.patterns import CHARACTER, split_step
from vidro.text.special import UNK, closing_tokens
from vidro.text.tokenizer import Tokenizer

TABLE = "meta.pkl"
NEVER = -100.0
"""The logit of a special token: e⁻¹⁰⁰ beside any character."""


def beside(path: Path, settings: Mapping[str, Any]) -> Path | None:
    """The table that belongs to a checkpoint of nanoGPT: in its folder, or where its data was prepared."""
    places = [path.parent / TABLE]
    dataset = settings.get("config.dataset")
    if isinstance(dataset, str) and dataset.isidentifier():
        places += [folder / "data" / dataset / TABLE for folder in (path.parent, path.parent.parent)]
    return next((place for place in places if place.is_file()), None)


def tokenizer_of(characters: Sequence[str], where: Path) -> Tokenizer:
    """Each character by its own id, and the reserved names behind them. Raises TokenizerError."""
    if not all(len(each) == 1 for each in characters) or len(set(characters)) < len(characters):
        raise TokenizerError("the table holds more than single characters", where=where)
    vocab = {character: number for number, character in enumerate(characters)}
    special = {name: len(vocab) + number for number, name in enumerate(closing_tokens(len(vocab)))}
    return Tokenizer(word_level(vocab, pre_tokenizer=split_step(CHARACTER), special=special, unk=UNK))


def with_special_tokens(
    config: ModelConfig, state: Mapping[str, Tensor], n_tokens: int, start: int
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The same model with rows up to `n_tokens`; new ones are embedded as `start` is and never probable.

    Raises ModelError where the model is too narrow for that.
    """
    table, head = state["token_embedding.weight"], state["head.weight"]
    n_new = n_tokens - len(table)
    gain, shift = state["final_norm.weight"], state["final_norm.bias"]
    moved, row = never_row(head, gain, shift)
    grown = {
        **state,
        "token_embedding.weight": torch.cat([table, table[start].expand(n_new, -1)]),
        "head.weight": torch.cat([head, row.to(head).expand(n_new, -1)]),
        "final_norm.bias": moved.to(shift),
    }
    return replace(config, vocab_size=n_tokens, tie_embeddings=False), grown


def never_row(head: Tensor, gain: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """(new shift [D], row [D]): the row gives `NEVER` for every output of the norm, and `head` [V, D] what it gave."""
    weight, inverse, shift = head.double(), 1 / gain.double(), shift.double()
    if not inverse.isfinite().all():
        raise ModelError("a gain of its last norm is zero: no end-of-text mark can be added")
    total = (shift * inverse).sum()
    if total.abs() < 1:
        unseen = inverse - torch.linalg.pinv(weight) @ (weight @ inverse)  # the part of 1 / g that the head cannot see
        if unseen.norm() < 1e-6 * inverse.norm():
            what = f"{len(weight)} characters in a width of {weight.shape[1]} leave no room for an end-of-text mark"
            raise ModelError(what, hint="Train the model wider than it has characters.")
        shift = shift + unseen * (1 - total) / (unseen * inverse).sum()
        total = (shift * inverse).sum()
    return shift, inverse * (NEVER / total)
