# %% [markdown]
# # The cache of keys and values
#
# `vidro learn generating` sends the whole text through the model for every new token. Most of that work has been done
# before. This lesson finds out which part, and keeps it.

# %%
from copy import deepcopy

import torch

from vidro.config.presets import preset
from vidro.learn.attention_4 import MultiHeadAttention
from vidro.learn.attention_5 import Memory
from vidro.learn.block import GPT
from vidro.learn.figures import curves
from vidro.learn.generating import generate
from vidro.learn.kv_cache import Reader, attend, bytes_per_token, slid, tokens_computed
from vidro.learn.kv_cache import generate as generate_with_cache
from vidro.model.count import count

torch.manual_seed(0)
model = GPT(vocab_size=50, context_length=12, d_model=16, n_layers=3, n_heads=2).eval()
for weights in model.parameters():  # larger, so that tokens matter
    weights.data *= 1.5
ids = [7, 1, 44, 7, 23, 9]
print("a text of", len(ids), "tokens, and a model of 3 layers")

# %% [markdown]
# ## What does a new token change?
#
# We read five tokens, then the same five and a sixth. After each layer there is a row of numbers for every token. How
# far has each row moved?


# %%
@torch.no_grad()
def after_each_layer(ids: list[int]) -> list[torch.Tensor]:
    """The rows of all tokens, as embedded and after each block."""
    places = torch.arange(len(ids))
    rows = [model.token_embedding(torch.tensor([ids])) + model.place_embedding(places)]
    for block in model.blocks:
        rows.append(block(rows[-1]))
    return rows


five, six = after_each_layer(ids[:5]), after_each_layer(ids)
for layer, (before, after) in enumerate(zip(five, six, strict=True)):
    moved = (after[0, :5] - before[0]).abs().amax(dim=-1)
    print(f"after {layer} layers:", [f"{far:.4f}" for far in moved.tolist()])

# %% [markdown]
# By nothing. No token looks ahead (`vidro learn attention-3`), so none of the five can know that there is a sixth. All
# that was computed for them comes out the same again, in each layer.
#
# ## What must be kept?
#
# The sixth token looks back. It compares its *query* with the *keys* of the others and mixes their *values*. Queries of
# the others are not needed any more: what they asked for they have got. So of each token, key and value are kept.

# %%
attention = MultiHeadAttention(16, 16, context_length=12, n_heads=2, dropout=0.0)
x = torch.randn(1, 6, 16)
memory = Memory()
_ = attend(attention, x[:, :5], memory)
last = attend(attention, x[:, 5:], memory)
keys = memory.key if memory.key is not None else x
print("fed now  ", list(x[:, 5:].shape))
print("kept keys", list(keys.shape), "= text, heads, tokens, width")
far = (last - attention(x)[:, 5:]).abs().max().item()
print(f"difference to all six at once: {far:.5f}")

# %% [markdown]
# One such memory for each layer, and the whole model can read a text piece by piece. There are two kinds of pieces. The
# prompt goes in at once (*prefill*); after that each new token goes in alone (a *step*).

# %%
reader = Reader(model)
logits = reader.read(torch.tensor([ids[:4]]))
print("prefill: fed 4 tokens, logits", list(logits.shape))
for token in ids[4:]:
    logits = reader.read(torch.tensor([[token]]))
    kept = len(reader.memories[0])
    print("step:    fed 1 token,  logits", list(logits.shape), "kept:", kept)
with torch.no_grad():
    difference = (logits[0, -1] - model(torch.tensor([ids]))[0, -1]).abs().max().item()
print(f"difference to the whole text at once: {difference:.5f}")

# %% [markdown]
# The work of each pass, a column for each token: ■ is computed, · is kept from before.

# %%
for held, fed in ((0, 4), (4, 1), (5, 1), (6, 1), (7, 1)):
    name = f"step {held - 3} " if held else "prefill"
    print(name, ("· " * held + "■ " * fed).strip())

# %% [markdown]
# ## What it saves
#
# Without a cache the first new token costs one, the second two, and so on. The sum grows with the square of the length.

# %%
lengths = [1, 250, 500, 1000]
without = [tokens_computed(prompt=1, made=n, cached=False) for n in lengths]
with_it = [tokens_computed(prompt=1, made=n, cached=True) for n in lengths]
for n, slow, fast in zip(lengths, without, with_it, strict=True):
    print(f"{n:5} new tokens: {slow:8,} through the model, with the cache {fast:5,}")
curves(
    {"without": (lengths, without), "with the cache": (lengths, with_it)},
    x="new tokens",
    y="tokens through the model",
    title="Work for a text that begins with one token",
)

# %% [markdown]
# For 1,000 tokens it is `500,500` against `1,000`. And the text is the same, token by token:

# %%
plain = generate(model, ids[:2], 10, 12)
print("the same 10 tokens:", plain == generate_with_cache(model, ids[:2], 10, 12))

# %% [markdown]
# ## Its place
#
# A classic mistake: a token that is fed alone is the first of its pass, and gets the embedding of place 0. Nothing
# fails. The text is only worse. Here is the right place, and the wrong one:

# %%
confused = deepcopy(model)  # its place 5 looks like place 0
confused.place_embedding.weight.data[5] = model.place_embedding.weight.data[0]
asked = model(torch.tensor([ids])).detach()[:, -1:]
for name, reader in (("place 5", Reader(model)), ("place 0", Reader(confused))):
    _ = reader.read(torch.tensor([ids[:5]]))
    off = (reader.read(torch.tensor([ids[5:]])) - asked).abs().max().item()
    print(f"the sixth token at {name}: logits off by up to {off:.1f}")

# %% [markdown]
# ## What it costs
#
# Memory: a key and a value in each layer, for each token. The smallest GPT-2 keeps them in 12 layers of 768 numbers:

# %%
gpt2 = preset("gpt2")
each = bytes_per_token(gpt2.n_layers, gpt2.d_model)
full = each * gpt2.context_length / 1e6
print(f"{each:,} bytes a token, {full:.0f} MB for {gpt2.context_length:,} tokens")
print(f"vidro.model.count says {count(gpt2).kv_bytes_per_token:,}")

# %% [markdown]
# `73,728` bytes for one token of four letters. This is why today's models share keys and values among heads
# (`vidro learn attention-5`).
#
# And when the context is full? The oldest token must go, every other one moves a place forward, and none of the kept
# keys is right any more. If one token left at a time, the cache would be useless from then on. So Vidro lets half the
# text go at once, computes the other half anew, and has room again:

# %%
print("13 tokens where 12 have room, kept:", slid(list(range(1, 14)), 12))

# %% [markdown]
# ## Try
#
# Read `ids` in other pieces: `ids[:1]` first, or two tokens at a time. The logits stay the same, however the text is
# cut.
#
# Then write it yourself: `vidro learn stub kv-cache --out mine.py`, and `vidro learn check kv-cache mine.py`.
#
# ## Next
#
# A text comes out, and fast. Is it any good? `vidro learn surprise` begins to measure that.
