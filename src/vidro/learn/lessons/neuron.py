# %% [markdown]
# # One neuron
#
# After `vidro learn embeddings` every token is a row of numbers, and nothing looks at it yet. The smallest thing that
# does is a *neuron*. It has a row of numbers of its own, the *weights*, and answers one question: how much of my
# pattern is in this?
#
# Everything that follows, attention too, is made of the sum that is shown here.

# %%
import torch

from vidro.learn.figures import heat
from vidro.learn.neuron import dot, either_but_not_both, neuron
from vidro.learn.terminal import grid

things = {
    "cat": [1.0, 0.8, 0.1],
    "elephant": [1.0, 0.0, 0.2],
    "pebble": [0.0, 0.9, 1.0],
    "rock": [0.0, 0.1, 1.0],
}
x = torch.tensor(list(things.values()))
print("x", list(x.shape), "= 4 things, 3 numbers each")
print(grid(x, rows=list(things), columns=["alive", "small", "hard"], digits=1))

# %% [markdown]
# (In a real model nobody knows what the columns mean. Here they have names, so that we can see what happens.)
#
# ## The dot product
#
# We want a neuron for small animals. It likes "alive" and "small" and dislikes "hard", so its weights are 1, 1 and −1.
# Each number is multiplied by its weight, and all is added up.

# %%
weights = [1.0, 1.0, -1.0]
for name, numbers in things.items():
    sums = " + ".join(f"{number} · {weight:g}" for number, weight in zip(numbers, weights, strict=True))
    print(f"{name:9} {sums} = {dot(numbers, weights):.1f}")

# %% [markdown]
# The cat has most, `1.7`. The sum is large where the numbers and the weights are large in the same places, and
# negative where they disagree. That is all that "looks for a pattern" means.
#
# ## Threshold and bend
#
# The elephant got `0.8`, and it is not small. A *bias* moves the threshold: we add −1 to every sum. And then comes the
# *bend*. What is below 0 becomes 0: a thing that is not there cannot be less than not there. This bend is called relu.

# %%
bias = -1.0
totals = [dot(numbers, weights) + bias for numbers in things.values()]
answers = [neuron(numbers, weights, bias) for numbers in things.values()]
for name, total, answer in zip(things, totals, answers, strict=True):
    print(f"{name:9} sum and bias {total:4.1f} → answer {answer:.1f}")
heat([totals, answers], rows=["sum and bias", "answer"], columns=list(things), digits=1, title="Only the cat is left")

# %% [markdown]
# ## Many neurons are a matrix
#
# Three neurons look at the same things. Their weights, one row below another, are a matrix `W`; all answers to all
# things are one product, `x @ W.T`. This is what a *layer* is, and why a graphics card is good at it.

# %%
W = torch.tensor([[1.0, 1.0, -1.0], [0.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
b = torch.tensor([-1.0, -0.5, 0.0])
answers = (x @ W.T + b).relu()
print("x", list(x.shape), "· W.T", list(W.T.shape), "→ answers", list(answers.shape))
heat(answers, rows=list(things), columns=["small animal", "stone", "large animal"], digits=1,
     title="Each column is a neuron")  # fmt: skip

# %% [markdown]
# ## What the bend is for
#
# Put two layers on top of each other without a bend, and you have one layer: the two matrices can be multiplied before
# any input comes.

# %%
first, second = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[3.0, -1.0], [1.0, 1.0]])
token = torch.tensor([1.0, 2.0])
print("layer by layer:", (second @ (first @ token)).tolist())
print("one matrix:    ", ((second @ first) @ token).tolist())

# %% [markdown]
# A hundred such layers could do no more than one. And one can do surprisingly little. Take "either, but not both": yes
# to (1, 0) and (0, 1), no to (0, 0) and (1, 1). To say more to (1, 0) than to (0, 0), a neuron's first weight must be
# positive; the same holds for the second; and then it says most of all to (1, 1). No weights help (Minsky and Papert
# 1969). With a bend, three neurons can do it:

# %%
rows, biases, last, last_bias = either_but_not_both()
for pair in ([0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]):
    hidden = [neuron(pair, row, row_bias) for row, row_bias in zip(rows, biases, strict=True)]
    print(pair, "→", hidden, "→", neuron(hidden, last, last_bias))

# %% [markdown]
# The first counts the ones, the second answers only to both, and the third takes the second away twice.
#
# ## Where the weights come from
#
# Nobody writes them. The neuron is shown things and what it should have said, and each weight is moved a little, so
# that the error gets smaller. Which way? The *gradient* says how the error grows with each weight, and we go the other
# way. Torch computes it.

# %%
wanted = torch.tensor([0.7, 0.0, 0.0, 0.0])  # the answers from above, as an example to learn from
learned, learned_bias = torch.tensor([0.1, 0.1, 0.1], requires_grad=True), torch.tensor(0.0, requires_grad=True)
for step in range(401):
    answer = (x @ learned + learned_bias).relu()
    error = ((answer - wanted) ** 2).sum()
    if step in (0, 400):
        print(f"step {step:3}: error {error.item():.2f}, answers {[f'{value:.1f}' for value in answer.tolist()]}")
    (gradient, bias_gradient) = torch.autograd.grad(error, [learned, learned_bias])
    if step == 0:
        print("the gradient of the first step:", [f"{value:.1f}" for value in gradient.tolist()])
    with torch.no_grad():
        learned -= 0.1 * gradient
        learned_bias -= 0.1 * bias_gradient
print("weights:", [f"{value:.1f}" for value in learned.tolist()])

# %% [markdown]
# It found weights of its own. They need not be ours: four examples leave room. What it shares with ours is that the
# cat is told from the rest.
#
# ## Try
#
# Set `learned` to `[-1.0, -1.0, -1.0]`. All sums are then below 0, every answer is 0, and so is the gradient: the
# neuron never moves again. It is *dead*. `vidro learn gelu` is about that.
#
# Then write it yourself: `vidro learn stub neuron > mine.py`, and `vidro learn check neuron mine.py`.
#
# ## Next
#
# A neuron compares a token with weights that are always the same. What if a token is compared with the *other tokens*?
# `vidro learn attention-1`.
