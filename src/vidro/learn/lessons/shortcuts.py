# %% [markdown]
# # Shortcuts
#
# `vidro learn feed-forward` had one layer. A good model has many, so that later ones can work on what earlier ones
# found. But put twenty on top of each other, and training does next to nothing to the first ones. Here is why, and the
# one plus sign that mends it (He et al. 2015).

# %%
import math

import torch
from torch import nn

from vidro.learn.figures import curves
from vidro.learn.shortcuts import DeepNetwork, gradient_sizes

# %% [markdown]
# ## A chain of small factors
#
# Training moves each weight a little, in the direction that makes the error smaller. How much the error answers when a
# weight is moved is called the weight's *gradient*. Where it is 0, there is nothing to go by.
#
# Take layers of one number: f(x) = s · x, where s is small. Move the input by 1. How much does the result of 20 layers
# move, if x becomes f(x) in each, and if it becomes x + f(x)?

# %%
for s in (0.5, 0.05):
    print(f"s = {s}: alone {s**20:.6f}, with shortcuts {(1 + s) ** 20:.2f}")

# %% [markdown]
# `0.000001` is a millionth, and the other chain passes on all of the move and more. With a shortcut each layer hands on
# what it was given and *adds* something: its factor is 1 and a bit, and the 1 is there whatever the layer does. The bit
# had better be small, though: with 0.5 it comes to `3325.26` in 20 layers, with 0.05 to `2.65`.
#
# ## Measured
#
# Now 20 real layers: 16 numbers in, 16 out, GELU behind each, random weights; and at the end, as in a GPT, a norm and a
# matrix that reads the answer off. The task is to give the 16 numbers back in reverse order. For each layer we ask how
# much the error answers to its weights, once without shortcuts and once with.

# %%
x = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
target = x.flip(1)


def network(*, shortcuts: bool) -> tuple[DeepNetwork, nn.Module]:
    """Twenty layers and what reads off the answer: the same random weights with shortcuts and without."""
    torch.manual_seed(1)
    return DeepNetwork([16] * 21, shortcuts=shortcuts), nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16))


def error(layers: nn.Module, read: nn.Module) -> torch.Tensor:
    """Mean squared distance to what is wanted."""
    return (read(layers(x)) - target).square().mean()


powers = {}
for name, shortcuts in (("without", False), ("with shortcuts", True)):
    layers, read = network(shortcuts=shortcuts)
    error(layers, read).backward()
    sizes = gradient_sizes(layers)
    powers[name] = (range(1, len(sizes) + 1), [math.log10(size) for size in sizes])
    print(f"{name:14}: first layer {sizes[0]:.0e}, last layer {sizes[-1]:.0e}")
curves(powers, x="layer", y="size of the gradient, as a power of 10", title="What arrives at each layer")

# %% [markdown]
# `e-02` stands for two digits behind the point, `e-12` for twelve. Read the lines from right to left, as the gradient
# travels: from the error back to the first layer. One unit downwards is ten times less. Without shortcuts something is
# lost at every layer, and the first one hears next to nothing. With shortcuts it hears about a tenth of what the last
# one hears.
#
# ## Does it learn?
#
# Both networks get the same 200 steps.

# %%
learned = {}
for name, shortcuts in (("without", False), ("with shortcuts", True)):
    layers, read = network(shortcuts=shortcuts)
    optimizer = torch.optim.Adam([*layers.parameters(), *read.parameters()], lr=0.003)
    errors = []
    for _ in range(200):
        wrong = error(layers, read)
        optimizer.zero_grad()
        wrong.backward()
        optimizer.step()
        errors.append(wrong.item())
    learned[name] = (range(200), errors)
    print(f"{name:14}: error {errors[0]:.1f} at first, {errors[-1]:.1f} after 200 steps")
curves(learned, x="step", y="mean squared error", title="The same layers, the same steps")

# %% [markdown]
# Without shortcuts it stays at `1.0`, which is what answering 0 everywhere would cost. Twenty layers, and nothing
# learned. With them the error falls to `0.1`.
#
# ## A line to read from and to write to
#
# There is another way to see it. With shortcuts the token travels along one line, and each layer reads it and adds to
# it (Elhage et al. 2021 call it the residual stream). Then no layer is indispensable. We take one out of the network
# that has learned, and look how much worse it becomes:

# %%
whole, every = error(layers, read).item(), list(layers.layers)
for place in (len(every) // 5, len(every) // 2, 4 * len(every) // 5):
    layers.layers = nn.ModuleList(every[:place] + every[place + 1 :])
    print(f"without layer {place + 1:2}: error {error(layers, read).item():.1f} instead of {whole:.1f}")

# %% [markdown]
# It becomes worse, and is still far better than `1.0`: the other layers' work is on the line. (Veit et al. 2016 did
# this with networks for pictures.) In a network without shortcuts, what one layer does not pass on is gone.
#
# One thing is to be watched. Everything that is added makes the numbers on the line larger:

# %%
line, lengths = x, []
for layer in network(shortcuts=True)[0].layers:
    line = line + nn.functional.gelu(layer(line))
    lengths.append(line.square().mean().sqrt().item())
print(f"size of the numbers after the first layer {lengths[0]:.0f}, after the last {lengths[-1]:.0f}")

# %% [markdown]
# That is why a block norms what it *reads* and leaves the line itself alone: `x + layer(norm(x))`. GPT-2 also starts
# the layers that write to the line with smaller weights, the smaller the more layers there are (Radford et al. 2019).
# In Vidro's own models they start at 0, so that at first every block hands its input on unchanged.
#
# ## Try
#
# In `network`, take 5 layers, `DeepNetwork([16] * 6, …)`, instead of 20. Both learn: few layers need no shortcut. From
# what depth on does the difference show?
#
# Then write it yourself: `vidro learn stub shortcuts > mine.py`, and `vidro learn check shortcuts mine.py`.
#
# ## Next
#
# Embedding, attention, norm, feed-forward, shortcut: all parts are there. `vidro learn block` puts them together.
