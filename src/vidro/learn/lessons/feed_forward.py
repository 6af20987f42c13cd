# %% [markdown]
# # Where facts live
#
# Attention collects. What comes out is a mixture of what was there, and that "Rosa likes" is to be followed by
# honey was not there: it has to be known. The other half of a block, the *feed-forward* layer, adds what is
# known. It is the neuron of `vidro learn neuron` many times over, and it works on each token alone.
#
# Our facts are about the village of Vidro's embedded stories: Rosa, Ada and Nora, what they like and what they fear.

# %%
import torch
import torch.nn.functional as F

from vidro.learn.feed_forward import FeedForward, as_memory, empty_layer, write_fact
from vidro.learn.figures import bars, heat

names = ["Rosa", "Ada", "Nora", "likes", "fears", "honey", "hazelnuts", "geese", "thunder", "the dark"]
directions = dict(zip(names, torch.eye(10), strict=True))
layer = FeedForward(d_model=10)
print("up", list(layer.up.weight.shape), " down", list(layer.down.weight.shape))
token = torch.zeros(1, 10)
print("token", list(token.shape), "→ neurons", list(layer.fires(token).shape), "→ added", list(layer(token).shape))

# %% [markdown]
# Two matrices with a bend (GELU) between. The first has four times as many rows as the token has numbers: `40` neurons
# here. To see what is going on, every thing we talk about has a number of its own. A token that has heard of Rosa (by
# attention, say) and stands behind "likes" has two ones and eight zeros.
#
# ## Keys and values
#
# Read the two matrices differently (Geva et al. 2021). Row i of `up` is a *key*, compared with the token by a dot
# product. How well it fits says how strongly neuron i *fires*. Column i of `down` is a *value*: what is then added to
# the token. The layer is the sum over all neurons of strength times value, and that is the same thing:

# %%
torch.manual_seed(0)
layer, token = FeedForward(d_model=10), torch.randn(10)
difference = (as_memory(layer, token) - layer(token)).abs().max().item()
print(f"neuron by neuron or as two products: largest difference {difference:.5f}")

# %% [markdown]
# ## A fact, written by hand
#
# The pattern "Rosa" + "likes" is to add "honey". The key is the pattern times 4: each of the two things gives 4
# points. The bias takes 4 off. What is left goes through GELU:

# %%
facts = [("Rosa", "likes", "honey"), ("Rosa", "fears", "thunder"), ("Ada", "likes", "hazelnuts"),
         ("Ada", "fears", "geese"), ("Nora", "fears", "the dark")]  # fmt: skip
memory = empty_layer(d_model=10, d_ff=len(facts))
for neuron, (name, verb, thing) in enumerate(facts):
    write_fact(memory, neuron, directions[name] + directions[verb], 5 * directions[thing])
for words in (("Rosa", "likes"), ("Rosa",), ("geese",)):
    token = torch.stack([directions[word] for word in words]).sum(dim=0)
    points, strength = memory.up(token)[0].item(), memory.fires(token)[0].item()
    print(f"{' + '.join(words):12} {points:4.1f} points, fires with {abs(strength):.1f}")

# %% [markdown]
# With both things there it fires with `4.0`, with one or none it is silent: the neuron is an "and". A matrix alone
# could not do that. Given half the pattern, it would give half the answer. The value is divided by the strength, so
# that what is added comes out as written: 5 in the direction of honey.

# %%
questions = [(name, verb) for name in ("Rosa", "Ada", "Nora") for verb in ("likes", "fears")]
tokens = torch.stack([directions[name] + directions[verb] for name, verb in questions])
rows = [f"{name} {verb}" for name, verb in questions]
fired = memory.fires(tokens)
print("tokens", list(tokens.shape), "neurons", list(fired.shape))
heat(
    fired, rows=rows, columns=[thing for _, _, thing in facts], digits=1, title="Which neuron fires for which question"
)

# %% [markdown]
# Each question wakes its own neuron, and "Nora likes" wakes none, because nobody wrote that down. What a neuron adds is
# put on top of the token, and at the end of a model the token is compared with every word there is
# (`vidro learn block`). Here that is easy, each word being a number of its own:

# %%
things = names[5:]
answers = (tokens + memory(tokens))[:, 5:].softmax(dim=-1)
print("Rosa likes:", things[answers[0].argmax()], f"{answers[0].max().item():.2f}")
print("Nora likes:", [round(chance, 2) for chance in answers[4].tolist()])
heat(answers, rows=rows, columns=things, title="Chances of the next word")

# %% [markdown]
# `0.97` for honey. About Nora's likes it knows nothing, so every word has the same chance, `0.2`.
#
# ## Facts that were learned
#
# By hand it was one neuron for each fact. What does training do? We make 48 facts up: 8 people, 6 things to ask about
# each, and one of 8 answers to every question. The layer has 12 neurons, far fewer than there are facts. All weights
# begin at random and are moved, step by step, to make the right answers likelier (`vidro learn training`).

# %%
torch.manual_seed(0)
person, question = torch.eye(8).repeat_interleave(6, dim=0), torch.eye(6).repeat(8, 1)
asked = torch.cat((person, question, torch.zeros(48, 8)), dim=1)
right = torch.randint(8, (48,))
learner = FeedForward(d_model=22, d_ff=12)
optimizer = torch.optim.Adam(learner.parameters(), lr=0.02)
for _ in range(400):
    loss = F.cross_entropy((asked + learner(asked))[:, 14:], right)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def known() -> int:
    """How many of the 48 questions it answers rightly."""
    return int(((asked + learner(asked))[:, 14:].argmax(dim=1) == right).sum())


print("asked", list(asked.shape), "facts known:", known(), "of", len(asked))

# %% [markdown]
# All `48`, in 12 neurons. Which neuron holds which fact? Silence one neuron at a time, by setting its value to 0, and
# ask everything again.

# %%
lost = {}
for neuron in range(12):
    value = learner.down.weight[:, neuron].detach().clone()
    learner.down.weight.data[:, neuron] = 0.0
    lost[str(neuron + 1)] = 48.0 - known()
    learner.down.weight.data[:, neuron] = value
print(f"lost with one neuron or another: {sum(lost.values()):.0f} in all, of 48 facts")
bars(lost, y="facts lost", digits=0, title="Facts that are lost when one neuron (1 to 12) is silent")

# %% [markdown]
# Every neuron takes several facts with it. Added up there are more losses than facts: many a fact needs more than one
# neuron. So a neuron takes part in many facts, and a fact lies in many neurons. That is why nobody can point at *the*
# neuron for honey in a trained model, and why changing one fact there can touch others.
#
# ## Try
#
# Write down what Nora likes: one more line in `facts`, and `write_fact` does the rest. Then let Ada fear thunder as
# well as geese, and look at the chances. And give the learner 48 neurons instead of 12: now it can lose any one of them
# and still knows everything.
#
# Then do it yourself: `vidro learn stub feed-forward > mine.py`, and `vidro learn check feed-forward mine.py`.
#
# ## Next
#
# One such layer learns. Twenty on top of each other do not, unless something is done: `vidro learn shortcuts`.
