# %% [markdown]
# # Embeddings
#
# The windows of `vidro learn windows` hold ids, and an id is a name. Names cannot be multiplied: "cat" is not twice as
# much as "dog" because one is 4 and the other 2. The model needs numbers that can say what a token is *like*.
#
# So each id gets a row of numbers, its *embedding*. Nobody fills them in. They begin at random and are learned.

# %%
from collections import Counter

import torch

from vidro.data import tinyworld
from vidro.learn.embeddings import Embeddings, one_hot
from vidro.learn.figures import heat
from vidro.learn.terminal import grid
from vidro.learn.words import cut

words = ["bites", "dog", "man"]
table = torch.tensor([[0.1, 0.9], [0.8, 0.3], [0.7, 0.2]])
print("table", list(table.shape), "= 3 tokens, 2 numbers each")
print(grid(table, rows=words, digits=1))

# %% [markdown]
# ## Looking up
#
# "man bites dog" is `[2, 0, 1]`, and its embedding is those rows of the table.

# %%
ids = torch.tensor([2, 0, 1])
print(grid(table[ids], rows=[words[number] for number in ids.tolist()], digits=1))

# %% [markdown]
# The same can be had by multiplying. Write each id as a row of zeros with a single 1 at its place (*one-hot*). Times
# the table, everything is multiplied by 0 except the one row.

# %%
print(grid(one_hot(ids, 3), rows=[words[number] for number in ids.tolist()], columns=words, digits=0))
print("equal:", torch.equal(one_hot(ids, 3) @ table, table[ids]))

# %% [markdown]
# So an embedding is a layer like all others, only that nobody carries out the products with 0. GPT-2 has 50,257 tokens
# and 768 numbers each: one row is looked up where 50,257 would be multiplied.
#
# That also shows how it learns. A change of the result changes the rows that were looked up, and no others:

# %%
learned = torch.nn.Parameter(table.clone())
learned[torch.tensor([2, 2])].sum().backward()
print(grid(learned.grad, rows=words, digits=1))

# %% [markdown]
# "man" was asked for twice and gets both gradients; the other rows get `0`. By looking up alone, a token that never
# occurs would keep its random row for ever.
#
# ## Learning what words are like
#
# Now a real table. We take the 300 commonest words of the village's stories and give each 8 random numbers. From them
# the word before and the word after are to be guessed, by a matrix for each. The loss is `cross_entropy`, which later
# lessons explain; here it is enough that it falls when the guesses get better.

# %%
text = [piece for piece in cut(tinyworld.text(0, 120_000).lower()) if piece.isalnum()]
common = [word for word, _ in Counter(text).most_common(300)]
number_of = {word: number for number, word in enumerate(common)}
known = torch.tensor([number_of.get(word, 300) for word in text])  # 300 stands for all rarer words
pairs = torch.zeros(2, 301, 301)
pairs[0].index_put_((known[1:], known[:-1]), torch.tensor(1.0), accumulate=True)  # which word stood before
pairs[1].index_put_((known[:-1], known[1:]), torch.tensor(1.0), accumulate=True)  # which word stood after

dice = torch.Generator().manual_seed(0)
vectors = torch.nn.Parameter(0.1 * torch.randn(301, 8, generator=dice))
guess = torch.nn.Parameter(0.1 * torch.randn(2, 8, 301, generator=dice))
first_vectors = vectors.detach().clone()
adam = torch.optim.Adam([vectors, guess], lr=0.05)
for step in range(101):
    loss = -(pairs * (vectors @ guess).log_softmax(dim=-1)).sum() / pairs.sum()
    if step in (0, 20, 100):
        print(f"step {step:3}: loss {loss.item():.1f}")
    adam.zero_grad()
    loss.backward()
    adam.step()


# %% [markdown]
# Two rows are alike when they point the same way. The *cosine* measures it: 1 for the same direction, 0 for directions
# that have nothing in common, −1 for opposite ones.


# %%
def likeness(rows: torch.Tensor, chosen: list[str]) -> torch.Tensor:
    """The cosine of each chosen word with each."""
    centred = rows - rows.mean(dim=0)
    picked = torch.nn.functional.normalize(centred[[number_of[word] for word in chosen]], dim=1)
    return picked @ picked.T


chosen = ["nora", "ivo", "rosa", "came", "went", "walked", "two", "six", "seven", "on", "in", "at"]
heat(likeness(first_vectors, chosen), rows=chosen, columns=chosen, digits=1, title="Before: chance")

# %%
heat(
    likeness(vectors.detach(), chosen), rows=chosen, columns=chosen, digits=1, title="After: who can stand in for whom"
)

# %% [markdown]
# Four blocks: names, verbs, numbers, places. Nobody said that Nora and Ivo are people, or that six is a number. They
# stand between the same neighbours, and that is all this table can know. Linguists had the idea before computers could
# try it: a word is known by its company (Firth 1957). A language model's table is learned in the same way, only from
# longer contexts.
#
# ## Where a token stands
#
# Something is lost. As a set of rows, these two are the same:

# %%
order, other = torch.tensor([2, 0, 1]), torch.tensor([1, 0, 2])
print("man bites dog, added up:", [f"{value:.1f}" for value in table[order].sum(dim=0).tolist()])
print("dog bites man, added up:", [f"{value:.1f}" for value in table[other].sum(dim=0).tolist()])

# %% [markdown]
# Attention adds up in such a way; it sees no order. So there is a second table, with a row for each *place*, and the
# two rows are added. (GPT-2 does it so. Vaswani et al. 2017 took sines instead of a learned table.)

# %%
embeddings = Embeddings(vocab_size=3, d_model=2, context_length=4)
with torch.no_grad():
    embeddings.token.copy_(table)
    embeddings.position.copy_(torch.tensor([[0.0, 0.0], [0.1, -0.1], [0.2, 0.0], [0.1, 0.1]]))
x = embeddings(torch.stack([order, other])).detach()
print("x", list(x.shape), "= 2 texts, 3 tokens, 2 numbers")
print(grid(x[0], rows=["man 1st", "bites 2nd", "dog 3rd"], digits=1))
print(grid(x[1], rows=["dog 1st", "bites 2nd", "man 3rd"], digits=1))

# %% [markdown]
# "man" in first place is `[0.7, 0.2]` and in third place `[0.9, 0.2]`: the same word, and the model can see where. The
# row of a place is the same in every text.
#
# Why added, and not written behind one another? It keeps the width, and with hundreds of columns there is room for
# both: the model learns to keep the two apart.
#
# ## Try
#
# Change the 8 numbers of each word to 2 (in two places) and run it again. The loss stays higher: in a plane there is
# too little room for names, verbs and the rest to keep out of each other's way.
#
# Then write it yourself: `vidro learn stub embeddings > mine.py`, and `vidro learn check embeddings mine.py`.
#
# ## Next
#
# Now the tokens have numbers. Something must look at them. `vidro learn neuron` is the smallest thing that does.
