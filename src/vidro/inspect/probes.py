"""Probes: what the model makes of a few fixed sentences, written down at about thirty moments of its training.

Each record holds, for every sentence: who looks at whom in each attention head, the ten likeliest next tokens as
each layer sees them (the logit lens: final norm and head applied to the residual after the layer; nostalgebraist
2020), and the loss of each token. Sizes are bounded: at most 3 sentences of 32 tokens and 192 attention maps of
each, so a record of GPT-2's size is 0.6 MB. The files are described field by field in `docs/formats.md`.

Not here: which sentences (`sentences`), reading the files (`probe_files`), drawing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidro.core.shapes import Float, Int
from vidro.inspect.probe_files import FORMAT_VERSION, drop_after, write_header, write_record
from vidro.inspect.sentences import Sentence, choose_sentences
from vidro.model.modes import at_rest
from vidro.model.trace import Trace
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer

LENS_TOP = 10
MOST_MAPS = 192  # layers × heads; of larger models, evenly spaced layers are kept


def is_probe_step(step: int) -> bool:
    """Whether a model is probed after this many steps: 0 and the powers of √2, rounded.

    They are evenly spaced to the eye of a logarithmic axis and need no plan: about 2 for each doubling, 30 within
    20,000 steps, for runs whose length is not known before too.

    >>> [step for step in range(100) if is_probe_step(step)]
    [0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91]
    """
    return step <= 1 or round(2 ** (round(2 * math.log2(step)) / 2)) == step


class ProbeRecorder:
    """Chooses the sentences once and records them whenever asked; does nothing where there are no sentences.

    `texts` are the validation texts. The directory is made with the first record.
    """

    def __init__(self, directory: Path, tokenizer: Tokenizer, texts: Sequence[str], *, context_length: int) -> None:
        self.directory = directory
        self.sentences = choose_sentences(texts, tokenizer, context_length=context_length)
        self._tokenizer = tokenizer

    def due(self, step: int) -> bool:
        """Whether this step is one to record (record the last one too)."""
        return bool(self.sentences) and is_probe_step(step)

    def record(self, model: Transformer, step: int) -> None:
        """Write the record of this step; again, with the same weights, the same bytes.

        Raises RunError when the directory holds probes of other sentences or another model.
        """
        if not self.sentences:
            return
        layers = kept_layers(model.config.n_layers, model.config.n_heads)
        write_header(self.directory, self._header(model, layers))
        write_record(self.directory, step, probe(model, self.sentences, layers=layers))

    def drop_after(self, step: int) -> None:
        """Remove the records past `step`: a resumed run goes on from there."""
        drop_after(self.directory, step)

    def _header(self, model: Transformer, layers: list[int]) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "tokenizer": self._tokenizer.fingerprint,
            "family": model.config.family,
            "n_layers": model.config.n_layers,
            "n_heads": model.config.n_heads,
            "vocab_size": model.config.vocab_size,
            "attention_layers": layers,
            "sentences": [
                {"text": sentence.text, "ids": list(sentence.ids), "tokens": list(sentence.tokens)}
                for sentence in self.sentences
            ],
        }


def kept_layers(n_layers: int, n_heads: int) -> list[int]:
    """Layers whose attention is kept, counted from 0: all of them up to 192 maps, else evenly spaced with both ends."""
    room = max(1, MOST_MAPS // n_heads)
    if n_layers <= room:
        return list(range(n_layers))
    if room == 1:
        return [n_layers - 1]
    return [round(place) for place in np.linspace(0, n_layers - 1, room).tolist()]


def probe(model: Transformer, sentences: Sequence[Sentence], *, layers: Sequence[int]) -> dict[str, NDArray[Any]]:
    """The arrays of one record (`docs/formats.md`); places past a sentence's end hold 0, -1 or NaN."""
    lengths = [len(sentence.ids) for sentence in sentences]
    ids, real = _side_by_side(sentences, max(lengths), model.head.weight.device)
    targets = torch.where(real.roll(-1, 1), ids.roll(-1, 1), -1)
    targets[:, -1] = -1
    trace = Trace()
    with at_rest(model):
        model.hidden(ids, trace=trace)
        lens = [_lens(model, stage, real, targets) for stage in _stages(trace)]
        attention = torch.stack([trace.attention[layer] for layer in layers], dim=1)
    arrays = {name: np.stack([part[name] for part in lens], axis=1) for name in lens[0]}
    losses = np.full(ids.shape, np.nan, dtype=np.float32)
    losses[:, 1:] = -lens[-1]["lens_target_logprobs"][:, :-1]
    shares = attention.float() * real[:, None, None, :, None]
    arrays["attention"] = (255 * shares).round().to(torch.uint8).cpu().numpy()
    arrays["token_loss_nats"] = losses
    for name in ("lens_logprobs", "lens_target_logprobs"):
        arrays[name] = arrays[name].astype(np.float16)
    return arrays


def _lens(
    model: Transformer, stage: Float[Tensor, "P T D"], real: Tensor, targets: Int[Tensor, "P T"]
) -> dict[str, NDArray[Any]]:
    """What the head would say if the model ended at this stage: the likeliest tokens, and the true next one."""
    log_p = torch.log_softmax(model.head(model.final_norm(stage)).float(), dim=-1)
    best = log_p.topk(min(LENS_TOP, log_p.shape[-1]), dim=-1)
    wanted = log_p.gather(-1, targets.clamp(min=0)[..., None])
    rank = (log_p > wanted).sum(dim=-1)
    known = targets >= 0
    return {
        "lens_ids": best.indices.masked_fill(~real[..., None], -1).int().cpu().numpy(),
        "lens_logprobs": best.values.masked_fill(~real[..., None], math.nan).cpu().numpy(),
        "lens_target_logprobs": wanted[..., 0].masked_fill(~known, math.nan).cpu().numpy(),
        "lens_target_ranks": rank.masked_fill(~known, -1).int().cpu().numpy(),
    }


def _stages(trace: Trace) -> list[Float[Tensor, "P T D"]]:
    """The residual before the first block and after each."""
    assert trace.token_embedding is not None
    first = trace.token_embedding
    return [first if trace.position_embedding is None else first + trace.position_embedding, *trace.residual]


def _side_by_side(sentences: Sequence[Sentence], length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids [P, T], padded on the right with 0, and which places are real [P, T]."""
    ids = torch.zeros(len(sentences), length, dtype=torch.long)
    real = torch.zeros(len(sentences), length, dtype=torch.bool)
    for row, sentence in enumerate(sentences):
        ids[row, : len(sentence.ids)] = torch.tensor(sentence.ids)
        real[row, : len(sentence.ids)] = True
    return ids.to(device), real.to(device)
