# %% [markdown]
# # Block and model
#
# All the parts have been seen: embeddings, attention in heads, layer normalisation, feed-forward, shortcuts. None of
# them writes a word by itself. Here they become a model: ids of tokens go in, and a score for every possible next token
# comes out. It is GPT-2 (Radford et al. 2019), only smaller; and then as large as GPT-2.

# %%
import math
from dataclasses import replace

import torch

from vidro.config.presets import preset
from vidro.learn.block import GPT, Block, n_parameters, same_as
from vidro.learn.figures import bars, heat
from vidro.model.count import count
from vidro.model.transformer import Transformer

torch.manual_seed(0)
model = GPT(vocab_size=100, context_length=8, d_model=32, n_layers=3, n_heads=4).eval()
ids = torch.tensor([[17, 4, 99, 4, 23, 61]])
print("ids", list(ids.shape), "= 1 text of 6 tokens")

# %% [markdown]
# ## The way of six tokens
#
# Each token becomes a row of 32 numbers, and its place adds 32 more. Then three blocks; then a norm; then the *head*,
# a matrix that compares the last row with all 100 tokens. Its results are called *logits*.

# %%
x = model.token_embedding(ids) + model.place_embedding(torch.arange(6))
print("embedded    ", list(x.shape))
for place, block in enumerate(model.blocks):
    assert isinstance(block, Block)
    x = x + block.attention(block.norm_1(x))  # tokens exchange
    x = x + block.feedforward(block.norm_2(x))  # each thinks for itself
    print(f"block {place + 1}     ", list(x.shape))
logits = model.head(model.final_norm(x))
print("logits      ", list(logits.shape), "= for each of 6 tokens, a score for each of 100 that may follow")
print(f"difference to model(ids): {(logits - model(ids)).abs().max().item():.6f}")

# %% [markdown]
# Those two lines are all there is to a block: `x + attention(norm(x))`, then `x + feedforward(norm(x))`. The shape
# never changes, so blocks can be stacked as high as one likes.
#
# ## What it says before it has learned
#
# Softmax turns the last row of logits into chances. The weights are random, so the model can know nothing: each of the
# 100 tokens should be about equally likely. The *loss*, which measures its surprise at the tokens that do follow, is
# then about ln 100 (`vidro learn surprise`). A first loss far from that is the first sign of a mistake.

# %%
chances = logits[0, -1].softmax(dim=-1)
loss = torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:]).item()
print(f"chances from {chances.min().item():.3f} to {chances.max().item():.3f}; equal would be {1 / 100:.3f}")
print(f"loss {loss:.1f}, ln 100 = {math.log(100):.1f}")

# %% [markdown]
# ## Who can influence whom
#
# We change one token (column) and see which rows of logits move (row). This must be a triangle: no row may know
# what comes after it. And it must be a full one: every earlier token counts.

# %%
influence = torch.zeros(6, 6)
with torch.no_grad():
    for place in range(6):
        changed = ids.clone()
        changed[0, place] = 50
        influence[:, place] = (model(changed) - model(ids))[0].abs().amax(dim=-1)
later = influence.triu(diagonal=1).max().item()
print(f"most that any row moved because of a later token: {later:.6f}")
order = [f"token {place + 1}" for place in range(6)]
heat(influence, rows=order, columns=order, digits=1, title="How much logits (row) move when a token (column) changes")

# %% [markdown]
# A token matters most to its own row, and there is nothing above the diagonal.
#
# ## As large as GPT-2
#
# The smallest GPT-2 has these sizes. We build it on the device "meta", which knows shapes and holds no numbers.


# %%
def smallest(*, bias: bool = False, tied: bool = False) -> GPT:
    """As wide and deep as the smallest GPT-2."""
    with torch.device("meta"):
        return GPT(vocab_size=50257, context_length=1024, d_model=768, n_layers=12, n_heads=12, bias=bias, tied=tied)


openai = smallest(bias=True, tied=True)
print(f"with a head of its own:             {n_parameters(smallest()):,}")
print(f"head and embedding one matrix:      {n_parameters(smallest(tied=True)):,}")
print(f"and biases for query, key, value:   {n_parameters(openai):,}")
print(f"vidro.model.count for GPT-2:        {count(preset('gpt2')).n_parameters:,}")

# %% [markdown]
# Three numbers, one shape. The book builds it with a head of its own and without biases in query, key and value:
# `163,009,536` parameters. OpenAI's weights use the token embedding as head (*tied*) and have those biases:
# `124,439,808`, the "124M" that the model is called by. Where do they all sit?

# %%
block = openai.blocks[0]
assert isinstance(block, Block)
parts = {
    "tokens": n_parameters(openai.token_embedding),
    "places": n_parameters(openai.place_embedding),
    "attention": 12 * n_parameters(block.attention),
    "feed-forward": 12 * n_parameters(block.feedforward),
    "norms": 12 * n_parameters(block.norm_1) + 12 * n_parameters(block.norm_2) + n_parameters(openai.final_norm),
}
print(f"sum: {sum(parts.values()):,}")
print(f"one block: attention {n_parameters(block.attention):,}, feed-forward {n_parameters(block.feedforward):,}")
millions = {name: number / 1e6 for name, number in parts.items()}
bars(millions, y="million parameters", digits=2, title="Where the 124 million numbers sit")

# %% [markdown]
# Two thirds of each block are feed-forward, where facts live. With width d a block has about 12 · d² weights: 4 · d²
# for the four matrices of attention, 8 · d² for the two of feed-forward. Blocks times width squared is what makes a
# model large:

# %%
family = [preset(name) for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")]
for config in family:
    rule = 12 * config.n_layers * config.d_model**2 / 1e6
    total = count(config).n_parameters / 1e6
    print(f"{config.n_layers:2} blocks of {config.d_model:4}: {total:5.0f} million, in the blocks about {rule:5.0f}")

# %% [markdown]
# ## The same as production
#
# `vidro.model.transformer` is one class for three families. With the weights of our model it gives the same logits:

# %%
small = replace(preset("gpt2"), vocab_size=100, context_length=8, d_model=32, n_layers=3, n_heads=4, n_kv_heads=4,
                d_head=8, d_ff=128)  # fmt: skip
production = Transformer(small).eval()
difference = (same_as(production)(ids) - production(ids)).abs().max().item()
print(f"largest difference in {production(ids).numel()} logits: {difference:.5f}")

# %% [markdown]
# ## Try
#
# Leave `model.place_embedding(...)` out of the sum in the second cell. Token 4 stands twice in the text, at the second
# and the fourth place. What else still tells the two rows apart? (Ask `vidro learn attention-3`.)
#
# Then put the model together yourself: `vidro learn stub block > mine.py`, and `vidro learn check block mine.py`. And
# when it stands, `vidro check mine.py:GPT` looks for the mistakes that others made.
#
# ## Next
#
# A row of scores is no text yet. `vidro learn generating` takes the last row, chooses a token, and goes round again.
