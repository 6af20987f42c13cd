# %% [markdown]
# # Attention that looks back only
#
# In `vidro learn attention-2` every token looked at every other, at those behind it and at those ahead. But a language
# model is trained to guess the next token. If it can look ahead, there is nothing to guess: it copies.
#
# So each token may look at itself and at what came before. This is called *causal* attention, and it is one line more.

# %%
import torch

from vidro.learn.attention_2 import SelfAttention
from vidro.learn.attention_3 import CausalAttention, masked_first, renormalised
from vidro.learn.figures import heat
from vidro.learn.terminal import grid

words = ["the", "cat", "sat", "down"]
x = torch.tensor([[1.0, 0.0, 0.2], [0.1, 1.0, 0.3], [0.0, 0.4, 1.0], [0.6, 0.1, 0.9]])
print("x", list(x.shape), "= 4 tokens of 3 numbers each")

# %% [markdown]
# ## The leak
#
# First the attention of the last lesson. We change nothing but the last word, and look at what the *first* word's
# result does.

# %%
torch.manual_seed(0)
attention = SelfAttention(d_in=3, d_out=2)
other_end = x.clone()
other_end[3] = torch.tensor([-1.0, 2.0, 0.0])
moved = (attention(other_end) - attention(x)).abs().amax(dim=1)
for word, distance in zip(words, moved.tolist(), strict=True):
    print(f"{word:5} moved by {distance:.3f}")

# %% [markdown]
# Every token moved, "the" as well: it knew the end of the sentence before the end was there.
#
# ## First way: take shares away, then share out anew
#
# Scores, softmax, then multiply by a triangle of ones. A row that lost shares no longer adds up to 1, so each row is
# divided by its sum. We take round scores to see it happen:

# %%
scores = torch.tensor([[1.0, 5.0, 2.0, 0.0], [0.0, 0.0, 9.0, 0.0], [0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 1.0, 0.0]])
shares = scores.softmax(dim=-1)
print(grid(shares, rows=words, columns=words))
triangle = torch.ones(4, 4).tril()
left = (shares * triangle).sum(dim=-1)
print("left of each row:", [f"{share:.2f}" for share in left.tolist()])
heat(renormalised(scores), rows=words, columns=words, title="Who looks at whom")

# %% [markdown]
# "the" had kept `0.02` of its attention for itself, and now has all of it. Row by row there is one more token to look
# at; above the diagonal there is nothing.
#
# ## Second way: no score, no share
#
# The same can be had in one step less. A score of −∞ becomes a share of exactly 0, because e to the power of −∞ is 0,
# and softmax divides by the sum of the rest all by itself.

# %%
hidden = scores.masked_fill(triangle == 0, -torch.inf)
print("scores of the first row:", hidden[0].tolist())
difference = (masked_first(scores) - renormalised(scores)).abs().max().item()
print(f"largest difference between the two ways: {difference:.6f}")
heat(hidden, rows=words, columns=words, digits=0, title="Scores before softmax")

# %% [markdown]
# Both ways give the same; that it must be so is shown in the docstring of `attention_3`. Real models take the second.
# The first can break: let "the" find a later word very interesting.

# %%
loud = torch.tensor([[0.0, 200.0], [0.0, 0.0]])
print("first way: ", renormalised(loud)[0].tolist())
print("second way:", masked_first(loud)[0].tolist())

# %% [markdown]
# In the first way the word's own share was rounded to 0 before the row was divided, and 0 / 0 is not a number (`nan`).
#
# ## The leak is closed
#
# The same weights as at the beginning, now in `CausalAttention`. We change the last word again.

# %%
causal = CausalAttention(d_in=3, d_out=2, context_length=4, dropout=0.0)
causal.load_state_dict(attention.state_dict())
moved = (causal(other_end) - causal(x)).abs().amax(dim=1)
for word, distance in zip(words, moved.tolist(), strict=True):
    print(f"{word:5} moved by {distance:.3f}")

# %% [markdown]
# Only the last token moved; the others by exactly `0.000`. This is also what makes training cheap. One pass over a text
# of 1,000 tokens asks 1,000 questions, each with its own past, and no question sees its answer.
#
# ## Dropout
#
# While training, some shares are set to 0 at random and the rest enlarged, so that no token leans on a single other.
# With a half dropped, what stays is doubled. In `eval()` nothing is dropped.

# %%
torch.manual_seed(1)
dropped = torch.nn.Dropout(0.5)(torch.full((4, 4), 0.25).tril())
heat(dropped, rows=words, columns=words, title="A quarter each, half of it dropped")

# %% [markdown]
# ## Try
#
# Change `.tril()` in `triangle` to `.tril(diagonal=-1)`, which hides the token itself too. Then nothing is left of the
# first row, and its scores are −∞ four times: "the" has nobody to look at, and softmax would have to divide 0 by 0.
# That is why the diagonal stays.
#
# Then write it yourself: `vidro learn stub attention-3 --out mine.py`, and `vidro learn check attention-3 mine.py`.
#
# ## Next
#
# A token has one set of shares, so it can ask one question. A verb would like to ask for its subject and for its time.
# `vidro learn attention-4` puts several of these side by side.
