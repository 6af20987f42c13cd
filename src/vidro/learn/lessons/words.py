# %% [markdown]
# # Words
#
# A language model multiplies numbers; it cannot read letters. So the first thing to build is a bridge: text to
# numbers, and numbers back to the same text. The numbers are called *ids*, and what has an id is called a *token*.
#
# The oldest bridge is a dictionary of words. This rung has nothing below it.

# %%
from collections import Counter

from vidro.data import tinyworld
from vidro.learn.figures import curves
from vidro.learn.words import WordDictionary, cut

text = "The cat sat. The dog sat, too."
print(cut(text))

# %% [markdown]
# ## Cut
#
# `cut` makes a piece of each run of letters or digits, and of every other character by itself. Blanks are pieces as
# well. That looks wasteful, but nothing is lost: put together, the pieces are the text again.
#
# ## Number
#
# Every *different* piece gets a number: sorted, then counted from 0. Two names are added that no text contains:
# `<|unk|>` for what is unknown, and `<|endoftext|>`, which is written between two documents.

# %%
dictionary = WordDictionary.of(text)
for number, word in enumerate(dictionary.words):
    print(f"{number:2}  {word!r}")

# %% [markdown]
# Sorting matters. Python's `set` keeps words in an order that is mixed anew each time Python starts. A model that was
# trained with "cat" as one number would be asked tomorrow with another.
#
# ## There and back

# %%
ids = dictionary.encode("The dog sat.")
print("ids:   ", ids)
print("text:  ", dictionary.decode(ids))
print("pieces:", len(cut(text)), "in the text,", len(dictionary.words), "in the dictionary")

# %% [markdown]
# `The`, with a capital, is `3`; it has nothing to do with `the`, which has no number at all here. To the dictionary
# two words are equal or different, and nothing between. That `4` (cat) is beside `5` (dog) means nothing either: the
# numbers are names.
#
# ## The trouble: a new word

# %%
ids = dictionary.encode("The cow sat.")
print("ids: ", ids)
print("text:", dictionary.decode(ids))

# %% [markdown]
# "cow" became `8`, the number of `<|unk|>`, and no one can tell any more that it was a cow. How often does this
# happen? We read stories from the village that Vidro brings along (it was made up for this purpose) and make
# dictionaries of the first 100 words, the first 1,000, and so on. Then we open other stories from the same village.


# %%
def words_of(text: str) -> list[str]:
    """The pieces of a text that are words or numbers."""
    return [piece for piece in cut(text) if piece.isalnum()]


read = words_of(tinyworld.text(0, 60_000))
other = words_of(tinyworld.text(1, 20_000))
amounts = [100, 300, 1_000, 2_000, 4_000, 6_000, 8_000, 10_000]
unknown = []
for amount in amounts:
    known = set(read[:amount])
    lacking = sum(word not in known for word in other)
    unknown.append(100 * lacking / len(other))
    print(f"{amount:6,} words read: {len(known):4} different, {unknown[-1]:4.1f} of 100 new ones unknown")

# %%
curves(
    {"unknown": (amounts, unknown)}, x="words read", y="unknown, of 100 new words", title="A dictionary is never done"
)

# %% [markdown]
# It falls fast and then slowly, and this village is told with few words. In real text the list never ends: the number
# of different words goes on growing with a power of the length of the text (Heaps, *Information Retrieval*, 1978).
# There are names, numbers, misspellings and words made up this morning.
#
# ## The other trouble: relatives
#
# A model keeps a row of numbers for each id. Look at what this dictionary would pay for one verb.

# %%
times = Counter(read)
for word in sorted(word for word in times if word.startswith("look")):
    print(f"{word:8} has a row of its own, and was seen {times[word]} times")
once = sum(seen == 1 for seen in times.values())
print(f"{once} of {len(times)} different words were seen once")

# %% [markdown]
# Each of these must be learned from its own occurrences, as if they had nothing in common. And from a single
# occurrence there is hardly anything to learn: here that is true of about a fifth of all different words.
#
# ## Try
#
# In `cut`, treat every character as a piece of its own: replace `cut(text)` by `list(text)` in `words_of`, and drop
# `if piece.isalnum()`. Now next to nothing is unknown, and a story is five times as many ids. That is the other end.
#
# Then write the dictionary yourself: `vidro learn stub words > mine.py`, and `vidro learn check words mine.py`.
#
# ## Next
#
# Words are too many, and characters too small. `vidro learn bpe` finds pieces between the two, and finds them in the
# text itself.
