# %% [markdown]
# # Pieces of words
#
# The dictionary of `vidro learn words` had no number for a new word, and too many rows for old ones. Single characters
# never run out, but make a text very long. *Byte-pair encoding* lies between, and it is one idea repeated: join the
# two neighbours that stand side by side most often.
#
# It was invented to make files smaller (Gage 1994), brought to translation (Sennrich, Haddow and Birch 2016), and
# applied to bytes in GPT-2 (Radford et al. 2019). Nearly every model of today reads text this way.

# %%
from vidro.data import tinyworld
from vidro.learn.bpe import BPE, count_pairs, cut, join, train
from vidro.learn.figures import bars, curves
from vidro.text.train import learn_merges

text = "low lower lowest"
print("bytes of 'low':", list(b"low"))
print("bytes of 'é':  ", list("é".encode()))

# %% [markdown]
# ## Begin with bytes
#
# A computer stores text as bytes, numbers from 0 to 255. An English letter is one byte, "é" is two, a Chinese sign
# three. There are 256 of them and not one more, so 256 ids can write everything that was ever written.
#
# The text is cut into words first, each with the blank before it. Pairs are joined inside a word only, so that no
# token is half of one word and half of the next.

# %%
pieces = {tuple(piece.encode()): 1 for piece in cut(text)}
print(cut(text))
for ids in pieces:
    print(list(ids))

# %% [markdown]
# ## Count the pairs
#
# `l` and `o` stand side by side three times, and so do `o` and `w`. Of equally frequent pairs we take the one with the
# smaller numbers, so that everybody gets the same tokens.

# %%
counts = count_pairs(pieces)
named = {"".join(map(chr, pair)).replace(" ", "␣"): float(times) for pair, times in counts.most_common()}
bars(named, y="times", digits=0, title="Neighbours in “low lower lowest”; ␣ is a blank")

# %% [markdown]
# ## Join, and again
#
# `lo` becomes token `256`, the first free number. Then everything is counted anew, now with the new token in place.

# %%
for ids in pieces:
    print(list(ids), "→", list(join(ids, (108, 111), 256)))
bpe = train([text], n_merges=4)
for number, (left, right) in enumerate(bpe.merges, start=256):
    print(f"{number} = {left} + {right}  {bpe.token(number)}")

# %% [markdown]
# The list of joins is the whole tokenizer. Read upwards it spells each token: `259` is `258` and `101`, and so on down
# to bytes.
#
# ## Read a new word
#
# To encode, the joins are made in the order in which they were learned. "slower" was never seen, and is no trouble:

# %%
for word in ["lower", "slower", "snow"]:
    ids = bpe.encode(word)
    print(f"{word:7}", ids, [bpe.token(number) for number in ids], "→", bpe.decode(ids))

# %% [markdown]
# Nothing is unknown. What was seen often is one token, and what was never seen is spelled.
#
# ## From a real text
#
# Now the stories of the village that Vidro brings along: 6,000 characters, and 150 joins.

# %%
stories = tinyworld.text(0, 6_000)
bpe = train([stories], n_merges=150)
for first in (0, 10, 50, 140):
    tokens = [bpe.token(256 + first + i).decode() for i in range(6)]
    print(f"joins {first + 1:3} to {first + 6:3}:", tokens)

# %% [markdown]
# First come the commonest letters together, then little words with their blank, later endings and parts of names.
# Nobody gave it a grammar. The same 150 joins by the fast engine that `vidro pretrain` uses:

# %%
fast = learn_merges([stories], 150)
print("equal:", fast == [(bpe.token(left), bpe.token(right)) for left, right in bpe.merges])

# %% [markdown]
# ## How many joins?
#
# Every join makes texts shorter, and the model's table one row longer. We measure the first on stories that were not
# used for learning.

# %%
new_stories = tinyworld.text(1, 3_000)
joins = [0, 10, 25, 50, 75, 100, 150]
per_token = [len(new_stories) / len(BPE(bpe.merges[:n]).encode(new_stories)) for n in joins]
for n, characters in zip(joins, per_token, strict=True):
    print(f"{n:3} joins: {characters:.2f} characters a token")

# %%
curves({"new stories": (joins, per_token)}, x="joins", y="characters a token", title="The first joins gain the most")

# %% [markdown]
# The gain per join gets smaller, because the frequent pairs go first. GPT-2 learned 50,000 joins from eight million
# web pages: 256 bytes, the joins, and one token for the end of a text are its 50,257 ids. A small text cannot carry as
# many: a token that is seen twice is not learned. `vidro pretrain` therefore chooses the number by the length of your
# text.
#
# ## Try
#
# Train on `[new_stories]` and print the first ten tokens; then train on a text in another language that you know. The
# early joins are its commonest letters and endings. Text in that language, read with *our* tokens, falls back into
# many small pieces: compare `len(bpe.encode(...))`.
#
# Then write it yourself: `vidro learn stub bpe > mine.py`, and `vidro learn check bpe mine.py`.
#
# ## Next
#
# A book is now one long row of ids. A model reads a fixed number at a time and has to be told what would have been
# right. `vidro learn windows` makes questions of the row.
