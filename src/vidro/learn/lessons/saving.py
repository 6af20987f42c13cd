# %% [markdown]
# # Saving, and going on
#
# `vidro learn training` ran from the first step to the last. Real trainings take hours or weeks, and something always
# happens: the power fails, the laptop is closed, someone needs the machine. So a training must be saved in a way that
# it can go on *exactly* as if nothing had happened. What has to be kept for that?

# %%
import re
import tempfile
from pathlib import Path

import torch

from vidro.data import tinyworld
from vidro.learn.block import GPT
from vidro.learn.figures import curves
from vidro.learn.saving import put_back, read, state_of, write
from vidro.learn.training import AdamW, train

words = re.findall(r"\w+|[^\w\s]", tinyworld.text(seed=1, n_bytes=100_000))
dictionary = {word: number for number, word in enumerate(sorted(set(words)))}
text = torch.tensor([dictionary[word] for word in words])
T = 16  # tokens in a window


def start():
    """A model, its optimizer and the dice that choose windows, all fresh."""
    torch.manual_seed(0)
    model = GPT(len(dictionary), context_length=T, d_model=32, n_layers=2, n_heads=2)
    return model, AdamW(model.parameters(), lr=0.005), torch.Generator().manual_seed(1)


def go_on(model, optimizer, dice, n_steps):
    """So many steps on windows from random places; their losses."""
    places = (torch.randint(len(text) - T, (8, 1), generator=dice) + torch.arange(T) for _ in range(n_steps))
    return train(model, optimizer, ((text[at], text[at + 1]) for at in places))


def difference(one, other):
    """The largest difference between the weights of two models."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


whole, optimizer, dice = start()
losses = go_on(whole, optimizer, dice, 70)
print(f"70 steps without a break: loss {losses[0]:.1f} at first, {losses[-1]:.1f} at the end")

# %% [markdown]
# That is the course to be matched. Now the same with a break after 60 steps.
#
# ## The weights alone
#
# The model is its weights, so let us keep those: a fresh start, the old weights put in, 10 steps more.

# %%
model, optimizer, dice = start()
go_on(model, optimizer, dice, 60)
state = state_of(model, optimizer, dice)

poor, fresh_optimizer, fresh_dice = start()
poor.load_state_dict({name.removeprefix("weights."): kept for name, kept in state.items() if "weights." in name})
poor_losses = go_on(poor, fresh_optimizer, fresh_dice, 10)
print(f"{difference(poor, whole):.1f} is the largest difference of a weight")

# %% [markdown]
# It is another model. Two things were forgotten. The dice began anew, so it read windows that it had read before. And
# the optimizer had lost its memory. AdamW keeps two running means for every weight, and they are most of what there is
# to keep:

# %%
sizes = {}
for name, numbers in state.items():
    part = name.split(".")[0]
    sizes[part] = sizes.get(part, 0) + numbers.numel() * numbers.element_size()
for part, n_bytes in sizes.items():
    print(f"{part:8}{n_bytes:>9,} bytes")

# %% [markdown]
# A checkpoint is three times as large as its model. (Therefore a finished model is saved once more, without the rest.)
#
# ## Everything
#
# `put_back` takes over weights, means, the number of steps and the state of the dice. Forgetting only one of them is
# the usual mistake, and nothing crashes:

# %%
later = {"without a break": losses[60:]}
for forgotten in ("nothing", "dice", "mean", "square", "steps"):
    again, optimizer, dice = start()
    fresh = state_of(again, optimizer, dice)
    kept = {name: fresh[name] if name.split(".")[0] == forgotten else numbers for name, numbers in state.items()}
    put_back(kept, again, optimizer, dice)
    later[f"{forgotten} forgotten"] = go_on(again, optimizer, dice, 10)
    same = "the same model, bit for bit" if difference(again, whole) == 0 else "another model"
    print(f"{forgotten:8} forgotten: {same}")

shown = ("without a break", "nothing forgotten", "square forgotten", "steps forgotten")
curves({name: (list(range(60, 70)), later[name]) for name in shown}, x="steps", y="nats per token",
       title="The first steps after a break")  # fmt: skip

# %% [markdown]
# *Bit for bit* is the only test that means something. A loss that "goes on about where it was" hides mistakes for
# months (look at the number of steps, in the figure); a difference of 0 cannot.
#
# ## A file that is never half
#
# The break may come while the file is written. Then the old one is gone and the new one is torn. The remedy: write
# beside it, and rename when all is there. And put a checksum in front, for what alters a file later.

# %%
folder = Path(tempfile.mkdtemp())
write(folder / "checkpoint", state)
stored = (folder / "checkpoint").read_bytes()
print("read back:", all(torch.equal(read(folder / "checkpoint")[name], state[name]) for name in state))

torn = {"cut short by one byte": stored[:-1], "one bit of a weight turned": stored[:-9] + b"\x01" + stored[-8:]}
for what, content in torn.items():
    (folder / "torn").write_bytes(content)
    try:
        read(folder / "torn")
        print(f"{what}: read as if nothing were wrong")
    except ValueError as problem:
        print(f"{what}: {problem}")

# %% [markdown]
# `vidro pretrain --resume last` is this, with more around it. Weights are kept as *safetensors*: numbers with names.
# PyTorch's own `torch.save` writes pickles, and a pickle is a program: whoever opens one runs it.
#
# ## Try
#
# Let `state_of` keep the tensors themselves: take the `.clone()` away. After the next steps, what does `state` hold?
#
# Then write it yourself: `vidro learn stub saving --out mine.py`, and `vidro learn check saving mine.py`.
#
# ## Next
#
# The model gives a probability to every next word. Which one shall it say? Always the most probable, and it repeats
# itself. `vidro learn sampling` throws dice.
