"""Block and model: the rungs so far, put together to a GPT. Ids in, a score for every possible next token out.

    ids ─ token embedding + place embedding ─ block 1 ─ … ─ block L ─ norm ─ head ─ logits

    block:   x ─┬─ norm ─ attention ──── + ─┬─ norm ─ feed-forward ─ + ─ x
                └───────────────────────┘   └───────────────────────┘

Each block reads the line x, once with attention (tokens exchange) and once with feed-forward (each token thinks), and
adds what it finds. All blocks have one form, so a model grows by stacking more of them (Radford et al. 2019).

`GPT` computes what `vidro.model.transformer` computes for gpt2 (tested with the same weights). That file has one block
for three families, a cache, and a look inside; what it does not have either is any knowledge of text.

What is missing: the weights are random, and one row of scores is no text yet. Next rung: `generating`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float, Int
from vidro.learn.attention_4 import MultiHeadAttention
from vidro.learn.feed_forward import FeedForward
from vidro.learn.layer_norm import LayerNorm
from vidro.model.transformer import Transformer

THEIR_NAMES = {
    "q_proj": "W_query", "k_proj": "W_key", "v_proj": "W_value", "o_proj": "out_proj",
    "position_embedding": "place_embedding", "norm_1.weight": "norm_1.scale", "norm_1.bias": "norm_1.shift",
    "norm_2.weight": "norm_2.scale", "norm_2.bias": "norm_2.shift", "final_norm.weight": "final_norm.scale",
    "final_norm.bias": "final_norm.shift",
}  # fmt: skip
"""What production calls a part, and what it is called here."""


class Block(nn.Module):
    """Attention, then feed-forward; each reads a normed copy of x and adds to x.

    >>> block = Block(d_model=8, n_heads=2, context_length=5, dropout=0.0)
    >>> block(torch.randn(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, d_model: int, n_heads: int, context_length: int, dropout: float, *, bias: bool = False) -> None:
        super().__init__()
        self.norm_1 = LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, d_model, context_length, n_heads, dropout, bias=bias)
        self.norm_2 = LayerNorm(d_model)
        self.feedforward = FeedForward(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """The line after this block."""
        x = x + self.dropout(self.attention(self.norm_1(x)))
        return x + self.dropout(self.feedforward(self.norm_2(x)))


class GPT(nn.Module):
    """A language model: [B, T] ids → [B, T, V] logits; row t scores the token after t.

    `bias` gives query, key and value a bias, as in OpenAI's weights; `tied` uses the token embedding as the head too,
    so that a token is scored by how well the last vector fits its own row. A model as wide and deep as the smallest
    GPT-2, counted without making the numbers:

    >>> sizes = {"vocab_size": 50257, "context_length": 1024, "d_model": 768, "n_layers": 12, "n_heads": 12}
    >>> with torch.device("meta"):
    ...     book, openai = GPT(**sizes), GPT(**sizes, bias=True, tied=True)
    >>> n_parameters(book), n_parameters(openai)
    (163009536, 124439808)
    """

    def __init__(
        self,
        vocab_size: int,
        context_length: int,
        d_model: int,
        n_layers: int,
        n_heads: int,
        dropout: float = 0.0,
        *,
        bias: bool = False,
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, d_model)
        self.place_embedding = nn.Embedding(context_length, d_model)
        self.dropout = nn.Dropout(dropout)
        blocks = (Block(d_model, n_heads, context_length, dropout, bias=bias) for _ in range(n_layers))
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = LayerNorm(d_model)
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        if tied:
            self.head.weight = self.token_embedding.weight

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Look up, add the place, go through the blocks, norm, score.

        >>> model = GPT(vocab_size=50, context_length=6, d_model=8, n_layers=2, n_heads=2)
        >>> model(torch.tensor([[7, 1, 44, 7]])).shape
        torch.Size([1, 4, 50])
        """
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.dropout(self.token_embedding(ids) + self.place_embedding(places))
        for block in self.blocks:
            x = block(x)
        return self.head(self.final_norm(x))


def same_as(production: Transformer) -> GPT:
    """A `GPT` with the sizes and weights of a gpt2 model of production, which has other names for some of them."""
    c = production.config
    assert (c.family, c.d_ff) == ("gpt2", 4 * c.d_model), "GPT is of this form only"
    model = GPT(c.vocab_size, c.context_length, c.d_model, c.n_layers, c.n_heads, c.dropout, bias=True,
                tied=c.tie_embeddings)  # fmt: skip
    weights = production.state_dict()
    for theirs, ours in THEIR_NAMES.items():
        weights = {name.replace(theirs, ours): numbers for name, numbers in weights.items()}
    model.load_state_dict(weights)
    return model.train(production.training)


def n_parameters(module: nn.Module) -> int:
    """How many numbers it learns; a matrix that is used twice counts once.

    >>> n_parameters(nn.Linear(3, 2))  # 3 · 2 weights and 2 biases
    8
    """
    return sum(weights.numel() for weights in module.parameters())
