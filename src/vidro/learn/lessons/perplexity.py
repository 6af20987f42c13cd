# %% [markdown]
# # Perplexity
#
# `vidro learn entropy` says what a loss is made of, but a loss of 2.3 nats is still no picture. This lesson makes one
# of it: somebody who hesitates between ten doors. And it shows two ways to count wrongly.

# %%
import math

from vidro.data import tinyworld
from vidro.evals.perplexity import TextScore, word_perplexity
from vidro.learn.bits_per_byte import Counts, nats_of
from vidro.learn.entropy import entropy
from vidro.learn.figures import bars, curves
from vidro.learn.perplexity import choices, of_probabilities, per_unit, perplexity

# %% [markdown]
# ## Choices left
#
# Who must choose among k equally likely things pays ln k nats. So read it backwards: who pays 2.3 nats is as unsure as
# if there were e^2.3 equally likely things. That is the *perplexity* (Jelinek et al. 1977).

# %%
for k in (1, 2, 10, 50257):
    nats = math.log(k)
    print(f"{k:6,} equal things: {nats:6.3f} nats, perplexity {perplexity(nats):8,.0f}")
for nats in (2.0, 1.0, 0.5, 0.1):
    print(f"a loss of {nats} is a perplexity of {perplexity(nats):.2f}")

# %% [markdown]
# A fresh model of GPT-2's size has a perplexity of about `50,257`: all its tokens are equally likely. A perfect model
# of a text that can be foretold has 1: no choice is left. Nothing is below 1.
#
# ## The choices at one place
#
# Three words may follow. The scores say how much each is preferred. The more one is, the fewer choices are left, and
# the number need not be whole:

# %%
for row in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [3.0, 3.0, 0.0], [9.0, 0.0, 0.0]):
    print(f"logits {row}: {choices(row):.2f} choices")

# %% [markdown]
# This is e to the entropy of what the model says, before anyone knows the answer. The perplexity of a *text* is e to
# the surprise at its true tokens. If a model means what it says, the two come to the same in the long run. If it is too
# sure of itself, the perplexity is larger.
#
# ## The mean that it is
#
# Three tokens were given 1/2, 1/2 and 1/32. That is 2, 2 and 32 choices. Their perplexity is not the plain mean of
# these; multiply them and take the third root.

# %%
given = [1 / 2, 1 / 2, 1 / 32]
print(f"plain mean of the choices: {sum(1 / p for p in given) / 3:.2f}")
print(f"third root of their product: {math.prod(1 / p for p in given) ** (1 / 3):.2f}")
print(f"perplexity: {of_probabilities(given):.2f}")
print(f"one of them impossible: {of_probabilities([1 / 2, 1 / 2, 0.0])}")

# %% [markdown]
# Therefore never average perplexities. Take a text in two halves of equal length, with losses of 1 and 3 nats:

# %%
print(f"mean of the perplexities: {(perplexity(1.0) + perplexity(3.0)) / 2:.1f}")
print(f"perplexity of the mean:   {perplexity((1.0 + 3.0) / 2):.1f}")

# %% [markdown]
# The second is right. First the mean of the nats, over all tokens; then e to that, once.
#
# ## Along a sentence
#
# A model that has counted 60,000 bytes of small stories reads the beginning of a new sentence. After each letter, how
# many choices does it see?

# %%
model = Counts(tinyworld.text(seed=0, n_bytes=60_000).encode(), order=5)
sentence = "She lived in the mill and "
said = [model(sentence[:place].encode()) for place in range(len(sentence))]
left = [perplexity(entropy(p)) for p in said]
word = sentence.index("the mill")
for place in range(word, word + 9):
    print(f"after “{sentence[:place][-9:]}”: {left[place]:4.1f} choices")
shown = sentence[:17].replace(" ", "␣")
few = {f"{place} {letter}": left[place] for place, letter in enumerate(shown, start=1)}
bars(few, y="choices", digits=0, title="After each letter of “She lived in the ”")

# %% [markdown]
# A new word may begin in many ways; once it has begun, little is left to choose.
#
# ## Per what?
#
# Perplexity is *per token*, and the tokenizer says what a token is. Let one text have 600 nats in all. Cut into words
# it has 100 tokens, cut into letters 500:

# %%
for unit, n in (("word", 100), ("letter", 500)):
    each = 600 / n
    print(f"over {n} {unit}s: {each:.1f} nats each, perplexity {perplexity(each):7.2f}")
sizes = range(100, 501, 10)
curves(
    {"perplexity": (sizes, [perplexity(600 / n) for n in sizes])},
    x="tokens that the text is cut into",
    y="perplexity per token",
    title="One text, one model, 600 nats in all",
)

# %% [markdown]
# The same text, equally well predicted: `403.43` or `3.32`. Two perplexities can be compared only when the tokens are
# the same. Papers that use different tokens share the nats out over words instead. The text of our model, in bytes and
# in words:

# %%
text = tinyworld.text(seed=1, n_bytes=1_000)
n_bytes, n_words = len(text.encode()), len(text.split())
nats = nats_of(text.encode(), model)
a_byte = nats / n_bytes
print(f"{a_byte:.2f} nats per byte, perplexity {perplexity(a_byte):.2f}")
a_word = per_unit(a_byte, n_bytes, n_words)
print(f"{nats / n_words:.2f} nats per word, perplexity {a_word:.0f}")
score = TextScore.of(nats, n_tokens=n_bytes, n_bytes=n_bytes)
print(f"vidro.evals.perplexity, bytes: {score.perplexity:.2f}")
per_word = word_perplexity(score, [text])
print(f"per word, and one <eos> a line, as WikiText counts: {per_word:.0f}")

# %% [markdown]
# ## Try
#
# In `given`, make the third probability smaller and smaller: 1/1,000, 1/1,000,000. How fast does the plain mean grow,
# and how fast the perplexity?
#
# Then write it yourself: `vidro learn stub perplexity --out mine.py`, and `vidro learn check perplexity mine.py`.
#
# ## Next
#
# There is a unit that no tokenizer can change: the byte of the file. `vidro learn bits-per-byte` measures in it, and
# then proves the measure with a scale.
