# %% [markdown]
# # Temperature and top-k
#
# `vidro learn generating` always took the most probable token. Such a text soon runs in circles, and a model that knows
# its training text by heart recites it. There is another way: throw dice, so that each token comes as often as the
# model finds it probable. Two knobs say how daring the throw may be.

# %%
import re
from itertools import pairwise

import torch

from vidro.data import tinyworld
from vidro.learn.block import GPT
from vidro.learn.figures import curves, heat
from vidro.learn.sampling import draw, generate, keep_top_k, with_temperature
from vidro.learn.training import AdamW, train

words = ["boat", "ferry", "goat", "letter", "moon", "soup"]
logits = torch.tensor([3.0, 2.5, 1.0, 0.5, -0.5, -2.0])
print("after 'She waited for the':")
shares = logits.softmax(dim=-1)
for word, score, share in zip(words, logits, shares, strict=True):
    print(f"{word:8} logit {score:4.1f}   probability {share:.2f}")

# %% [markdown]
# ## Temperature
#
# Divide the logits by a number before softmax. Below 1 it drives them apart, and the favourite gets nearly all. Above 1
# it draws them together, and the rare ones get their chance. The order never changes. The name comes from physics,
# where a hot body is found in unlikely states more often (Ackley, Hinton and Sejnowski 1985).

# %%
temperatures = [0.2, 0.5, 1.0, 2.0, 10.0]
table = torch.stack([with_temperature(logits, t) for t in temperatures])
heat(table, rows=[f"T = {t}" for t in temperatures], columns=words,
     title="Probabilities at each temperature")  # fmt: skip

# %%
print(f"T = 0.2: boat {table[0, 0]:.2f}, soup {table[0, 5]:.2f}")
print(f"T = 10:  boat {table[4, 0]:.2f}, soup {table[4, 5]:.2f}; 1/6 is {1 / 6:.2f}")

# %% [markdown]
# At T = 1 the probabilities are the model's own. Towards 0 everything goes to the favourite, so temperature 0 is taken
# to mean just that: no dice. At T = 10 the six are not far from `0.17` each: the goat comes nearly as often as the
# ferry.
#
# ## Top-k
#
# A high temperature has a price: a vocabulary has thousands of tokens that make no sense here, each with a tiny
# probability, and together they are drawn often. Top-k cuts them off (Fan et al. 2018). All but the k best get the
# logit −∞, and e to the power of −∞ is 0.

# %%
kept = keep_top_k(logits, 3)
print("logits       ", [f"{score:.1f}" for score in kept.tolist()])
print("probabilities", [f"{share:.2f}" for share in with_temperature(kept, 1.0).tolist()])

# %% [markdown]
# The last three are at exactly `0.00`, and what they had is shared out among the others in proportion.
#
# ## The throw
#
# Lay the probabilities side by side on a line from 0 to 1 and throw a dart: the word on which it falls is taken. With
# the same *seed* the darts are the same, and so is the text.

# %%
dice = torch.Generator().manual_seed(1)
drawn = [draw(with_temperature(kept, 1.0), dice) for _ in range(1000)]
print("in 1,000 throws:", {word: drawn.count(number) for number, word in enumerate(words)})

# %% [markdown]
# ## Knowing by heart
#
# Now a model that has read one short text much too often, as in `vidro learn training`. We let it write at several
# temperatures and count two things. How many runs of five words stand like that in the training text? And how many
# pairs of neighbouring words stand nowhere in a text sixty times as long, so that they are probably wrong?

# %%
long_text = re.findall(r"\w+|[^\w\s]", tinyworld.text(seed=1, n_bytes=300_000))
text = long_text[:1000]
dictionary = sorted(set(text))
ids = torch.tensor([dictionary.index(word) for word in text])
dice = torch.Generator().manual_seed(1)
torch.manual_seed(0)
model = GPT(len(dictionary), context_length=16, d_model=32, n_layers=2, n_heads=2)
places = torch.randint(len(ids) - 16, (250, 8, 1), generator=dice) + torch.arange(16)
optimizer = AdamW(model.parameters(), lr=0.005)
losses = train(model, optimizer, [(ids[at], ids[at + 1]) for at in places])
print(f"loss {losses[0]:.0f} → {losses[-1]:.0f}")


def runs(words, n):
    """All runs of n words."""
    return [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]


own, seen = set(runs(text, 5)), set(pairwise(long_text))
copied, odd = {}, {}
for temperature in (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
    dice = torch.Generator().manual_seed(7)
    start = ids[:1].tolist()
    said = generate(model, start, 200, dice, context_length=16, temperature=temperature)
    written = [dictionary[number] for number in said]
    copied[temperature] = sum(run in own for run in runs(written, 5)) / len(runs(written, 5))
    odd[temperature] = sum(pair not in seen for pair in pairwise(written)) / (len(written) - 1)
    print(f"T = {temperature:<4} copied {copied[temperature]:4.0%}  odd pairs {odd[temperature]:4.0%}"
          f"   {' '.join(written[60:68])}")  # fmt: skip
curves({"runs of five words copied": (list(copied), list(copied.values())),
        "pairs that stand nowhere": (list(odd), list(odd.values()))},
       x="temperature", y="share", title="Cool recites, hot stammers")  # fmt: skip

# %% [markdown]
# A cool model recites, and at temperature 0 it runs in circles. With heat it copies less, and more of what it writes is
# nonsense: it has little besides what it learned by heart. Temperature cannot give a model what it does not know. In
# between it does both a little. The more a model has read, the wider is the range where it does neither much.
#
# And top-k at a high temperature?

# %%
for top_k in (0, 20, 5, 2):
    dice = torch.Generator().manual_seed(7)
    said = generate(model, start, 200, dice, context_length=16, temperature=2.0, top_k=top_k)
    written = [dictionary[number] for number in said]
    share = sum(pair not in seen for pair in pairwise(written)) / (len(written) - 1)
    print(f"T = 2, top-k {top_k if top_k else 'off':>3}: odd pairs {share:4.0%}")

# %% [markdown]
# With few candidates the worst is never drawn, even when it is hot. `vidro generate` has both knobs, and two more that
# let the number of candidates vary: where the model is sure there are few, where it is not there are many.
#
# ## Try
#
# Set temperature 0.01 instead of 0.0 in the loop: dice are thrown, and the text is the same. Then set the seed 7 to 8:
# which of the lines stay as they were?
#
# Then write it yourself: `vidro learn stub sampling --out mine.py`, and `vidro learn check sampling mine.py`.
#
# ## Next
#
# A model that can write has learned to read on the way. `vidro learn classifier` takes its last layer off and lets it
# sort messages.
