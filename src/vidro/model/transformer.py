"""The model: ids in, one score (logit) for every possible next token out.

    ids ─ embedding (+ position, gpt2) ─ block 1 ─ … ─ block L ─ norm ─ head ─ logits

    block:   x ─┬─ norm ─ attention ──── + ─┬─ norm ─ feed-forward ─ + ─ x
                └───────────────────────┘   └───────────────────────┘

The line that runs through is the residual: each block reads it and adds to it. One class makes three families, known
to Transformers and llama.cpp (design: `vidro.config.schema.ModelConfig`):

    gpt2    LayerNorm, learned positions, GELU, biases            Radford et al. 2019
    llama   RMSNorm, rotary positions, SwiGLU, grouped heads      Touvron et al. 2023, Dubey et al. 2024
    qwen3   llama with each query and key normalised (QK-norm)    Yang et al. 2025; what new models are here

Dropout, where asked for: on embeddings and on what each sub-layer adds; gpt2 also on attention's shares.
Not here: text (`vidro.text`), the loss (`loss`), weights before training (`init`). Next: `loss`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vidro.config.schema import ModelConfig
from vidro.core.errors import ModelError
from vidro.core.shapes import Bool, Float, Int
from vidro.model.attention import Attention, mask_of_pieces
from vidro.model.cache import KVCache
from vidro.model.feedforward import FeedForward
from vidro.model.init import Embedding, Linear, initialise
from vidro.model.norm import make_norm
from vidro.model.positions import places_in_pieces, rotary_tables
from vidro.model.trace import Trace

Rotary = tuple[Float[Tensor, "#B T 1 E"], Float[Tensor, "#B T 1 E"]]


class Block(nn.Module):
    """Attention, then feed-forward; each reads a normalised copy of the residual and adds to it."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.norm_1 = make_norm(config, config.d_model)
        self.attention = Attention(config, layer)
        self.norm_2 = make_norm(config, config.d_model)
        self.feedforward = FeedForward(config)
        self.dropout = config.dropout

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        rotary: Rotary | None = None,
        *,
        mask: Bool[Tensor, "B 1 T S"] | None = None,
        cache: KVCache | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "B T D"]:
        """The residual after this block."""
        added = self.attention(self.norm_1(x), rotary, mask=mask, cache=cache, trace=trace)
        x = x + F.dropout(added, self.dropout, self.training)
        return x + F.dropout(self.feedforward(self.norm_2(x)), self.dropout, self.training)


class Transformer(nn.Module):
    """A language model of any of the three families, or with `config.labels` a classifier (`heads`).

    Built with the weights of `initialise(model, seed=0)`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        learned = config.family == "gpt2"
        self.token_embedding = Embedding(config.vocab_size, config.d_model)
        self.position_embedding = Embedding(config.context_length, config.d_model) if learned else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.final_norm = make_norm(config, config.d_model)
        self.head = Linear(config.d_model, len(config.labels) or config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.token_embedding.weight
        self.cos: Tensor | None
        self.sin: Tensor | None
        cos, sin = (None, None) if learned else rotary_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        if not self.head.weight.is_meta:
            initialise(self, seed=0)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        *,
        cache: KVCache | None = None,
        positions: Int[Tensor, "B T"] | None = None,
        pieces: Int[Tensor, "B T"] | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Logits of the token that follows each token; of a classifier, [B, T, classes], of the text up to there.

        With `cache`, the ids continue its rows: call `cache.advance` afterwards. `positions` replaces the places
        0, 1, 2 … (what may be looked at stays the same). `pieces` numbers the texts that share a row: neighbours
        with the same number are one text, computed as if it stood alone. Raises ModelError when the context is too
        short, and for pieces beside a cache or positions.
        """
        return self.head(self.hidden(ids, cache=cache, positions=positions, pieces=pieces, trace=trace))

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        *,
        cache: KVCache | None = None,
        positions: Int[Tensor, "B T"] | None = None,
        pieces: Int[Tensor, "B T"] | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "B T D"]:
        """The vectors that the head multiplies: after the last block and the final norm."""
        mask = None if cache is None else cache.mask(ids.shape[1])
        if pieces is not None:
            if cache is not None or positions is not None:
                raise ModelError("packed rows have places of their own", hint="Give no cache and no positions.")
            positions, mask = places_in_pieces(pieces), mask_of_pieces(pieces)
        where = self._places(ids, cache, positions)
        x = self._embed(ids, where, trace)
        rotary = self._rotary(where)
        for block in self.blocks:
            x = block(x, rotary, mask=mask, cache=cache, trace=trace)
            if trace is not None:
                trace.residual.append(x)
        x = self.final_norm(x)
        if trace is not None:
            trace.final = x
        return x

    def _embed(self, ids: Tensor, where: Tensor | slice, trace: Trace | None) -> Float[Tensor, "B T D"]:
        x = self.token_embedding(ids)
        if trace is not None:
            trace.token_embedding = x
        if self.position_embedding is not None:
            place = self.position_embedding.weight[where]
            if trace is not None:
                trace.position_embedding = place if place.dim() == 3 else place[None]
            x = x + place
        return F.dropout(x, self.config.dropout, self.training)

    def _rotary(self, where: Tensor | slice) -> Rotary | None:
        if self.cos is None or self.sin is None:
            return None
        cos, sin = self.cos[where], self.sin[where]
        return (cos[None, :, None], sin[None, :, None]) if cos.dim() == 2 else (cos[:, :, None], sin[:, :, None])

    def _places(self, ids: Tensor, cache: KVCache | None, positions: Tensor | None) -> Tensor | slice:
        """Where the tokens stand: a slice of the tables when all rows agree, else one index per token."""
        count, limit = ids.shape[1], self.config.context_length
        start = 0 if cache is None else cache.common_length
        longest = count if cache is None else max(cache.held) + count
        if start is not None and longest > limit:
            raise ModelError(
                f"{longest} tokens are more than the model's context of {limit}",
                hint="Give fewer tokens, or choose a model with a longer context.",
            )
        if positions is not None:
            return positions
        if start is not None:
            return slice(start, start + count)
        assert cache is not None
        return cache.positions(count).clamp(max=limit - 1)  # only padding can stand past the end
