# %% [markdown]
# # A bigram model
#
# `vidro learn cross-entropy` measures how good a prediction is. Nothing has learned to predict yet. Here is the
# smallest language model there is: it knows which letter follows which, and nothing else. A pair of neighbours is a
# *bigram* (Shannon wrote with such tables in 1948).
#
# We make it twice: by counting, and by training. The two meet, and that tells what training does.

# %%
import math

import torch

from vidro.data import tinyworld
from vidro.learn.bigram import Bigram, count_pairs, learn, shares, table_loss
from vidro.learn.figures import curves, heat
from vidro.learn.terminal import grid

word = "abracadabra"
letters = sorted(set(word))
ids = [letters.index(letter) for letter in word]
print(letters, ids)

# %% [markdown]
# ## By counting
#
# Go through the text, and for each pair of neighbours make a mark in a table: the row is the first letter, the column
# the one that came after it.

# %%
counts = count_pairs(ids, vocab_size=5)
print(grid(counts, rows=letters, columns=letters, digits=0))
print(int(counts.sum()), "pairs in", len(ids), "letters")

# %% [markdown]
# Divide each row by its sum, and it says how probable each next letter is. After `a` came `b` twice in four times.

# %%
table = shares(counts)
heat(table, rows=letters, columns=letters, title="Share of each next letter (column)")

# %% [markdown]
# This is a language model. It can be measured like any other, with the mean surprise at each next letter:

# %%
print(f"a model that knows nothing: ln 5 = {math.log(5):.2f} nats per letter")
print(f"the counted table:                 {table_loss(table, ids):.2f} nats per letter")

# %% [markdown]
# ## By training
#
# Now as a network. The table holds *logits* instead of shares, all 0 at the beginning, so every letter is equally
# probable. Each step asks for the loss, takes its gradient, and moves every number a little against it. Nobody counts.

# %%
model = Bigram(vocab_size=5)
losses = learn(model, ids, n_steps=300, lr=3.0)
trained = model.logits.detach().softmax(dim=1)
for step in (0, 1, 10, 100, 299):
    print(f"step {step:3}: loss {losses[step]:.2f}")
print(grid(trained, rows=letters, columns=letters))
print(f"largest difference to the counted table: {(trained - table).abs().max():.2f}")
least = table_loss(table, ids)
curves({"trained": (range(300), losses), "counted": (range(300), [least] * 300)},
       x="steps", y="nats per letter", title="Training finds what counting finds")  # fmt: skip

# %% [markdown]
# Training came to the same table. It must: the gradient at a row of logits is its softmax minus its row of shares,
# times how often that row was asked. Where the two are equal, nothing pulls any more. And no other table has a lower
# loss on this text.
#
# The difference is a small one, yet it never becomes quite 0. A share of exactly 0 needs a logit of −∞, and training
# only walks in that direction.
#
# ## A pair that never was
#
# A share of 0 is dangerous: a pair that did not occur gives an infinite surprise, however good the rest is. So let us
# measure on text that was not counted, and add a little to every count first.

# %%
story = tinyworld.text(seed=1, n_bytes=20_000)
letters = sorted(set(story))
ids = [letters.index(letter) for letter in story]
own, other = ids[:4000], ids[4000:]
print(f"{len(letters)} letters and signs; ln {len(letters)} = {math.log(len(letters)):.1f}")
counts = count_pairs(own, len(letters))
for added in (0.0, 0.01, 0.1, 1.0, 10.0):
    table = shares(counts, added)
    there, elsewhere = table_loss(table, own), table_loss(table, other)
    print(f"added {added:<5} own text {there:.2f}   other text {elsewhere:.2f}")

# %% [markdown]
# On its own text the bare counts are best, and on other text they are infinitely bad. A little added makes the table
# humbler: a little worse where it has been, much better where it has not.
#
# ## What it writes
#
# Start with a letter, draw the next by its probability, and go on from there:

# %%
dice = torch.Generator().manual_seed(3)
table, at, written = shares(count_pairs(ids, len(letters))), letters.index("T"), "T"
for _ in range(70):
    at = int(torch.multinomial(table[at], 1, generator=dice))
    written += letters[at]
print(repr(written))

# %% [markdown]
# Letters and blanks fall where they might, and no word lasts, for at each letter the model has forgotten all others.
# It needs more context. A table for two known letters has V² rows, one for three V³. How many of them did 20,000
# letters of text ever fill?

# %%
for known in (1, 2, 3, 4):
    seen = {story[place : place + known] for place in range(len(story) - known)}
    n_rows = len(letters) ** known
    print(f"{known} known: {n_rows:10,} rows, {len(seen) / n_rows:8.3%} of them seen")

# %% [markdown]
# Nearly all rows are empty, and an empty row knows nothing. Counting ends here. But the other way, with a gradient,
# needs no table: anything that turns known letters into logits can be trained like this. Such a thing may notice that
# "boat" and "ferry" are used alike, and learn about one from the other.
#
# ## Try
#
# Set `lr` to 30 in the call of `learn`. The steps are too long now: does the loss still fall at every step? Then write
# it yourself: `vidro learn stub bigram --out mine.py`, and `vidro learn check bigram mine.py`.
#
# ## Next
#
# `vidro learn training` takes the same loop, and puts a transformer in the place of the table.
