# %% [markdown]
# # Texts larger than memory
#
# `vidro learn windows` cut a text that stood in a list. A novel fits into a list. What large models read does not:
# *Dolma*, an open collection of web pages, books, papers and code, has three trillion tokens (Soldaini et al. 2024).

# %%
import gzip
import sys
import tempfile
from pathlib import Path

import numpy as np

from vidro.data import tinyworld
from vidro.learn.bpe import train
from vidro.learn.figures import bars, heat
from vidro.learn.shards import files_of, make, read_documents, shuffled, window, write_documents

n_tokens = 3_000_000_000_000
bytes_a_token = {"list of Python": 8 + sys.getsizeof(50_000), "text": 4, "ids of 4 bytes": 4, "ids of 2 bytes": 2}
terabytes = {what: n_tokens * size / 1e12 for what, size in bytes_a_token.items()}
for what, size in terabytes.items():
    print(f"{what:15}{bytes_a_token[what]:3} bytes a token {size:6.0f} TB")
bars(terabytes, y="terabytes", digits=0, title="Three trillion tokens")

# %% [markdown]
# In a list, Python keeps an object of 28 bytes for each number, and 8 bytes that say where it lies. English is about
# 4 bytes a token when the vocabulary is large. And GPT-2 has 50,257 ids: each fits into two bytes, which count up to
# 65,535. So `6` terabytes are enough, half of what the text takes. That is a few hard disks, but it is no memory.
#
# ## Documents
#
# Dolma comes as files of one document a line. A line is JSON with an `id`, the `text` and its `source`, and the files
# are packed by gzip. We write three small ones of the same form, with stories of the village.

# %%
work = Path(tempfile.mkdtemp())
sources = [work / f"stories-{number}.jsonl.gz" for number in range(3)]
for number, source in enumerate(sources):
    write_documents(source, tinyworld.stories(seed=number, n_bytes=6_000), name=source.name.partition(".")[0])
with gzip.open(sources[0], "rt", encoding="utf-8") as lines:
    print(lines.readline()[:100], "…")

# %% [markdown]
# ## One file in, one file out
#
# Tokens are made once and used in every training. Document after document is read, cut into tokens, and written: two
# bytes for each id, and after each document the id that says *end of text*. A second file keeps where each document
# ends. Only one document is in memory at a time.

# %%
bpe = train(read_documents(sources[0]), n_merges=150)
end = 256 + len(bpe.merges)  # the first free id
shards = work / "shards"
shards.mkdir()
for source in sources:
    make(source, shards, bpe.encode, end)
    tokens, ends, _ = files_of(source, shards)
    places = np.fromfile(ends, dtype="<u8")
    print(f"{tokens.name}: {tokens.stat().st_size:,} bytes, documents end at {places.tolist()}")

# %% [markdown]
# The last place is the number of tokens, `3,098` in the first file, and its size is twice that, `6,196` bytes. We look
# into it. Of each id the low byte stands first (*little-endian*), so the bytes `54, 1` are 54 + 256 · 1 = `310`.

# %%
first = files_of(sources[0], shards)[0].read_bytes()[:12]
ids = np.frombuffer(first, dtype="<u2").tolist()
print(f"bytes: {list(first)}\nids:   {ids}\ntext:  {bpe.decode(ids)!r}")

# %% [markdown]
# One file makes one shard, and no other file matters to it. So several machines share the files out and need not speak
# to each other; and what is there is left alone, so that after a stop the same command is given again.
#
# For this a half-written shard must never look like a whole one. A small record is taken away first, and written last:
# a checksum of the file that the tokens were made from.

# %%
made = [make(source, shards, bpe.encode, end) for source in sources]
print(f"{sum(made)} shards made: all are there")
files_of(sources[1], shards)[2].unlink()  # as a machine leaves it that is switched off half-way
made = [make(source, shards, bpe.encode, end) for source in sources]
print(f"{sum(made)} shard made: one had no record")

# %% [markdown]
# ## A window from the middle
#
# Token number k begins at byte 2 · k. To have eight tokens from the middle, one jumps there and reads sixteen bytes.
# The rest of the file stays where it is, however large it is.

# %%
tokens, _, _ = files_of(sources[2], shards)
with tokens.open("rb") as file:
    file.seek(2 * 1_000)
    sixteen = file.read(2 * 8)
print(np.frombuffer(sixteen, dtype="<u2").tolist(), "by hand")
mapped = np.memmap(tokens, dtype="<u2", mode="r")
print(mapped[1_000:1_008].tolist(), "from a memory map")

# %% [markdown]
# A *memory map* does the jumping. It looks like an array, and is a file: where it is touched, the system reads a page
# of it or a few (4,096 bytes each on most machines), and lets go of them when it needs the memory. `window` takes
# several maps as one long row, because windows do not care where a file ends:

# %%
paths = [files_of(source, shards)[0] for source in sources]
border = paths[0].stat().st_size // 2
across = window(paths, border - 5, 12)
print(across, [bpe.decode([number]) if number != end else "<end>" for number in across])

# %% [markdown]
# ## An order that nobody has to store
#
# Windows are read in random order. `vidro learn windows` shuffled a list of all their numbers. Here this list would be
# large, only to know what comes next, and a training that goes on after a stop would need it again.
#
# Better is a *function*: place in the order goes in, number of the block comes out. It must look random and never give
# the same block twice. Cipher makers know how. The number is cut into two halves of as many bits; one half is changed
# by a scrambled copy of the other, then they change sides:

# %%
n_blocks = n_tokens // 2_048  # windows of 2,048 tokens
print(f"{n_blocks:,} blocks, a list of {8 * n_blocks / 1e9:.1f} GB")
for i in range(4):
    once, twice = shuffled(i, n=16, seed=1, rounds=1), shuffled(i, n=16, seed=1, rounds=2)
    print(f"{i} = {i:04b} → {once:04b} → {twice:04b} … → {shuffled(i, n=16, seed=1):2}")

# %% [markdown]
# In one round, the right half moves to the left as it is. So the round can be undone: scramble that half once more, and
# it says how the other one was changed. What can be undone never makes one number of two. Six such rounds look random
# (a *Feistel network*; Luby and Rackoff 1988). Seed and epoch are a key to the scrambling, so each epoch has its own
# order. And two halves of 2 bits count to 15: with 12 blocks, a 13 goes through again, until it is below 12.

# %%
orders = [[shuffled(i, 12, seed=1, epoch=epoch) for i in range(12)] for epoch in range(3)]
print("each block once in each epoch:", all(sorted(order) == list(range(12)) for order in orders))
print("the first blocks of three trillion tokens:", [shuffled(i, n_blocks, seed=1) for i in range(4)])
heat(orders, rows=[f"epoch {epoch}" for epoch in range(3)], columns=[str(i + 1) for i in range(12)], digits=0,
     title="Which of 12 blocks is read first, second, …")  # fmt: skip

# %% [markdown]
# No list was made, and to go on after a stop one number is kept: how many blocks were read.
#
# ## How long does it take?
#
# `vidro data prepare` made tokens of 17.3 MB a second on two cores (`benchmarks/RESULTS.md`), and the smallest model of
# `vidro learn experiment scaling` learned from 3,180 a second on a busy computer.

# %%
hours = n_tokens * 4 / 17.3e6 / 3_600
print(f"tokens: {hours:.0f} hours on one machine, {hours / 100:.1f} on a hundred")
print(f"one epoch of that model: {n_tokens / 3_180 / 3_600 / 24 / 365:.0f} years")

# %% [markdown]
# So the tokens can be made at home, in eight days. Learning from them is what data centres are built for. The tools are
# the same: `vidro data prepare FOLDER --tokenizer T --out tokens` makes shards (with `--shard 0/100` every hundredth
# file), and `vidro pretrain tokens --tokenizer tokens` reads them.
#
# ## Try
#
# Where the figure is made, give `shuffled` one round (`rounds=1`), then 2 and 3. When does the order look random?
#
# Then write it yourself: `vidro learn stub shards --out mine.py`, and `vidro learn check shards mine.py`.
#
# ## Next
#
# However long the text is, a model gets a table [B, T] of ids, and ids are names: 7 is not more than 3.
# `vidro learn embeddings` gives each of them numbers that mean something.
