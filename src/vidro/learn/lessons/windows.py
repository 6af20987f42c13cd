# %% [markdown]
# # Windows
#
# `vidro learn bpe` made one long row of ids of a book. A model cannot read it at once: it reads a fixed number of
# tokens, its *context length*. And to learn it must be asked something and be told what would have been right.
#
# Both come from the row itself, by cutting. No teacher has to write an answer: the answer is the token that comes
# next.

# %%
import torch

from vidro.learn.figures import bars, heat
from vidro.learn.windows import batches, one_epoch, questions, windows

words = ["long", "ago", "an", "old", "miller", "gave", "his", "youngest", "son", "a", "grey", "cat"]  # without blanks
dictionary = sorted(words)
ids = [dictionary.index(word) for word in words]
print(len(ids), "tokens:", ids)

# %% [markdown]
# ## A stretch of text is many questions
#
# Take the first five tokens. The first alone asks for the second, the first two ask for the third, and so on.

# %%
for known, answer in questions(ids[:5]):
    print(f"{' '.join(dictionary[number] for number in known):18} → {dictionary[answer]:7}{known} → {answer}")

# %% [markdown]
# ## The same as two rows
#
# Nobody writes the questions out one by one. Two rows hold them all: `x`, the tokens that go in, and `y`, the same
# tokens moved one place on. Below each token of `x` stands its answer in `y`.

# %%
x, y = windows(ids, length=4, stride=4)
print("x", x[0])
print("y", y[0])
print(len(x), "windows of 4 tokens:", x)

# %% [markdown]
# A model that gets `x` gives one answer at each place, and all four are compared with `y` at once. This is why the
# model must not look ahead: the answer to the first question stands in `x` itself, one place further on.
# `vidro learn attention-3` sees to that.
#
# Twelve tokens would make three windows of four, and there are `2`: the third lacks its last answer, for there is no
# thirteenth token. A classic mistake is to keep it, and to train on a window without an end.
#
# ## Stride
#
# The *stride* is how far the next window begins from the one before. As large as the window: no overlap. Stride 1:
# every window that there is.

# %%
for stride in (4, 2, 1):
    x, _ = windows(ids, length=4, stride=stride)
    print(f"stride {stride}: {len(x)} windows, begin with", [row[0] for row in x])


# %%
def seen_by(stride: int) -> list[list[float]]:
    """A row for each window and a column for each token of the text: 1 where the window asks for it."""
    starts = range(0, len(ids) - 4, stride)
    return [[float(start < place <= start + 4) for place in range(len(ids))] for start in starts]


heat(seen_by(2), columns=words, rows=[f"window {i + 1}" for i in range(4)], digits=0,
     title="Stride 2: which window asks for which token")  # fmt: skip

# %% [markdown]
# Add up the columns, and you have how often each token is asked for in one pass over the text.

# %%
asked = torch.tensor(seen_by(1)).sum(dim=0)
print("stride 1:", [int(times) for times in asked])
print("stride 4:", [int(times) for times in torch.tensor(seen_by(4)).sum(dim=0)])
named = {f"{place} {word}": times for place, (word, times) in enumerate(zip(words, asked.tolist(), strict=True))}
bars(named, y="times", digits=0, title="Stride 1: how often each token is asked for in one pass")

# %% [markdown]
# With stride 1 a token in the middle is asked for `4` times, after one, two, three and four known tokens. It is not
# four times as much text: the model sees the same answers again and begins to know them by heart. Vidro, like most,
# cuts without overlap and goes over the text several times instead. One such pass is an *epoch*.
#
# ## Batches
#
# Several windows are computed side by side, as a *batch*: B windows of T tokens are a table [B, T]. They are drawn in
# random order, so that one step does not see a single scene of the book only.

# %%
x, y = windows(ids, length=2, stride=2)
for number, (inputs, targets) in enumerate(batches(x, y, batch_size=2, seed=1), start=1):
    print(f"batch {number}: x {list(torch.tensor(inputs).shape)} {inputs}")
    print(f"         y {list(torch.tensor(targets).shape)} {targets}")

# %% [markdown]
# Five windows make two batches of two, and one is left over. The order comes from a seed: who trains again with the
# same seed gets the same batches, and can compare.
#
# ## Another cut each time
#
# The first token of a window has nothing before it: its question is the hardest. Were the text cut at the same places
# in each epoch, it would be the same tokens that always stand there. So the text is taken as a circle, and each epoch
# begins at another place.

# %%
for epoch, offset in enumerate((0, 5, 7), start=1):
    x, _ = one_epoch(ids, length=4, offset=offset)
    print(f"epoch {epoch}:", [dictionary[row[0]] for row in x], "stand first")

# %% [markdown]
# `vidro.data.windows` does this for texts larger than memory: it computes where each window lies and keeps none.
#
# One thing comes before all of this. The text for *validation*, on which the model is only tested, is set apart before
# windows are cut. Cut first and deal out afterwards, and overlapping windows would carry the test into the training.
#
# ## Try
#
# Change `length` to 11 in the first call of `windows`: there is one window. Change it to 12, and there is none, though
# the text has twelve tokens (and `x[0]` fails). `vidro pretrain` says it in words when a text is too short.
#
# Then write it yourself: `vidro learn stub windows > mine.py`, and `vidro learn check windows mine.py`.
#
# ## Next
#
# Here all ids stood in a list, and so did the windows. A text of a million books fits into no list and no memory.
# `vidro learn shards` leaves it on the disk.
