# %% [markdown]
# # Bits per byte
#
# A perplexity depends on what a token is (`vidro learn perplexity`). Two models with different tokenizers cannot be
# compared by it. But both read the same file, and a file has so many bytes, whoever reads it. So: the surprise of the
# whole text in bits, divided by the bytes of the file.
#
# And this number can be weighed. A model that pays 2 bits for each byte of 8 bits can shrink the file to a quarter.
# This lesson does it, and unpacks the file again.

# %%
import gzip
import math

from vidro.data import tinyworld
from vidro.evals.yardsticks import COMPRESSORS, compressed_bits, ngram_bits
from vidro.learn.bits_per_byte import (
    Counts,
    Encoder,
    bits_per_byte,
    compress,
    expand,
    nats_of,
    parts,
)
from vidro.learn.figures import bars, curves
from vidro.learn.surprise import bits, surprise

print(f"300 nats for 100 bytes: {bits_per_byte(300.0, 100):.2f} bits per byte")

# %% [markdown]
# ## A text is a number
#
# An *arithmetic coder* (Rissanen 1976) makes one number between 0 and 1 of a whole text. Let there be three letters,
# and let the model always say: a half for "a", a quarter each for "b" and "c". Lay these parts side by side on the line
# from 0 to 1, and take the part of the first letter. Divide this part in the same way, for the second letter. And so
# on.

# %%
letters, chances = "abc", [0.5, 0.25, 0.25]
low, width = 0.0, 1.0
edges = [(0.0, 1.0)]
for letter in "abaac":
    place = letters.index(letter)
    low, width = low + width * sum(chances[:place]), width * chances[place]
    edges.append((low, low + width))
    print(f"{letter}: from {low:.6f} to {low + width:.6f}, width {width:.6f}")
steps = range(len(edges))
curves(
    {"to": (steps, [to for _, to in edges]), "from": (steps, [at for at, _ in edges])},
    x="letters read", y="the interval", title="“abaac” becomes a narrow interval",
)  # fmt: skip

# %% [markdown]
# Any number inside the last interval stands for the whole text. And the narrower the interval, the more digits it takes
# to name one. Written in twos, an interval of width w needs about −log₂ w digits. But w is the product of all
# probabilities. So −log₂ w is the sum of all surprises, in bits:

# %%
paid = [bits(surprise(chances[letters.index(letter)])) for letter in "abaac"]
print("surprises in bits:", paid, "together", sum(paid))
print(f"-log2 of the width: {-math.log2(width):.0f}")
print(f"the left edge, times 2^7: {low * 2**7:.0f}, in twos {int(low * 2**7):07b}")

# %% [markdown]
# `7` bits of surprise, `7` binary digits. Likely letters make the interval a little narrower and cost little; unlikely
# ones cost more. No letter needs a whole number of bits.
#
# ## Whole numbers
#
# A long text would need more digits than a float has. So the coder computes with whole numbers, and as soon as both
# edges of the interval begin with the same binary digit, it writes that digit and forgets it (Witten, Neal & Cleary
# 1987). The probabilities become whole numbers too, each at least 1: what has no part cannot be written.

# %%
shares = parts(chances)
print("parts:", shares, "together 2 ** 32:", sum(shares) == 2**32)
encoder = Encoder()
for letter in "abaac":
    encoder.put(shares, letters.index(letter))
    print(f"{letter}: settled so far", "".join(map(str, encoder.digits)) or "nothing")
packed = encoder.finish()
print("file:", " ".join(f"{byte:08b}" for byte in packed), "=", len(packed), "bytes")
again = expand(packed, 5, lambda before: chances)
print("read again:", "".join(letters[place] for place in again))

# %% [markdown]
# The reader needs no table, only the same model. It asks the model what may come first, sees in whose part the number
# lies, and knows the first letter. With that it asks again. Both must compute exactly the same, to the last digit: a
# difference anywhere, and all that follows is noise.
#
# ## A real file
#
# A model that has counted which letter followed the last four, in 60,000 bytes of small stories. Another story is to be
# packed. First its loss, then its file:

# %%
known = tinyworld.text(seed=0, n_bytes=60_000).encode()
story = tinyworld.story(1, 0).encode()
model = Counts(known, order=5)
nats = nats_of(story, model)
packed = compress(story, model)
print(f"{len(story)} bytes before")
print(f"loss: {nats:.1f} nats = {bits(nats):.1f} bits = {bits(nats) / 8:.1f} bytes")
print(f"file: {len(packed)} bytes")
print(f"that is {bits_per_byte(nats, len(story)):.2f} bits per byte")
more = len(packed) - bits(nats) / 8
print("larger than the loss says by less than 2 bytes:", 0 <= more < 2)
again = bytes(expand(packed, len(story), model))
print("unpacked, the same byte for byte:", again == story)
print(again[:60].decode() + " …")

# %% [markdown]
# The loss is the size of the file, but for a byte or two at the end. That is what a loss means. A model that has
# learned more about stories would make a smaller file, and whoever makes the smaller file has learned more.
#
# ## Against the packers
#
# Programs that pack files predict too, in their way: they look for a piece that was there before, and write where. We
# let them read the same 60,000 bytes first, and look how much the packed file grows by three more stories.

# %%
three = "\n\n\n".join(tinyworld.story(1, number) for number in range(3)).encode()
alone = len(gzip.compress(three, 9, mtime=0))
sizes = {"as is": 8.0, "gzip alone": 8 * alone / len(three)}
for name, size in COMPRESSORS.items():
    sizes[name] = compressed_bits(size, known, three)
for back in (0, 1, 4, 7):  # the numbers of Counts, computed faster
    sizes[f"{back} back"] = ngram_bits(known, three, order=back + 1)
for name, value in sizes.items():
    print(f"{name:11} {value:.2f} bits per byte")
bars(sizes, y="bits per byte", title="Three stories; “4 back”: counts after four")

# %% [markdown]
# These stories share whole sentences, and that is what packers are good at. Counting only letters is far behind;
# counting what followed the last seven is nearly as good as the best of them. A language model looks back hundreds of
# tokens. `vidro evaluate RUN --text FILE` prints its bits per byte beside these yardsticks.
#
# ## Try
#
# Pack a text that is not of this world: `story = b"Stocks fell sharply on Monday."` Each of its letters costs several
# times as much. Then one letter that the model holds to be nearly impossible: what does it cost, and does the file
# still come back?
#
# Then write the coder yourself: `vidro learn stub bits-per-byte --out mine.py`, and
# `vidro learn check bits-per-byte mine.py`.
#
# ## Next
#
# The loss is understood. Now it is to become small. `vidro learn bigram` begins with the smallest model that there is.
