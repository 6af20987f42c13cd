# %% [markdown]
# # Attention today
#
# The attention of `vidro learn attention-4` is that of GPT-2, from 2019. Four things have changed in most models since,
# each because something was missing. We look at them one by one, and at the end put them together.

# %%
import torch

from vidro.config.presets import preset
from vidro.config.schema import ModelConfig
from vidro.learn.attention_4 import MultiHeadAttention
from vidro.learn.attention_5 import Memory, ModernAttention, look_back, speeds, turn
from vidro.learn.figures import curves, heat, points
from vidro.model.attention import Attention
from vidro.model.count import count
from vidro.model.positions import rotary_tables

torch.manual_seed(0)
old = MultiHeadAttention(d_in=8, d_out=8, context_length=6, n_heads=2, dropout=0.0)
text = torch.randn(1, 6, 8)
shuffled = text[:, [3, 0, 4, 1, 2, 5]]  # the last token stays the last
moved = (old(text)[:, -1] - old(shuffled)[:, -1]).abs().max().item()
print(f"the other tokens in another order: the last one's result moves by {moved:.3f}")

# %% [markdown]
# ## 1. Order: queries and keys are turned
#
# The last token cannot tell in which order the others came: a mixture has no order. GPT-2 adds a learned row for each
# place to each token (`vidro learn embeddings`). What matters, though, is mostly how far apart two tokens are, and that
# can be built in. Take a query and a key as arrows, and turn each by an angle that grows with its place (Su et al.
# 2021). The length stays, the direction says where:

# %%
arrow = torch.tensor([[1.0, 0.0]])
turned = {f"place {place}": turn(arrow, torch.tensor([place]))[0] for place in range(4)}
for name, tip in turned.items():
    print(name, [round(number, 2) for number in tip.tolist()])
points(turned, arrows=True, title="The same arrow at four places: 1 radian (57 degrees) more at each")

# %% [markdown]
# Two arrows that are turned alike keep the angle between them, and with it their dot product. So a score depends on the
# distance between two places and not on the places:

# %%
places = torch.arange(8)
eight = turn(arrow.expand(8, 2), places)
for here, there in ((3, 1), (7, 5)):
    print(f"query at place {here}, key at place {there}: score {(eight[here] @ eight[there]).item():.2f}")
names = [str(place) for place in places.tolist()]
heat(eight @ eight.T, rows=names, columns=names, digits=1, title="Scores of equal arrows: the same along diagonals")

# %% [markdown]
# A pair of numbers that goes once round in about six places cannot tell a distance of 0 from one of 6. So the numbers
# of a head are taken by twos, and each pair turns more slowly than the one before: fast ones for neighbours, slow ones
# for far away.

# %%
print("radians per place:", [round(speed, 3) for speed in speeds(8).tolist()])
distances = torch.arange(0, 60)
waves = (distances[:, None] * speeds(8)).cos()
curves(
    {f"pair {pair + 1}": (distances, waves[:, pair]) for pair in range(3)},
    x="distance between query and key",
    y="score of two equal arrows",
    title="Fast pairs see neighbours, slow pairs see far",
)

# %% [markdown]
# ## 2. Memory: heads share keys and values
#
# While a model writes, it keeps the keys and values of all tokens so far (point 4). That is much to keep. So several
# query heads use one key head and one value head (Ainslie et al. 2023). In Llama 3.2 1B, with the longest text it can
# take, at 2 bytes a number:

# %%
llama = preset("llama-3.2-1b")
for n_kv_heads in (llama.n_heads, llama.n_kv_heads):
    kept = 2 * llama.n_layers * n_kv_heads * llama.d_head * 2  # keys and values, 2 bytes each
    print(f"{n_kv_heads:2} key/value heads: {kept:,} bytes a token, {kept * llama.context_length / 1e9:.1f} GB in all")
print("as vidro.model.count says:", f"{count(llama).kv_bytes_per_token // 2:,} bytes")
query, key, value = torch.randn(1, 6, 5, 4), torch.randn(1, 2, 5, 4), torch.randn(1, 2, 5, 4)
print("query", list(query.shape), "key", list(key.shape), "→", list(look_back(query, key, value).shape))

# %% [markdown]
# `17.2` GB become `4.3`. With 6 query heads and 2 key heads, heads 1 to 3 use the first pair and 4 to 6 the second.
#
# ## 3. Scores that cannot run away
#
# A matrix that grows while training makes queries longer, scores larger and shares harder. To stop that, each query and
# key is brought to one length first: divided by the root of the mean of its squares (QK-norm, Henry et al. 2020; this
# way of dividing is called RMSNorm, Zhang & Sennrich 2019).

# %%
rows = torch.randn(4, 16)
norm = torch.nn.RMSNorm(16)
for grown in (1, 10, 100):
    plain, normed = (grown * rows) @ (grown * rows).T / 4, norm(grown * rows) @ norm(grown * rows).T / 4
    print(f"weights × {grown:3}: largest score {plain.max().item():8.0f}, normed {normed.max().item():.0f}")

# %% [markdown]
# Without the norm the score grows with the square. With it, it stays at `4`, the root of the width 16.
#
# ## 4. A memory of keys and values
#
# A new token changes nothing for those before it, since nobody looks ahead. So their keys and values can be kept, and
# only the new token's are computed. The result must be the same:

# %%
attention = ModernAttention(d_model=8, n_heads=4, n_kv_heads=2)
at_once, memory = attention(text), Memory()
one_by_one = torch.cat([attention(text[:, place : place + 1], memory) for place in range(6)], dim=1)
print(f"largest difference: {(one_by_one - at_once).abs().max().item():.5f}; remembered: {len(memory)} tokens")
print("keys and values made with memory:", 6, " without:", sum(range(1, 7)))

# %% [markdown]
# For `6` tokens that saves little. For 1,000 it is 1,000 instead of half a million: `vidro learn kv-cache`.
#
# ## Together
#
# All four make the attention that `vidro pretrain` trains (the family qwen3). The same weights in both give the same:

# %%
config = ModelConfig(
    family="qwen3", vocab_size=1, context_length=6, d_model=8, n_layers=1, n_heads=4, n_kv_heads=2, d_head=2, d_ff=8
)
production = Attention(config, layer=0)
pairs = {"W_query": "q_proj", "W_key": "k_proj", "W_value": "v_proj", "out_proj": "o_proj"}
for mine, theirs in (pairs | {"query_norm": "q_norm", "key_norm": "k_norm"}).items():
    production.get_submodule(theirs).load_state_dict(attention.get_submodule(mine).state_dict())
cos, sin = rotary_tables(config)
difference = (production(text, (cos[None, :, None], sin[None, :, None])) - at_once).abs().max().item()
print(f"largest difference to vidro.model.attention: {difference:.5f}")

# %% [markdown]
# ## Try
#
# In the first cell, shuffle for `ModernAttention(8, 2, 2)` instead of `old`: now the last token's result moves.
#
# Then write turning, sharing and the memory's mask: `vidro learn stub attention-5 > mine.py`, and
# `vidro learn check attention-5 mine.py`.
#
# ## Next
#
# A block has a second half, where each token is by itself. Before it come two small things that it needs, and the first
# is `vidro learn layer-norm`.
