# %% [markdown]
# # Layer normalisation
#
# A neuron (`vidro learn neuron`) multiplies and adds, and nothing says how large the result may be. In one layer that
# is no trouble. In twenty, one on top of another, it is.

# %%
import torch

from vidro.learn.figures import curves, heat
from vidro.learn.layer_norm import LayerNorm, RMSNorm, normalised


def rounded(values: torch.Tensor) -> str:
    """Some numbers with two digits each."""
    return "  ".join(f"{value:5.2f}" for value in values.tolist())


# %% [markdown]
# ## Twenty layers
#
# We send a token of 64 numbers through twenty layers of random weights and look at the size of its numbers (the root
# of their mean square). In one stack each layer makes them about half as large, in the other twice as large.


# %%
def sizes(strength: float, *, norm: bool) -> list[float]:
    """The size of a token's numbers after each of twenty layers."""
    dice = torch.Generator().manual_seed(0)
    x = torch.randn(64, generator=dice)
    seen = []
    for _ in range(20):
        weights = torch.randn(64, 64, generator=dice) * strength / 8  # 8 = √64
        x = (weights @ (normalised(x) if norm else x)).relu()
        seen.append(x.square().mean().sqrt().item())
    return seen


layers = list(range(1, 21))
small, large, kept = sizes(0.7, norm=False), sizes(3.0, norm=False), sizes(3.0, norm=True)
print(f"each layer halves:      after 20 layers {small[-1]:.0e}")
print(f"each layer doubles:     after 20 layers {large[-1]:.0e}")
print(f"doubles, but with norm: after 20 layers {kept[-1]:.0f}")

# %%
logs = {
    name: (layers, torch.tensor(values).log10())
    for name, values in (
        ("each halves", small),
        ("each doubles", large),
        ("each doubles, normalised before each", kept),
    )
}
curves(logs, x="layer", y="size, in powers of ten", title="What twenty layers do to the size of the numbers")

# %% [markdown]
# A factor of two in each layer is a factor of a million in the end (6 in the figure: a one with six zeros). The
# gradients, which go the same way back, suffer as much. *Layer normalisation* (Ba, Kiros and Hinton 2016) brings every
# token to the same size before each layer, whatever came before.
#
# ## By hand
#
# One token of four numbers. First the mean, then how far the numbers lie from it: the *variance* is the mean of the
# squared distances, and its root is the *spread*.

# %%
token = torch.tensor([2.0, 4.0, 6.0, 8.0])
mean = token.mean()
variance = ((token - mean) ** 2).mean()
print("mean", mean.item(), " distances", (token - mean).tolist())
print("variance", variance.item(), f" spread {variance.sqrt().item():.2f}")
result = (token - mean) / variance.sqrt()
print("result:", rounded(result))

# %% [markdown]
# Mean 0 and spread 1. A token that was ten times as large, and moved up by 100, becomes the very same:

# %%
print("result:", rounded(normalised(10 * token + 100)))

# %% [markdown]
# ## Each token alone
#
# Rows of a batch do not mix: along each row, never down a column. The three tokens below are of very different size.

# %%
x = torch.tensor([[1.0, 2.0, 3.0, 6.0], [100.0, 0.0, 0.0, 0.0], [-0.1, 0.0, 0.1, 0.2]])
heat(x, rows=["first", "second", "third"], digits=1, title="Before")

# %%
norm = LayerNorm(d_model=4)
heat(norm(x), rows=["first", "second", "third"], digits=1, title="After: one size, each its own pattern")

# %% [markdown]
# Because a token needs only itself, it makes no difference which others are computed beside it, nor how many, nor
# whether the model is training. (Batch normalisation, an older relative, mixes the rows, and must treat the two
# apart.)
#
# ## Two details that are easy to get wrong
#
# *Divide by D.* Torch's `var` divides by D − 1 unless told otherwise, as statisticians do who guess from a sample.
# Here the four numbers are all there is. With 768 numbers the difference is tiny, but a model that was trained with
# one gives slightly other results with the other.

# %%
print("divided by D:    ", token.var(correction=0).item())
print("divided by D − 1:", f"{token.var().item():.2f}")

# %% [markdown]
# *Eps.* A token of four equal numbers has variance 0, and 0 / 0 is not a number (`nan`). So a tiny number is added to
# the variance, under the root.

# %%
flat = torch.full((4,), 3.0)
print("without eps:", rounded(normalised(flat, eps=0.0)))
print("with eps:   ", rounded(normalised(flat)))

# %% [markdown]
# ## Scale and shift
#
# Perhaps a later layer would like its third column larger. So each column has two learned numbers: it is multiplied by
# its *scale* and moved by its *shift*. They begin as 1 and 0, that is, as if they were not there.

# %%
print("scale", norm.scale.tolist(), " shift", norm.shift.tolist())
with torch.no_grad():
    norm.scale[2] = 3.0
    norm.shift[0] = 1.0
print("before:", rounded(result))
print("after: ", rounded(norm(token)))

# %% [markdown]
# ## Without the mean
#
# The mean need not go. RMSNorm (Zhang and Sennrich 2019) divides by the root of the mean square and is done. Llama,
# Qwen and the models that `vidro pretrain` makes use it: fewer steps, and nothing was found to be lost.

# %%
print("LayerNorm:", rounded(LayerNorm(d_model=4)(token)))
print("RMSNorm:  ", rounded(RMSNorm(d_model=4)(token)))

# %% [markdown]
# GPT-2 and nearly all models since normalise *before* attention and before the feed-forward, and once more at the end.
# The first transformer did it after, and was harder to train (Xiong et al. 2020).
#
# ## Try
#
# Give `sizes` a strength of 1.41, which is √2. Relu throws away half of the square, √2 brings it back, and the size
# hardly changes even without a norm (He et al. 2015). A good beginning helps; but training moves the weights.
#
# Then write it yourself: `vidro learn stub layer-norm > mine.py`, and `vidro learn check layer-norm mine.py`.
#
# ## Next
#
# The neuron's bend was the simplest that there is, and it can kill a neuron. `vidro learn gelu` bends softly.
