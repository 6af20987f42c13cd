# %% [markdown]
# # Attention that learns
#
# In `vidro learn attention-1` a token found its like, and a verb could not find its subject. Nothing could be learned,
# because there were no weights.
#
# Here each token is seen in three ways, by three matrices. Its *query* is what it looks for, its *key* is what it can
# be found by, its *value* is what it hands over when it is found (Vaswani et al. 2017).

# %%
import torch

from vidro.learn.attention_1 import shares
from vidro.learn.attention_2 import SelfAttention
from vidro.learn.figures import curves, heat

words = ["two", "cats", "often", "sleep"]
noun, verb, other = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
meaning = torch.tensor([[0.2], [0.9], [-0.3], [0.5]])
x = torch.cat((torch.tensor([other, noun, other, verb]), meaning), dim=1)
print("x", list(x.shape), "= 4 tokens; numbers: noun? verb? other? and a meaning")
print("by likeness, sleep looks at:", [round(share, 2) for share in shares(x)[3].tolist()])

# %% [markdown]
# By likeness, "sleep" takes half from itself and only `0.22` from "cats", not much more than from the other two.
#
# ## Three matrices, chosen by hand
#
# A matrix turns a row of 4 numbers into a row of as many as it has outputs, each a dot product with a row of weights.
# We choose a query and a key of 1 number:
#
# - the query reads "am I a verb?", loudly (times 4);
# - the key reads "am I a noun?";
# - the value reads the meaning.

# %%
attention = SelfAttention(d_in=4, d_out=1)
attention.set_weights(query=[[0.0, 4.0, 0.0, 0.0]], key=[[1.0, 0.0, 0.0, 0.0]], value=[[0.0, 0.0, 0.0, 1.0]])
query, key, value = attention.W_query(x), attention.W_key(x), attention.W_value(x)
print("query", list(query.shape), query.flatten().tolist())
print("key  ", list(key.shape), key.flatten().tolist())
print("value", list(value.shape), [round(number, 2) for number in value.flatten().tolist()])
heat(attention.scores(x).softmax(dim=-1), rows=words, columns=words, title="Query meets key: sleep looks at cats")

# %% [markdown]
# "sleep" asks with `4.0`, "cats" answers with `1.0`: the score is their product, and the share of "cats" is large. The
# other three ask nothing (`0.0`), so they look everywhere alike, a quarter each. What each token gets is the values,
# mixed in these shares:

# %%
result = attention(x)
print("result", list(result.shape), [round(number, 2) for number in result.flatten().tolist()])
print(f"share of cats: {attention.scores(x).softmax(dim=-1)[3, 1].item():.2f}")

# %% [markdown]
# "sleep" now carries `0.86`: nearly the `0.9` of the cats, with a little of everybody else. It knows who sleeps.
#
# ## Why the scores are divided by √d
#
# The longer queries and keys are, the larger their dot products. Here are rows of d random numbers, each about 1 in
# size, and how large (in the mean square) their dot products are:

# %%
dice = torch.Generator().manual_seed(0)
widths = [1, 4, 16, 64, 256]
sizes = []
for width in widths:
    rows, others = torch.randn(2, 4000, width, generator=dice)
    sizes.append((rows * others).sum(dim=1).square().mean().sqrt().item())
    print(f"width {width:3}: dot products of about {sizes[-1]:4.1f}, divided by √{width}: {sizes[-1] / width**0.5:.1f}")
loud, quiet = torch.tensor([16.0, 8.0, 0.0]), torch.tensor([1.0, 0.5, 0.0])
print("shares of scores 16, 8, 0:", [round(share, 2) for share in loud.softmax(dim=0).tolist()])
print("divided by 16:            ", [round(share, 2) for share in quiet.softmax(dim=0).tolist()])
divided = [size / width**0.5 for size, width in zip(sizes, widths, strict=True)]
curves(
    {"as they are": (widths, sizes), "divided by √d": (widths, divided)},
    x="width d of query and key",
    y="size of a dot product",
    title="Dot products grow with the width; divided by its root they do not",
)

# %% [markdown]
# At width `256` scores differ by `16` and more, and softmax of such scores gives everything to one token. Its shares
# are then nearly 1 and 0, and hardly move when a weight moves. So training cannot feel which way is better. Divided by
# the root of the width, scores stay about 1 in size, whatever the width.
#
# ## Learned instead of chosen
#
# Nobody sets these weights by hand. We make small sentences of four tokens in any order, one of them a noun, and ask
# that every token comes out with the meaning of the noun. The weights begin at random; after each batch of 64 sentences
# every weight is moved a little to where the error becomes smaller (`vidro learn training` is about this).

# %%
kinds = torch.tensor([noun, verb, other, other])


def sentences(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sentences [count, 4, 4] with random order and meanings, and the meaning of the noun of each."""
    order = torch.rand(count, 4, generator=dice).argsort(dim=1)
    meanings = torch.randn(count, 4, 1, generator=dice)
    kind = kinds[order]
    return torch.cat((kind, meanings), dim=2), (meanings * kind[:, :, :1]).sum(dim=1, keepdim=True)


torch.manual_seed(0)
learner = SelfAttention(d_in=4, d_out=1)
optimizer = torch.optim.Adam(learner.parameters(), lr=0.05)
errors = []
for step in range(151):
    batch, wanted = sentences(64)
    error = (learner(batch) - wanted).square().mean()
    optimizer.zero_grad()
    error.backward()
    optimizer.step()
    errors.append(error.item())
    if step % 50 == 0:
        print(f"step {step:3}: mean squared error {error.item():.1f}")
curves({"error": (range(151), errors)}, x="step", y="mean squared error", title="It finds out what to look for")

# %%
found = learner.scores(x).softmax(dim=-1)
heat(found, rows=words, columns=words, title="What it looks at now, in a sentence that it never saw")

# %% [markdown]
# All four rows look at "cats". Nobody told it that there are nouns: it was told only how wrong its answers were.
#
# ## Try
#
# In `sentences`, ask for the meaning of the verb instead: `kind[:, :, 1:2]`. Nothing else changes, and the column of
# "sleep" becomes dark. The weights are what you ask for.
#
# Then write it yourself: `vidro learn stub attention-2 > mine.py`, and `vidro learn check attention-2 mine.py`. Raw
# parameters or `nn.Linear`, both are welcome.
#
# ## Next
#
# Every token saw the whole sentence. A model that is to guess the next word must not see it: `vidro learn attention-3`.
