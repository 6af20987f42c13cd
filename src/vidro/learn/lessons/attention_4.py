# %% [markdown]
# # Several heads
#
# A token in `vidro learn attention-3` has one set of shares, so it can ask one question. Ask for two things and you get
# half of each, mixed, with no way to tell which was which.
#
# The way out is to have several small attentions side by side. Each is called a *head*, has matrices of its own, and
# hands over a few numbers. Joined, they are as wide as before (Vaswani et al. 2017).

# %%
import torch
from torch import nn

from vidro.learn.attention_4 import MultiHeadAttention, StackedHeads
from vidro.learn.figures import curves, heat

dice = torch.Generator().manual_seed(0)


def boxes(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Questions [count, 4, 10] and their answers [count, 2].

    Three boxes in a random order, each with a colour (numbers 1 to 3) and something in it (number 10); then a question
    that names two different colours (numbers 4 to 6 and 7 to 9). The answer: what is in the first, and in the second.
    """
    order = torch.rand(count, 3, generator=dice).argsort(dim=1)
    inside = torch.randn(count, 3, generator=dice)  # of the red, the green and the blue box
    asked = torch.rand(count, 3, generator=dice).argsort(dim=1)[:, :2]
    colours = torch.eye(3)
    x = torch.zeros(count, 4, 10)
    x[:, :3, :3] = colours[order]
    x[:, :3, 9] = inside.gather(1, order)
    x[:, 3, 3:6], x[:, 3, 6:9] = colours[asked[:, 0]], colours[asked[:, 1]]
    return x, inside.gather(1, asked)


x, answers = boxes(1)
print("x", list(x.shape), "= 1 text of 4 tokens, 10 numbers each")
print("answers", list(answers.shape))

# %% [markdown]
# ## One head, two heads
#
# Three boxes, and a question about two of them. Both models below have the same number of weights; they differ in
# how the width of 8 is used: as one head of 8, or as two heads of 4. A last matrix reads the answers off the question's
# token.


# %%
def trained(n_heads: int, steps: int = 300) -> tuple[MultiHeadAttention, list[float]]:
    """Attention that learned to answer, and its errors on the way."""
    torch.manual_seed(1)
    attention = MultiHeadAttention(d_in=10, d_out=8, context_length=4, n_heads=n_heads, dropout=0.0)
    read = nn.Linear(8, 2)
    optimizer = torch.optim.Adam([*attention.parameters(), *read.parameters()], lr=0.03)
    errors = []
    for _ in range(steps):
        x, answers = boxes(64)
        error = (read(attention(x)[:, -1]) - answers).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        attention.W_key.weight.data[:, 9] = 0.0  # a box is found by its colour, not by what is in it
        errors.append(error.item())
    return attention, errors


models = {"one head": trained(1), "two heads": trained(2)}
for name, (attention, errors) in models.items():
    n_weights = sum(weights.numel() for weights in attention.parameters())
    print(f"{name}, {n_weights} weights: error {sum(errors[-100:]) / 100:.1f} in the last 100 steps")
smooth = {
    name: (range(0, 300, 10), [sum(errors[at : at + 10]) / 10 for at in range(0, 300, 10)])
    for name, (_, errors) in models.items()
}
curves(smooth, x="step", y="mean squared error", title="One head cannot ask two questions")

# %% [markdown]
# The single head stays at `0.5`, and that is no lack of training. Its one set of shares can go to one box: then it has
# one answer, and for the other it can only guess the mean, which is wrong by 1 in the mean square. Or it goes to both:
# then all it has is a sum, and a sum does not say which part is which. Either way the two errors have the mean one
# half. Two heads get to `0.0`.
#
# ## What each head looks at
#
# A question about red and blue, to see the shares of its token. The boxes stand in the order green, red, blue.

# %%
one = torch.zeros(1, 4, 10)
one[0, 0, 1] = one[0, 1, 0] = one[0, 2, 2] = 1.0
one[0, :3, 9] = torch.tensor([0.5, -1.0, 2.0])
one[0, 3, 3] = one[0, 3, 8] = 1.0  # first: red, second: blue
looks = {}
for name, (attention, _) in models.items():
    query, key = attention.split(attention.W_query(one)), attention.split(attention.W_key(one))
    print(f"{name}: query {list(query.shape)} = [text, head, token, width of a head]")
    shares = (query @ key.transpose(-1, -2) / key.shape[-1] ** 0.5).softmax(dim=-1)[0, :, -1]  # of the question
    looks |= {f"{name}: {number + 1}": row for number, row in enumerate(shares.tolist())}
heat(
    list(looks.values()),
    rows=list(looks),
    columns=["green", "red", "blue", "question"],
    title="Where the question looks, head by head",
)

# %% [markdown]
# One head has to choose between red and blue, or to look at both at once. Of two heads, each found a colour of its own
# to look for, and nobody told them which.
#
# ## The same, faster
#
# `StackedHeads` is a list of attentions of the rung before: clear, and slow, because a computer likes few large
# products better than many small ones. `MultiHeadAttention` puts the heads' matrices on top of each other, multiplies
# once, and cuts the result into heads. Cutting is free: the numbers stay where they are and are counted differently.

# %%
torch.manual_seed(2)
stacked = StackedHeads(d_in=3, d_out=4, context_length=5, n_heads=2, dropout=0.0)
joined = MultiHeadAttention.from_stacked(stacked)
print("one head's query matrix", list(stacked.get_parameter("heads.0.W_query.weight").shape))
print("both, on top of each other", list(joined.W_query.weight.shape))
text = torch.randn(1, 5, 3)
wide = joined.W_query(text)
print("all queries", list(wide.shape))
print("cut into heads", list(wide.unflatten(-1, (2, 2)).shape), "and moved", list(joined.split(wide).shape))
difference = (joined(text) - stacked(text)).abs().max().item()
print(f"largest difference between the two: {difference:.6f}")

# %% [markdown]
# The order of the two steps matters. First cut the *width* into heads, `[1, 5, 2, 2]`, then move the heads to where the
# texts are, `[1, 2, 5, 2]`. Whoever cuts to the last shape directly mixes tokens with heads, and gets no error message.
#
# At the end `out_proj` mixes what the heads brought. Heads do not wait for each other, so more of them can be computed
# at once on more hardware. GPT-2's smallest model has 12 of width 64 in each of its 12 layers (Radford et al. 2019).
#
# ## Try
#
# Put `"eight heads": trained(8)` beside the others in `models`, heads of width 1. It learns the task too. Now there are
# more heads than questions: what do they look at? More heads cost no weights, and help only where there is more to ask.
#
# Then write it yourself: `vidro learn stub attention-4 > mine.py`, and `vidro learn check attention-4 mine.py`.
#
# ## Next
#
# Does a head know in what order the earlier tokens came? It does not. `vidro learn attention-5` is about that, and
# about what else has changed since.
