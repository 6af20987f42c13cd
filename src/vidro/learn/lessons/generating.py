# %% [markdown]
# # Generating
#
# The model of `vidro learn block` gives a score for every token that might come next. It writes nothing. A text comes
# out only when something takes a token by its score, puts it behind the text, and asks again.
#
# For this we need a model that has learned something. Here is a small one, and five sentences that it learns nearly by
# heart. How that works is told in `vidro learn training`; take this cell as it is.

# %%
import torch
from torch.nn.functional import cross_entropy

from vidro.learn.block import GPT
from vidro.learn.figures import bars
from vidro.learn.generating import generate, next_logits, visible

story = """the cat sleeps in the kitchen and the dog sleeps in the yard .
the miller has a cat and the baker has a dog . the cat sees a mouse and runs
to the barn . the dog sees a cat and runs to the river . the baker goes to
the mill and the miller goes to the bakery ."""
text = story.split()
words: list[str] = sorted(set(text))
ids = torch.tensor([words.index(word) for word in text])

torch.manual_seed(0)
context_length = 16
model = GPT(len(words), context_length, d_model=32, n_layers=2, n_heads=4)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
circle = torch.cat((ids, ids))
for _ in range(100):
    starts = torch.randint(len(ids), (16,)).tolist()
    rows = torch.stack([circle[start : start + context_length + 1] for start in starts])
    logits = model(rows[:, :-1])
    loss = cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
_ = model.eval()
print(len(ids), "tokens,", len(words), "different ones")

# %% [markdown]
# ## One token, step by step
#
# Words become ids. Ids become rows of numbers, and the place is added. The blocks let the rows exchange. The head makes
# scores of each row, the logits.

# %%
prompt = ["the", "dog"]
known = torch.tensor([[words.index(word) for word in prompt]])
print("1  words      ", prompt)
print("2  ids        ", known[0].tolist())
with torch.no_grad():
    x = model.token_embedding(known) + model.place_embedding(torch.arange(2))
    print("3  rows       ", list(x.shape), "token + place")
    for block in model.blocks:
        x = block(x)
    print("4  rows       ", list(x.shape), "after the blocks")
    logits = model.head(model.final_norm(x))
print("5  logits     ", list(logits.shape), len(words), "scores for each of two places")
last = logits[0, -1]
print("6  last row   ", list(last.shape), "what comes after the whole text")

# %% [markdown]
# Only the last row is needed. The row before it says what comes after "the" alone, and that we know already. (While
# training every row is needed: each is a question.)
#
# Softmax turns the scores into probabilities: all above 0, together 1.

# %%
probabilities = last.softmax(dim=-1)
best = probabilities.topk(6).indices.tolist()
chances = {words[place]: probabilities[place].item() for place in best}
chosen = int(last.argmax())
print("7  highest    ", f"id {chosen}")
print("8  its word   ", words[chosen])
bars(chances, y="probability", title="What may follow “the dog”: six words")

# %% [markdown]
# In the text "the dog" stands twice. Once it "sleeps", once it "sees", so both are likely. The highest is taken, and
# the other is lost. This is called *greedy*. (Softmax did not change which is the highest: to choose greedily, the
# logits are enough.)
#
# ## And round again
#
# The word is put behind the text, and the longer text goes in. What comes out becomes what goes in: the model is
# *autoregressive*.

# %%
so_far: list[str] = list(prompt)
for step in range(1, 8):
    scores = next_logits(model, [words.index(word) for word in so_far], context_length)
    word = words[int(scores.argmax())]
    print(f"{step}  {' '.join(so_far)} → {word}")
    so_far.append(word)

# %% [markdown]
# This loop is `generate` in `vidro.learn.generating`. It writes sentences that it has read, and now and then one that
# it has not: no baker runs in the text.


# %%
def continued(prompt: str, n_tokens: int, end: str | None = None) -> str:
    """The prompt in words, and what the model makes of it."""
    known = [words.index(word) for word in prompt.split()]
    end_id = None if end is None else words.index(end)
    made = generate(model, known, n_tokens, context_length, end_id=end_id)
    return f"{prompt} → {' '.join(words[number] for number in made)}"


for start in ("the baker runs", "the miller has", "the yard"):
    print(continued(start, 6))

# %% [markdown]
# ## Where it ends
#
# Nothing in the model says "stop". Either we count tokens, or there is a token that means the end. Here the full stop
# can serve. A real model has a token of its own for it, `<|endoftext|>`, and has learned where it stands.

# %%
print(continued("the cat sees", 12))
print(continued("the cat sees", 12, end="."))

# %% [markdown]
# ## What it still sees
#
# The model has places for 16 tokens. Of a longer text it gets the last 16, and the beginning is forgotten. So it can
# write on for ever, but not remember for ever.

# %%
long = list(range(20))
seen = visible(long, context_length)
print(f"of {len(long)} tokens it sees {len(seen)}: number {seen[0]} to {seen[-1]}")
made = generate(model, [words.index("the")], 130, context_length)
same = made == generate(model, [words.index("the")], 130, context_length)
print(f"asked twice, it writes the same: {same}")
stretches = [tuple(made[start : start + 16]) for start in range(115)]
print(f"{len(stretches)} stretches of 16 tokens, {len(set(stretches))} different ones")

# %% [markdown]
# Greedy has no chance in it: the same beginning, the same text, always. And once the model sees a stretch that it has
# seen before, it must go on as before. It walks in a circle. Large models do too, when they are greedy (Holtzman et al.
# 2020). The way out is to draw among the likely tokens instead of taking the first: `vidro learn sampling`.
#
# ## Try
#
# Train for 20 steps instead of 100, then for 300. After few steps it repeats the commonest words; after many it knows
# the text and hardly anything else.
#
# Then write the loop yourself: `vidro learn stub generating --out mine.py`, and `vidro learn check generating mine.py`.
#
# ## Next
#
# For the hundredth token, 99 went through the model that had been there before. `vidro learn kv-cache` keeps what it
# computed for them.
