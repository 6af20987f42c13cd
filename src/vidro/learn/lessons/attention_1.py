# %% [markdown]
# # Attention by likeness
#
# An embedding gives each token its row of numbers, and always the same row. "bank" is one row beside "river", and the
# same beside "money". It knows nothing of its neighbours.
#
# *Attention* lets each token mix its neighbours in: much of some, little of others. How much, is decided here in the
# simplest way there is: by how alike two tokens are. There is nothing to learn yet.

# %%
import torch

from vidro.learn.attention_1 import scores, shares, simple_attention
from vidro.learn.figures import heat, points

river, money, bank, the = [2.0, 0.0], [0.0, 2.0], [1.0, 1.0], [0.2, 0.2]
words = ["the", "river", "bank"]
x = torch.tensor([the, river, bank])
print("x", list(x.shape), "= 3 tokens of 2 numbers each")

# %% [markdown]
# Real rows are hundreds of numbers long and mean nothing that could be said in a word. Ours are made by hand: the first
# number says how much a word has to do with water, the second how much with finance. "bank" is half and half.
#
# ## Scores: how alike are two tokens?
#
# The *dot product* of two rows: multiply number by number, and add. It is large when both rows have large numbers in
# the same places.

# %%
products = [a * b for a, b in zip(bank, river, strict=True)]
print("bank · river =", " + ".join(f"{a} × {b}" for a, b in zip(bank, river, strict=True)), "=", sum(products))
print("river · money =", sum(a * b for a, b in zip(river, money, strict=True)))
print("scores", list(scores(x).shape))
heat(scores(x), rows=words, columns=words, title="Scores: each token (row) with each token (column)")

# %% [markdown]
# "river" and "money" have nothing in common: `0`. All the scores of the sentence are one matrix product, `x @ x.T`: a
# row for each token that looks, a column for each that is looked at.
#
# ## Shares: softmax
#
# A mixture needs shares: none below 0, together 1. *Softmax* makes them of scores in two steps. Raise e (about 2.718)
# to the power of each score: this makes every one positive and lets the larger ones stand out. Then divide by the sum.

# %%
row = scores(x)[2]
powers = row.exp()
print("scores of bank:", [round(score, 2) for score in row.tolist()])
print("e to their power:", [round(power, 2) for power in powers.tolist()], "sum", round(powers.sum().item(), 2))
by_hand = powers / powers.sum()
print("shares of bank:", [round(share, 2) for share in by_hand.tolist()], "sum", round(by_hand.sum().item(), 2))
heat(shares(x), rows=words, columns=words, title="Shares: where each token (row) takes its new self from")

# %% [markdown]
# "bank" scored `2.0` with "river" and with itself, and `0.4` with "the". So it takes `0.45` of its new self from each
# of the two, and `0.09` from "the". Each row of the figure adds up to 1; the columns need not.
#
# ## Context: the mixture
#
# The new row of "bank" is the three old rows, each multiplied by its share, added up.

# %%
mixture = torch.stack([share * token for share, token in zip(by_hand, x, strict=True)]).sum(dim=0)
print("bank before:", bank)
print("bank after: ", [round(number, 2) for number in mixture.tolist()])
difference = (simple_attention(x)[2] - mixture).abs().max().item()
print(f"difference to simple_attention: {difference:.6f}")

# %% [markdown]
# Beside "river", the water in "bank" went up from `1.0` to `1.38`, and the finance down to `0.47`. And beside "money"?
# The word comes in with the same two numbers, and goes out with others.

# %%
beside_money = simple_attention(torch.tensor([the, money, bank]))[2]
print("bank beside money:", [round(number, 2) for number in beside_money.tolist()])
arrows = {"river": river, "money": money, "bank": bank, "bank by the river": mixture, "bank with money": beside_money}
points(arrows, arrows=True, x="water", y="finance", title="One word goes in, two different words come out")

# %% [markdown]
# That is the whole idea, in three lines: `scores = x @ x.T`, `shares = softmax(scores)`, `context = shares @ x`. The
# result has the shape of the input, so it can be done again, layer upon layer. Mixing by shares from a softmax comes
# from translation (Bahdanau et al. 2014); to build a whole model of it, by dot products, from Vaswani et al. 2017.
#
# ## Two weaknesses
#
# Likeness is all that counts. "sleeps" would like to find the one who sleeps, and a verb and a noun need not be alike:

# %%
sentence = ["cats", "often", "sleep"]
kinds = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])  # noun, adverb, verb
for word, share in zip(sentence, shares(kinds)[2].tolist(), strict=True):
    print(f"sleep looks at {word:6} {share:.2f}")

# %% [markdown]
# "sleep" finds itself (`0.96`) and hardly the cats (`0.02`). The other weakness: a long row has large dot products with
# everybody, so it is looked at by everybody, alike or not.
#
# ## Try
#
# Make `the` longer in the first cell, 3 and 3 instead of 0.2 and 0.2, and run the cells again. "the" is as much about
# water as about finance, and yet "river" and "bank" now take most of their new selves from it.
#
# Then write the three steps yourself: `vidro learn stub attention-1 > mine.py`, and
# `vidro learn check attention-1 mine.py`.
#
# ## Next
#
# A token should be able to look for something other than its like. `vidro learn attention-2` puts three matrices in
# between, and lets them be learned.
