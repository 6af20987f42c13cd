# %% [markdown]
# # Cross-entropy
#
# `vidro learn surprise` weighed one token. A text has many, and a training wants one number to make smaller. It is the
# mean: the surprise of all tokens, divided by how many there are. That is the loss of every language model. The rest of
# this lesson is about counting rightly, which is less easy than it sounds.

# %%
import math

import torch

from vidro.data import tinyworld
from vidro.learn.bits_per_byte import Counts, nats_of
from vidro.learn.cross_entropy import IGNORE, between, cross_entropy, total
from vidro.learn.figures import curves, heat
from vidro.learn.surprise import softmax, surprise, token_surprise
from vidro.model.loss import next_token_loss

words = ["cat", "sat", "the", "."]

# %% [markdown]
# ## A row of logits for each place
#
# A text of three tokens goes in: "the cat sat". Each place has a row of logits, and each row is compared with the token
# that comes *after* it: "cat", "sat", ".". The answers are the text itself, moved by one.

# %%
rows = [[3.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 2.0, 0.0]]
logits = torch.tensor([rows])
targets = torch.tensor([[0, 1, 3]])
print("logits", list(logits.shape), "= texts, places, words")
print("targets", list(targets.shape), "=", [words[answer] for answer in targets[0]])
for row, answer in zip(logits[0].tolist(), targets[0].tolist(), strict=True):
    given, paid = softmax(row)[answer], token_surprise(row, answer)
    print(f"{words[answer]:4} was given {given:.2f}, surprise {paid:.3f}")
nats, count = cross_entropy(logits, targets)
print(f"together {nats:.3f} nats for {count} tokens, a mean of {nats / count:.3f}")
after = ["after the", "after cat", "after sat"]
said = logits[0].softmax(dim=-1)
heat(said, rows=after, columns=words, title="What the model says comes next")

# %% [markdown]
# The first answer was expected, the second was one of two, the third was a mistake: the model would have said "the". It
# costs more than both others. PyTorch's function, which `vidro.model.loss` calls, gives the same:

# %%
theirs, counted = next_token_loss(logits[0], targets[0])
print(f"vidro.model.loss: {theirs.item():.3f} nats, {counted.item()} tokens")

# %% [markdown]
# ## Where a training begins
#
# A fresh model knows nothing: all words equally likely. Each then costs ln V, with V words in the dictionary. A first
# loss far above that has a mistake in it; so has one far below: it has seen the answers.

# %%
for size in (len(words), 512, 50257):
    print(f"{size:6,} words: ln V = {math.log(size):.2f}")
flat, n = cross_entropy(torch.zeros(1, 3, 4), targets)
print(f"all logits 0: {flat / n:.2f}")

# %% [markdown]
# ## What is not asked
#
# Texts in a batch are of unequal length, so shorter ones are filled up. What fills them is no text, and must not count.
# Its target is `−100`, a number that no token has. A question that only the answer should follow from is marked so too.

# %%
batch = logits.repeat(2, 1, 1)
answers = torch.tensor([[0, 1, 3], [0, IGNORE, IGNORE]])
nats, count = cross_entropy(batch, answers)
print(f"marked with {IGNORE}: {nats:.3f} nats, {count} tokens, mean {nats / count:.3f}")
as_if = torch.tensor([[0, 1, 3], [0, 2, 2]])
nats, count = cross_entropy(batch, as_if)
print(f"counted as words: {nats:.3f} nats, {count} tokens, mean {nats / count:.3f}")

# %% [markdown]
# ## Mean of means
#
# A long text does not fit into one batch. It is tempting to take the mean of each batch, and then the mean of those.
# But then a batch with 2 tokens has as much to say as one with 200. Keep sum and count apart, and divide once:

# %%
parts = [(2 * 4.0, 2), (200 * 1.0, 200)]  # 2 tokens at 4 nats, 200 at 1
means = [nats / count for nats, count in parts]
print(f"mean of means: {sum(means) / len(means):.2f}")
print(f"all nats / all tokens: {total(parts):.2f}")

# %% [markdown]
# The first makes the model more than twice as bad as it is. In Vidro every loss is a sum and a count, up to the last
# line.
#
# ## Why "cross"
#
# It is measured between two distributions. p is what comes next in truth, q is what the model says: H(p, q) = −Σ p ln
# q. In words: go through all that can happen, take how surprised the model would be, and weigh it by how often it does
# happen. At one place of one text, p is 1 for the true token and 0 for all others, and only its surprise is left:

# %%
q = softmax([3.0, 0.0, 0.0, 0.0])
one_hot, mixed = [1.0, 0.0, 0.0, 0.0], [0.75, 0.25, 0.0, 0.0]
print(f"between {one_hot} and q: {between(one_hot, q):.3f} = {surprise(q[0]):.3f}")
print(f"if “cat” comes 3 times of 4, “sat” once: {between(mixed, q):.3f}")

# %% [markdown]
# ## On text that was seen, and on text that was not
#
# The loss of a text that the model has learned from says little: it may know it by heart. So a part is set apart before
# (`vidro learn windows`). A model that only counts shows it well. It has counted which letter followed the last one,
# two, … letters of 20,000 bytes of stories; then it is asked about these, and about others.

# %%
known = tinyworld.text(seed=0, n_bytes=20_000).encode()
others = tinyworld.text(seed=1, n_bytes=1_000).encode()[:1_000]
looks_back = range(8)
seen, new = [], []
for n in looks_back:
    model = Counts(known, order=n + 1)
    seen.append(nats_of(known[5_000:6_000], model) / 1_000)
    new.append(nats_of(others, model) / 1_000)
    print(f"looks back {n} letters: nats a byte on text it has seen", end=" ")
    print(f"{seen[-1]:.2f}, on new text {new[-1]:.2f}")
print(f"who knows nothing pays ln 256 = {math.log(256):.2f}")
curves(
    {"text it has seen": (looks_back, seen), "new text": (looks_back, new)},
    x="letters it looks back",
    y="nats per byte",
    title="Loss of a model that has counted",
)

# %% [markdown]
# The further it looks back, the better it seems on what it has seen. On new text, looking further soon helps no more.
# The gap between the two is called *overfitting*, and it is what the validation loss is there to show.
#
# ## Try
#
# Count 60,000 bytes instead of 20,000. Which of the two losses changes more, and why does the gap become smaller?
#
# Then write it yourself: `vidro learn stub cross-entropy --out mine.py`, and `vidro learn check cross-entropy mine.py`.
#
# ## Next
#
# Could the loss be 0? `vidro learn entropy` says what no model can avoid paying.
