# %% [markdown]
# # Entropy and divergence
#
# `vidro learn cross-entropy` gives one number, say 1.2 nats. Is that much? Could it be 0? Nobody can foretell a coin,
# so part of a loss is not the model's fault. This lesson cuts the loss into two parts: what must be paid, and what is
# paid for not knowing.

# %%
import math
from collections import Counter

from vidro.data import tinyworld
from vidro.evals.yardsticks import ngram_bits
from vidro.learn.cross_entropy import between
from vidro.learn.entropy import divergence, entropy, shares
from vidro.learn.figures import bars, curves
from vidro.learn.surprise import bits

# %% [markdown]
# ## What must be paid
#
# A bent coin falls on heads 7 times of 10. Somebody knows this, and bets accordingly. Heads surprises them by −ln 0.7,
# tails by −ln 0.3, and the one happens more often than the other. The mean is the *entropy* of the coin (Shannon 1948):

# %%
coin = [0.7, 0.3]
for side, p in zip(("heads", "tails"), coin, strict=True):
    nats = -math.log(p)
    print(f"{side}: {p} of the time, surprise {nats:.3f}, product {p * nats:.3f}")
print(f"entropy {entropy(coin):.3f} nats = {bits(entropy(coin)):.2f} bits")
ways = [n / 100 for n in range(101)]
curves(
    {"entropy": (ways, [entropy([p, 1 - p]) for p in ways])},
    x="how often it falls on heads",
    y="nats",
    title="The entropy of a coin",
)

# %% [markdown]
# A coin that always falls on the same side has nothing to tell. The fair one has most, one bit, ln 2 = 0.69 nats. Of k
# possible things the entropy is at most ln k, and it is so when all are equally likely.

# %%
for name, p in (("fair die", [1 / 6] * 6), ("loaded die", [0.5] + [0.1] * 5)):
    print(f"{name:10} {entropy(p):.3f} nats, at most ln 6 = {math.log(6):.3f}")

# %% [markdown]
# ## What is paid on top
#
# Somebody else takes the bent coin for a fair one. They believe q = [0.5, 0.5], while p = [0.7, 0.3] is true. What they
# pay is the cross-entropy H(p, q). It is more than the entropy, and the difference has a name: the *divergence* of q
# from p, D(p ‖ q) (Kullback & Leibler 1951).

# %%
for q in ([0.5, 0.5], [0.6, 0.4], [0.7, 0.3], [0.9, 0.1]):
    paid, more = between(coin, q), divergence(coin, q)
    print(f"believes {q}: pays {paid:.3f} = {entropy(coin):.3f} + {more:.3f}")
guesses = [n / 100 for n in range(2, 99)]
curves(
    {
        "what is paid": (guesses, [between(coin, [q, 1 - q]) for q in guesses]),
        "what must be paid": (guesses, [entropy(coin)] * len(guesses)),
    },
    x="believed: how often it falls on heads",
    y="nats",
    title="A coin that falls on heads 7 times of 10",
)

# %% [markdown]
# The gap closes in one place only, where the belief is the truth. So a training that makes cross-entropy small makes
# the model's beliefs true; it need not know how large the entropy is. That is why this loss is used.
#
# ## Not a distance
#
# The way from p to q is not as long as the way from q to p. It matters which of them is true:

# %%
fair, sure = [0.5, 0.5], [0.9, 0.1]
print(f"the coin is fair, and I am nearly sure of heads: {divergence(fair, sure):.3f}")
print(f"it nearly always is heads, and I think it fair: {divergence(sure, fair):.3f}")
print(f"I hold tails to be impossible: {divergence(fair, [1.0, 0.0])}")

# %% [markdown]
# To be too sure costs more than to be too careful. To hold impossible what happens costs without end, and one such
# token would make the loss of a whole text infinite. Softmax gives nothing an exact 0. Who counts must take care of it,
# and adds 1 to each count.
#
# ## Letters
#
# Now a text. How often does each letter occur in stories of the tiny world, and what does it cost to know only that?

# %%
text = tinyworld.text(seed=0, n_bytes=60_000)
letters = sorted(set(text))
counts = Counter(text)
p = shares([counts[letter] for letter in letters])
print(len(letters), "different characters")
print(f"all equally likely: ln {len(letters)} = {math.log(len(letters)):.2f} nats")
print(f"entropy of how often they occur: {entropy(p):.2f} nats")
verse = "xylophones quiz the jolly wizard of lynx and vex a zebra"
kinds = Counter(letter for letter in verse if letter in counts)
theirs = shares([kinds[letter] for letter in letters])
print(f"the verse: its own entropy {entropy(theirs):.2f},", end="")
print(f" and {divergence(theirs, p):.2f} more for one who knows the stories only")

# %% [markdown]
# ## How far down is the floor?
#
# Single letters cost so much because their neighbours are not looked at. With each letter that a model looks back, a
# next one is less of a surprise. But how far can it go? For real books nobody knows their entropy. Shannon let people
# guess letter after letter, and came to between 0.6 and 1.3 bits a letter (1951). For the tiny world it is known, since
# its stories are drawn by dice, and we can look at the dice:

# %%
stories = list(tinyworld.stories(seed=0, n_bytes=300_000))
known, asked = ("\n\n\n".join(some).encode() for some in (stories[40:], stories[:40]))
floor = tinyworld.floor_bits_per_byte(stories[:40], seed=0, n_bytes=300_000)
assert floor is not None
table = {f"{n - 1} back": ngram_bits(known, asked, order=n) for n in (1, 2, 3, 5, 8)}
table["floor"] = floor
for name, value in table.items():
    print(f"{name:7} {value:.2f} bits per byte")
bars(table, y="bits per byte", title="Letters looked back, and the floor")

# %% [markdown]
# What lies between the last bar but one and the floor is divergence: it can be learned. What lies below the floor is
# entropy: nobody can. A validation loss below it would be a sign that the text had been seen before.
#
# ## Try
#
# Make `coin` fair, and look at the second figure: what must be paid rises, and who believes in 7 of 10 pays for it.
#
# Then write it yourself: `vidro learn stub entropy --out mine.py`, and `vidro learn check entropy mine.py`.
#
# ## Next
#
# 1.2 nats is still no picture. `vidro learn perplexity` makes a number of choices of it.
