# %% [markdown]
# # GELU
#
# The bend of `vidro learn neuron` was relu: below 0 it says 0. It is cheap, and it has a fault. Left of 0 it is flat,
# and a neuron learns by slopes.

# %%
import torch

from vidro.learn.figures import curves
from vidro.learn.gelu import gelu, gelu_by_tanh, relu, share_below, silu

# %% [markdown]
# ## A neuron that cannot learn
#
# One weight, one bias. Inputs from −1 to 1; it should learn to pass on what is above 0. But it has an unlucky start:
# with weight 1 and bias −1.1 every sum lies below 0.

# %%
inputs = torch.linspace(-1.0, 1.0, 21)
wanted = relu(inputs)


def learn(bend, start: float) -> list[float]:
    """The error after each of 100 steps, for a neuron with this bend and this bias at the start."""
    weight, bias = torch.tensor(1.0, requires_grad=True), torch.tensor(start, requires_grad=True)
    errors = []
    for _ in range(101):
        error = ((bend(inputs * weight + bias) - wanted) ** 2).mean()
        errors.append(error.item())
        for parameter, gradient in zip((weight, bias), torch.autograd.grad(error, (weight, bias)), strict=True):
            parameter.data -= 0.5 * gradient
    return errors


with_relu, with_gelu = learn(relu, -1.1), learn(gelu, -1.1)
for step in (0, 10, 100):
    print(f"step {step:3}: relu {with_relu[step]:.2f}, gelu {with_gelu[step]:.2f}")
curves({"relu": (range(101), with_relu), "gelu": (range(101), with_gelu)}, x="step", y="error",
       title="One neuron with an unlucky start")  # fmt: skip

# %% [markdown]
# With relu nothing moves: every answer is 0, the slope is 0 everywhere, and so is every gradient. The neuron is
# *dead*. With GELU the same neuron recovers in ten steps.
#
# ## What GELU does
#
# It asks how x compares with others. Take the bell curve: random numbers with mean 0 and spread 1. GELU multiplies x
# by the chance that such a number lies below x (Hendrycks and Gimpel 2016). We can throw dice:

# %%
dice = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
for value in (-2.0, -1.0, 0.0, 1.0, 2.0):
    below = (dice < value).float().mean().item()
    exact = gelu(torch.tensor(value)).item()
    print(
        f"x = {value:4}: {100 * below:2.0f} of 100 lie below it; x times that {value * below:5.2f}, gelu {exact:5.2f}"
    )

# %% [markdown]
# At 2 nearly all lie below, and x passes almost whole. At −2 nearly none do, and little is left. Where relu decides by
# the sign alone, GELU weighs. (The third curve below, silu, comes at the end.)

# %%
x = torch.linspace(-4.0, 3.0, 141)
curves({"relu": (x, relu(x)), "gelu": (x, gelu(x)), "silu": (x, silu(x))}, x="x", y="bend of x",
       title="Three bends")  # fmt: skip

# %% [markdown]
# GELU dips a little below 0 and comes back. Where is it lowest?

# %%
fine = torch.linspace(-2.0, 0.0, 20_001)
lowest = gelu(fine).argmin()
print(f"lowest at x = {fine[lowest].item():.2f}: {gelu(fine)[lowest].item():.2f}")

# %% [markdown]
# ## Slopes
#
# What counts for learning is the slope. Torch knows it by itself: it is the gradient.

# %%
slopes = {}
for name, bend in (("relu", relu), ("gelu", gelu), ("silu", silu)):
    asked = x.clone().requires_grad_()
    bend(asked).sum().backward()
    slopes[name] = (x, asked.grad)
curves(slopes, x="x", y="slope", title="The slope of each bend: relu has none on the left")

# %% [markdown]
# Now be fair. Left of its lowest point, at `-0.75`, GELU's slope is negative: a neuron there that should say more is
# first pushed further away. And far to the left there is next to no slope. GELU saves neurons with a bad start, not
# with a terrible one:

# %%
starts = [-0.8, -1.0, -1.2, -1.4, -1.6, -1.8, -2.0]
last = {name: [learn(bend, start)[-1] for start in starts] for name, bend in (("relu", relu), ("gelu", gelu))}
for start, by_relu, by_gelu in zip(starts, last["relu"], last["gelu"], strict=True):
    print(f"bias {start}: error after 100 steps {by_relu:.2f} with relu, {by_gelu:.2f} with gelu")

# %% [markdown]
# (Above a bias of −1 some sums are positive. There relu learns as well, even better: what we want here is relu
# itself.)
#
# ## Two formulas
#
# The chance needs a function called erf. The authors also gave an approximation with tanh, and GPT-2 was trained with
# that one. Whoever loads GPT-2's weights must use it too; Vidro's `gpt2` family does.

# %%
wide = torch.linspace(-6.0, 6.0, 12_001)
distance = (gelu_by_tanh(wide) - gelu(wide)).abs().max().item()
print("chance below 1:", f"{share_below(torch.tensor(1.0)).item():.4f}")
print("gelu of 1 by erf: ", f"{gelu(torch.tensor(1.0)).item():.4f}")
print("gelu of 1 by tanh:", f"{gelu_by_tanh(torch.tensor(1.0)).item():.4f}")
print(f"largest difference between the two: {distance:.4f}")

# %% [markdown]
# The green curve, SiLU, is a sister: x times 1 / (1 + e to the power of −x). Llama, Qwen and the models that
# `vidro pretrain` makes bend with it. Shazeer (2020) compared such bends, and says openly that he cannot explain why
# some do better.
#
# ## Try
#
# Change the step of 0.5 in `learn` to 4. Now no neuron learns, whatever its start: the first step throws it so far to
# the left that there is no slope to come back by. Steps that are too large kill neurons with GELU too.
#
# Then write it yourself: `vidro learn stub gelu > mine.py`, and `vidro learn check gelu mine.py`.
#
# ## Next
#
# Two layers of neurons with this bend between them hold two thirds of the weights of each block of GPT-2.
# `vidro learn feed-forward` shows what they keep there.
