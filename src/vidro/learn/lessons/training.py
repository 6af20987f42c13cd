# %% [markdown]
# # The training loop
#
# `vidro learn block` built a model, and its weights were random. `vidro learn bigram` learned, but only which word
# follows which. Here the whole model learns. The recipe is the same for every model: predict, measure, take the
# gradient, take a small step; and again. Then we look at its great danger: a model that learns its text by heart.

# %%
import math
import re

import torch

from vidro.data import tinyworld
from vidro.learn.block import GPT, n_parameters
from vidro.learn.figures import curves
from vidro.learn.training import AdamW, Best, evaluate, loss_of, train

words = re.findall(r"\w+|[^\w\s]", tinyworld.text(seed=1, n_bytes=200_000))
dictionary = sorted(set(words))
number_of = {word: number for number, word in enumerate(dictionary)}
ids = torch.tensor([number_of[word] for word in words])
print(f"{len(ids):,} words and signs, {len(dictionary):,} different ones")
print(" ".join(words[:16]))

# %% [markdown]
# Stories from a small invented village; a token is a word or a punctuation mark. First we set some text apart. The
# *validation* text is never learned from, only looked at: how does the model do on what it has not seen? And of all the
# rest we take very little to learn from, on purpose.

# %%
T = 16  # tokens in a window
small, large, validation = ids[:1000], ids[:30_000], ids[-2000:]


def draws(text, n_steps, rows=8):
    """For each step windows from random places, and the same one token on."""
    dice = torch.Generator().manual_seed(1)
    for _ in range(n_steps):
        first = torch.randint(len(text) - T, (rows, 1), generator=dice)
        places = first + torch.arange(T)
        yield text[places], text[places + 1]


def cut(text):
    """All of a text as one batch of windows, for measuring."""
    n = (len(text) - 1) // T * T
    return [(text[:n].view(-1, T), text[1 : n + 1].view(-1, T))]


def fresh_model():
    """The same random weights each time."""
    torch.manual_seed(0)
    return GPT(len(dictionary), context_length=T, d_model=32, n_layers=2, n_heads=2)


x, y = next(draws(small, 1))
print("x", list(x.shape), " y", list(y.shape))
print(f"{n_parameters(fresh_model()):,} parameters")

# %% [markdown]
# ## One step
#
# **Predict and measure.** The loss is the mean surprise about the right next words, in nats. A model that knows nothing
# gives each of the V words the probability 1/V, and is surprised by ln V nats.

# %%
model = fresh_model()
loss = loss_of(model, x, y)
V = len(dictionary)
print(f"loss {loss.item():.1f}, and ln {V} = {math.log(V):.1f}")

# %% [markdown]
# The random model starts near `7.1`, where it should. A first loss far above says that something is wrong.
#
# **Take the gradient.** `backward()` goes through the computation in reverse and finds for every weight how the loss
# would change if that weight grew a little.
#
# **Take a step** the other way. The simplest step is the gradient times a small number, the learning rate. But
# gradients are of very different sizes. AdamW (Loshchilov & Hutter 2019) divides each weight's gradient by its usual
# size, so that all weights move about equally far:

# %%
loss.backward()
optimizer = AdamW(model.parameters(), lr=0.005, weight_decay=0.0)
before = {name: weights.clone() for name, weights in model.named_parameters()}
optimizer.step()
for name in ("head.weight", "blocks.0.attention.W_query.weight", "final_norm.shift"):
    weights = model.get_parameter(name)
    assert weights.grad is not None
    moved = (weights - before[name]).abs().median().item()
    print(f"{name:34} gradient {weights.grad.abs().median():.0e}   moved {moved:.3f}")
print(f"loss on the same windows: {loss.item():.1f} → {loss_of(model, x, y).item():.1f}")

# %% [markdown]
# In the first step each weight moves by the learning rate, `0.005`, whatever its gradient. The loss fell: the model has
# learned a little about these windows. That is all that training is; the rest is repetition.
#
# ## Many steps
#
# The loop is `train` in `vidro.learn.training`. At every step it forgets the old gradients first: PyTorch adds new ones
# to them. Every 20 steps we look at both texts.


# %%
def course(text, weight_decay, n_steps=160):
    """Train a fresh model: both losses by step, and the best look."""
    model, best, looks = fresh_model(), Best(), {}
    optimizer = AdamW(model.parameters(), 0.005, weight_decay=weight_decay)

    def look(step):
        if step % 20 == 0:
            own = evaluate(model, cut(text[:1000]))
            other = evaluate(model, cut(validation))
            looks[step] = own, other
            best.look(model, step, other)

    train(model, optimizer, draws(text, n_steps), clip=1.0, look=look)
    return looks, best


few = course(small, weight_decay=0.0)
looks = few[0]
for step, (own, other) in looks.items():
    print(f"step {step:3}   training {own:.1f}   validation {other:.1f}")
steps = list(looks)
own, other = zip(*looks.values(), strict=True)
curves({"training": (steps, own), "validation": (steps, other)}, x="steps", y="nats per token",
       title="1,000 words of text: learned, then learned by heart")  # fmt: skip

# %% [markdown]
# At first both fall: what the model learns is true of both texts. Then they part. The training loss goes on falling,
# but what it learns now is this text only, sentence by sentence. On the other text the model becomes worse, and in the
# end it is worse than after 20 steps. This is *overfitting*. In 160 steps of 8 windows of 16 tokens the model has seen
# each of its 1,000 words about 20 times.
#
# ## What helps
#
# 1. **Stop in time.** Keep the weights of the best look, and throw away what came after. It costs a copy.
# 2. **Make it harder to learn by heart.** *Weight decay* pulls every matrix a little towards 0 at each step, so that
#    only what is confirmed again and again stays large. *Dropout* (`vidro learn attention-3`) is another way.
# 3. **More text.** What is said differently each time cannot be learned by heart.

# %%
decayed, more = course(small, weight_decay=2.0), course(large, weight_decay=0.0)
print(f"{'':16}best   at the end")
lines = {}
for name, one in (("1,000 words", few), ("weight decay 2", decayed), ("30,000 words", more)):
    lines[name] = steps, [other for _, other in one[0].values()]
    print(f"{name:14} {one[1].loss:5.1f}   {lines[name][1][-1]:.1f}")
curves(lines, x="steps", y="validation loss", title="What helps against overfitting")

# %% [markdown]
# Going on to the end costs more than half a nat here, compared with stopping in time. Weight decay helps a little
# more. Thirty times the text helps most of all, and after the same number of steps that model is still getting better.
#
# `vidro pretrain` does all three: it keeps the weights of the best look, says when the two losses part, and advises how
# large a model a text can feed. Its step is tested to give the same losses as this one.
#
# ## Try
#
# See what happens when old gradients are not forgotten: in `course`, write `optimizer.zero_grad = lambda: None` before
# the call of `train`. The loss falls all the same, which is why this mistake is so hard to see.
#
# Then write the loop yourself: `vidro learn stub training --out mine.py`, and `vidro learn check training mine.py`.
#
# ## Next
#
# Real trainings take hours, and something always comes between. `vidro learn saving` stops in the middle and goes on as
# if nothing had happened.
