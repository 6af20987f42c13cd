"""Feed-forward: what one token makes of what it has collected. A memory of keys that fire and values that are added.

Attention only mixes: what comes out is made of values that were there. Here each token, alone, is compared with many
stored patterns, and where one fits, something new is added to it. Written as two matrices with a bend (GELU) between,
it is `down(gelu(up(x)))`. Written as a memory (Geva et al. 2021) it is the same thing:

* row i of `up` is a *key*: key · x + bias says how well the pattern is there, and GELU makes it a firing strength, next
  to nothing where it is not;
* column i of `down` is a *value*: what neuron i adds, times the strength with which it fires.

`write_fact` puts a fact into one neuron by hand. Training finds its own keys and values, several facts to a neuron.
`FeedForward` computes what `vidro.model.feedforward` computes for gpt2 (tested with the same weights); that file also
has SwiGLU, where a second matrix opens and closes each neuron.

What is missing: many such layers on top of each other do not learn. Next rung: `shortcuts`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float
from vidro.learn.gelu import gelu_by_tanh


class FeedForward(nn.Module):
    """Each token by itself: width D → F neurons → D; F is 4 · D where nothing is said.

    >>> layer = FeedForward(d_model=3)
    >>> layer.fires(torch.zeros(1, 5, 3)).shape
    torch.Size([1, 5, 12])
    >>> sum(weights.numel() for weights in layer.parameters())  # 3 · 12 + 12, and 12 · 3 + 3
    87
    """

    def __init__(self, d_model: int, d_ff: int | None = None) -> None:
        super().__init__()
        self.up = nn.Linear(d_model, 4 * d_model if d_ff is None else d_ff)
        self.down = nn.Linear(self.up.out_features, d_model)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """What is to be added to each token."""
        return self.down(self.fires(x))

    def fires(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B F"]:
        """How strongly each neuron fires, by GPT-2's form of GELU."""
        return gelu_by_tanh(self.up(x))


def as_memory(layer: FeedForward, x: Float[Tensor, "D"]) -> Float[Tensor, "D"]:
    """The layer's answer for one token, neuron by neuron: the sum of strength · value.

    >>> layer, x = FeedForward(d_model=3), torch.tensor([1.0, -2.0, 0.5])
    >>> bool(torch.allclose(as_memory(layer, x), layer(x), atol=1e-6))
    True
    """
    keys, values = layer.up.weight, layer.down.weight.T  # [F, D] both: one row per neuron
    added = layer.down.bias.clone()
    for key, bias, value in zip(keys, layer.up.bias, values, strict=True):
        strength = gelu_by_tanh(key @ x + bias)
        added = added + strength * value
    return added


@torch.no_grad()
def write_fact(
    layer: FeedForward, neuron: int, pattern: Float[Tensor, "D"], answer: Float[Tensor, "D"], *, loudness: float = 4.0
) -> None:
    """Make one neuron add `answer` where the token is `pattern`, and next to nothing where no more than half of it is.

    The key is the pattern, scaled so that the whole of it scores 2 · loudness; the bias takes off loudness. So the
    whole pattern gives +loudness, half of it 0, none of it -loudness, which GELU turns into about 4, 0 and 0.

    >>> layer = empty_layer(d_model=3, d_ff=1)
    >>> pattern, answer = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 5.0])
    >>> write_fact(layer, 0, pattern, answer)
    >>> for token in ([1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]):
    ...     print([round(number, 2) + 0.0 for number in layer(torch.tensor(token)).tolist()])
    [0.0, 0.0, 5.0]
    [0.0, 0.0, 0.0]
    [0.0, 0.0, 0.0]
    """
    layer.up.weight[neuron] = 2 * loudness * pattern / (pattern @ pattern)
    layer.up.bias[neuron] = -loudness
    strength = gelu_by_tanh(torch.tensor(loudness))
    layer.down.weight[:, neuron] = answer / strength


@torch.no_grad()
def empty_layer(d_model: int, d_ff: int) -> FeedForward:
    """A layer that knows nothing: all weights 0, so it adds 0 to every token."""
    layer = FeedForward(d_model, d_ff)
    for weights in layer.parameters():
        weights.zero_()
    return layer
