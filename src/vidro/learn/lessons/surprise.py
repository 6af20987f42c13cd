# %% [markdown]
# # The surprise of one token
#
# `vidro learn generating` made a model write. Is it a good model? One could read what it writes, and like it or not.
# There is a better way, and it needs no taste: take a text that somebody wrote, stop before a token, and look what the
# model thought of it. The less it had expected the token that comes, the worse.

# %%
import math

import torch

from vidro.data import tinyworld
from vidro.learn.bits_per_byte import Counts
from vidro.learn.figures import bars, curves
from vidro.learn.surprise import bits, gradient, softmax, surprise, token_surprise
from vidro.model.loss import next_token_loss

# %% [markdown]
# ## From probability to surprise
#
# What should surprise be? Nothing for what was certain. More for what was less likely. And one thing besides: two
# tokens one after the other should surprise as much as the first *plus* the second. But the probability of both is the
# *product*: half of a tenth is a twentieth. The logarithm makes a sum of a product. So surprise is minus the logarithm
# of the probability (Shannon 1948).

# %%
for p in (1.0, 0.5, 0.1, 0.05, 0.01):
    print(f"probability {p:4.2f}: surprise {surprise(p):.3f}")
print(f"0.50 and then 0.10: {surprise(0.5) + surprise(0.1):.3f}")
line = [n / 200 for n in range(1, 201)]
curves(
    {"surprise": (line, [surprise(p) for p in line])},
    x="probability that the true token was given",
    y="surprise in nats",
    title="Certain costs nothing, impossible costs without end",
)

# %% [markdown]
# The curve is steep on the left. A model that is wrong and sure of itself pays much more than one that is wrong and in
# doubt. Whoever wants little surprise must admit what he does not know.
#
# ## Nats and bits
#
# With the natural logarithm the unit is called *nat*. With the logarithm of base 2 it is the *bit*, and that has a
# picture: one bit is one question of yes or no whose answers are equally likely. Eight equal doors: three questions.

# %%
for doors in (2, 8, 256):
    nats = surprise(1 / doors)
    print(f"one of {doors:3} equal doors: {nats:.3f} nats = {bits(nats):.0f} bits")
print(f"1 nat = {bits(1.0):.4f} bits")

# %% [markdown]
# ## From logits to surprise
#
# A model gives logits: any numbers, large for likely. Softmax makes probabilities of them. Three tokens, "cat", "dog"
# and "moon", after "the farmer has a":

# %%
names, logits = ["cat", "dog", "moon"], [2.0, 1.0, -3.0]
for name, logit, p in zip(names, logits, softmax(logits), strict=True):
    print(f"{name:5} logit {logit:4.1f}  e^logit {math.exp(logit):6.3f}  ", end="")
    print(f"probability {p:.3f}  surprise {surprise(p):.3f}")

# %% [markdown]
# A softmax followed by a logarithm is a detour. The surprise is ln of the sum of all e^logit, minus the logit of the
# true token; the probability is never needed. That is not only shorter. A float cannot hold a probability of e^−1000,
# and its surprise would come out infinite; but 1000 is a harmless number.

# %%
far = [0.0, 1000.0]
print("by way of the probability:", surprise(softmax(far)[0]))
print("straight from the logits: ", token_surprise(far, target=0))
nats, count = next_token_loss(torch.tensor([logits]), torch.tensor([1]))
print(f"“dog”: by hand {token_surprise(logits, 1):.4f}")
print(f"vidro.model.loss: {nats.item():.4f}")

# %% [markdown]
# ## What it teaches
#
# Training makes surprise smaller. In which direction should each logit go? Calculus gives a plain answer: the
# *gradient*, how much the surprise grows when a logit grows, is the probability; and for the true token the probability
# minus 1.

# %%
slopes = gradient(logits, target=1)
for name, slope in zip(names, slopes, strict=True):
    print(f"{name:5} gradient {slope:6.3f}")
print(f"sum {abs(sum(slopes)):.3f}")
changed = [logit - slope for logit, slope in zip(logits, slopes, strict=True)]
print(f"one step against it: surprise at “dog” {token_surprise(changed, 1):.3f}")

# %% [markdown]
# "dog" goes up by what it lacked, the others go down by what they had too much, and "moon", which it hardly expected,
# is left alone. That is all that a language model is ever told.
#
# ## Surprise along a sentence
#
# Now a real text, letter by letter. The model is one that has counted: in 60,000 bytes of tiny stories it looked which
# letter followed the last four (`vidro learn bits-per-byte` has it).

# %%
model = Counts(tinyworld.text(seed=0, n_bytes=60_000).encode(), order=5)
sentence = "Nora the baker lost her xylophone"
seen = [surprise(model(sentence[:place].encode())[ord(letter)])
        for place, letter in enumerate(sentence)]  # fmt: skip
for word in ("baker", "xylophone"):
    start = sentence.index(word)
    print(f"{word:10}", [round(nats, 1) for nats in seen[start : start + len(word)]])
start = sentence.index("her")
end = sentence[start:].replace(" ", "␣")
labels = [f"{place} {letter}" for place, letter in enumerate(end, start=1)]
bars(dict(zip(labels, seen[start:], strict=True)), y="nats", digits=1,
     title="Surprise of each letter of “her xylophone”")  # fmt: skip

# %% [markdown]
# The beginning of a word is a surprise, and its end is hardly one. A word that the stories do not know stays a surprise
# letter after letter.
#
# ## Try
#
# Put "market" in the place of "xylophone". Then put "the the the" there: what does a model of letters make of a mistake
# that every reader sees at once?
#
# Then write it yourself: `vidro learn stub surprise --out mine.py`, and `vidro learn check surprise mine.py`.
#
# ## Next
#
# This was one token at a time. `vidro learn cross-entropy` makes one number of a whole text: the loss.
