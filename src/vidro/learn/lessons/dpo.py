# %% [markdown]
# # Preferences
#
# `vidro learn instructions` shows a model the right answer. For many questions there is no such thing. But people who
# could not write the best answer can still say which of two they like better. Such pairs are enough to learn from.
#
# The way is called *direct preference optimisation*, DPO (Rafailov et al. 2023): make the better answer likelier than
# the worse one, and stay near the model that you had.

# %%
import copy

import torch

from vidro.learn.block import GPT
from vidro.learn.dpo import dpo_loss, log_prob, weight_of
from vidro.learn.figures import curves
from vidro.learn.instructions import collate, mask_prompts
from vidro.learn.training import AdamW

things = ["boat", "soup", "goat", "hat", "lamp", "ring", "cheese", "clock"]
ANSWERS = {
    "plain": "the {} is here .",
    "polite": "dear friend , the {} is here .",
    "rude": "find it yourself .",
}
said = " ".join(answer.format(thing) for thing in things for answer in ANSWERS.values())
dictionary = [*sorted({*said.split(), "where", "?"}), "<end>"]


def ids_of(text):
    """The number of each word."""
    return [dictionary.index(word) for word in text.split()]


def table(rows):
    """Inputs and targets of (thing, kind of answer); what asks is not learned."""
    asked = [ids_of(f"where is the {thing} ?") for thing, _ in rows]
    full = [a + ids_of(ANSWERS[kind].format(t)) for a, (t, kind) in zip(asked, rows, strict=True)]
    inputs, targets = collate(full, len(dictionary) - 1)
    masked = mask_prompts(targets, [len(question) for question in asked])
    return torch.tensor(inputs), torch.tensor(masked)


print(len(dictionary), "words;", list(table([("boat", "plain"), ("boat", "polite")])[0].shape))

# %% [markdown]
# ## A model with three manners
#
# First a model learns to answer where things are. Its teachers were of three kinds: two plain, one polite, one rude.

# %%
torch.manual_seed(0)
dice = torch.Generator().manual_seed(1)
model = GPT(len(dictionary), context_length=20, d_model=32, n_layers=2, n_heads=2)
optimizer = AdamW(model.parameters(), lr=0.005)
x, y = table([(thing, kind) for thing in things for kind in ("plain", "plain", "polite", "rude")])
for _ in range(150):
    at = torch.randint(len(x), (16,), generator=dice)
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x[at]).transpose(1, 2), y[at]).backward()
    optimizer.step()


@torch.no_grad()
def chances(model, thing):
    """The probability of each of the three answers."""
    found = log_prob(model, *table([(thing, kind) for kind in ANSWERS])).exp()
    return dict(zip(ANSWERS, found.tolist(), strict=True))


for kind, chance in chances(model, "boat").items():
    print(f"{kind:7} {chance:.1f}   {ANSWERS[kind].format('boat')}")

# %% [markdown]
# The probability of an answer is the product of the probabilities of its tokens, the end token among them. With
# logarithms it is a sum, `log_prob`. The sum, not the mean: a mean would ask how likely a token of the answer is, and
# a long answer has many easy tokens to hide an odd one among.
#
# ## The loss
#
# For each pair four numbers are needed: what the learning model says of the better and of the worse answer, and what
# the model from before says of both. The *reward* of an answer is how much likelier it has become, in nats, times a
# number beta. The loss wants the better reward above the worse one.

# %%
before = copy.deepcopy(model)
pairs = [(thing, "polite", "rude") for thing in things[:6]]
better = table([(thing, kind) for thing, kind, _ in pairs])
worse = table([(thing, kind) for thing, _, kind in pairs])
with torch.no_grad():
    better_before, worse_before = log_prob(before, *better), log_prob(before, *worse)
print("ln p of the first pair:", f"{better_before[0]:.1f} and {worse_before[0]:.1f}")
loss, *_ = dpo_loss(better_before, worse_before, better_before, worse_before, beta=0.1)
print(f"loss before the first step: {loss.item():.4f}")

# %% [markdown]
# Nothing has moved yet, both rewards are 0, and the loss is ln 2 = `0.6931`: like a coin. It does not matter which
# answer was likelier at first.
#
# How strongly does a pair pull? By the slope of the loss. A pair in the wrong order pulls fully, a settled one lets go:

# %%
for margin in (-4.0, 0.0, 4.0):
    print(f"better reward minus worse {margin:4.0f}: pull {weight_of(margin, 0.0):.2f}")

# %% [markdown]
# ## Training
#
# Six things are in the pairs; the cheese and the clock are not. Nothing is said about plain answers.


# %%
def taught(beta, n_steps=50):
    """By step: the loss, by how many nats both answers moved, and the clock's chances."""
    model, course = copy.deepcopy(before), {}
    optimizer = AdamW(model.parameters(), lr=0.001, weight_decay=0.0)
    for step in range(n_steps + 1):
        now = log_prob(model, *better), log_prob(model, *worse)
        loss, *_ = dpo_loss(*now, better_before, worse_before, beta)
        moved = [(now[0] - better_before).mean().item(), (now[1] - worse_before).mean().item()]
        course[step] = loss.item(), moved, chances(model, "clock")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return course


course = taught(beta=0.1)
for step in (0, 10, 20, 50):
    loss, (up, down), chance = course[step]
    print(f"step {step:2}  loss {loss:.1f}   polite {up:+5.1f} nats   rude {down:+6.1f} nats")
lines = {kind: (list(course), [one[2][kind] for one in course.values()]) for kind in ANSWERS}
curves(lines, x="steps", y="probability", title="Where is the clock? (It was in no pair)")

# %% [markdown]
# The rude answer is gone, about the clock as well: the model has learned a manner, not six sentences.
#
# Look at the two others. The plain answer was in no pair, and yet it became rarer. The polite one rose by less than a
# nat, while the rude one fell by many. The loss asks only for a *difference*, and pushing one answer down serves it as
# well as lifting the other. Push long enough, and probability goes to texts that nobody asked for.
#
# That is what beta is for. With a large beta a small move is reward enough, and the pull ends sooner. How far does the
# rude answer have to fall until the loss is below 0.1?

# %%
for beta in (0.1, 0.5, 2.0):
    loss, (up, down), _ = next(one for one in taught(beta).values() if one[0] < 0.1)
    print(f"beta {beta}: polite {up:+5.1f} nats   rude {down:+6.1f} nats")

# %% [markdown]
# With the larger beta the model stays nearer to what it was. `vidro finetune prefer` reports how far it went, as a
# divergence in nats per token (`vidro learn entropy`), and how many unseen pairs it puts in the right order.
#
# ## Try
#
# Let `pairs` prefer `"plain"` to `"polite"`. The polite answer contains the plain one word for word; which token is it
# that decides? Print `log_prob` of the first word only.
#
# Then write the loss yourself: `vidro learn stub dpo --out mine.py`, and `vidro learn check dpo mine.py`.
#
# ## Next
#
# The path ends here, and yours begins: `vidro pretrain YOURFILE --minutes 10`, then `vidro finetune instruct`, then
# `vidro chat`. And when you want to know how it is done in earnest, read `vidro.train.loop`: you know all its parts.
