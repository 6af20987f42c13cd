# %% [markdown]
# # LoRA
#
# `vidro learn training` moved every weight of a model. To teach a model that is already there something new, that is
# much: each new skill is a whole new model on the disk, and AdamW keeps two more numbers for each weight in memory.
# Hu and others (2021) saw that the *change* which such training makes is much simpler than the matrix that it changes.
# So they leave the matrix alone, and learn the change as a product of two thin matrices: low-rank adaptation, LoRA.

# %%
import copy
import re

import torch

from vidro.data import tinyworld
from vidro.learn.block import GPT, n_parameters
from vidro.learn.figures import bars, curves
from vidro.learn.lora import LinearWithLoRA, merge, n_learning, replace_linear_with_lora
from vidro.learn.training import AdamW, evaluate, train

tall = torch.tensor([[1.0], [0.0], [2.0], [-1.0]])
flat = torch.tensor([[3.0, 0.0, 1.0]])
print(list(tall.shape), "times", list(flat.shape), "is", list((tall @ flat).shape))
print((tall @ flat).long().tolist())

# %% [markdown]
# Four numbers and three numbers made twelve. Look at the rows: each is a multiple of `[3, 0, 1]`. Such a matrix has
# *rank* 1. Two columns times two rows give rank 2, and so on. The smaller the rank, the fewer numbers, and the simpler
# what they can say.
#
# ## A detour beside each matrix
#
# A LoRA layer sends x through the frozen matrix, and beside it through A and B, and adds both. B begins at zero, so at
# first nothing is different. Here is one in the size of GPT-2:

# %%
torch.manual_seed(0)
linear = torch.nn.Linear(768, 768, bias=False)
layer = LinearWithLoRA(linear, rank=8, alpha=8.0)
print(f"frozen {linear.weight.numel():,}, learning {n_learning(layer):,}:")
print("A", list(layer.lora.A.shape), " B", list(layer.lora.B.shape))
x = torch.randn(2, 768)
difference = (layer(x) - linear(x)).abs().max().item()
print("largest difference before the first step:", difference)

# %% [markdown]
# And in all of GPT-2, with rank 16 beside each of its matrices, the head included (on the device "meta", which counts
# and holds no numbers):

# %%
with torch.device("meta"):
    large = GPT(50257, context_length=1024, d_model=768, n_layers=12, n_heads=12, tied=True)
    every = n_parameters(large)
    replace_linear_with_lora(large, rank=16, alpha=16.0)
print(f"{n_learning(large):,} of {every:,} learn: {n_learning(large) / every:.1%}")

# %% [markdown]
# ## Something new to learn
#
# We train a small model on stories of an invented village. Then it shall learn the messages that people there write.

# %%
stories = re.findall(r"\w+|[^\w\s]", tinyworld.text(seed=1, n_bytes=100_000))
notes = [note.text + " /" for note in tinyworld.messages(seed=1, n=900)]
messages = re.findall(r"\w+|[^\w\s]", " ".join(notes))
dictionary = sorted({*stories, *messages})
number_of = {word: number for number, word in enumerate(dictionary)}
old = torch.tensor([number_of[word] for word in stories])
new = torch.tensor([number_of[word] for word in messages])
T = 16


def draws(text, n_steps):
    """Windows from random places, and the same one token on."""
    dice = torch.Generator().manual_seed(1)
    for _ in range(n_steps):
        places = torch.randint(len(text) - T, (8, 1), generator=dice) + torch.arange(T)
        yield text[places], text[places + 1]


def loss_on(model, text):
    """Of the last 2,000 tokens, which are not trained on."""
    text = text[-2000:]
    n = (len(text) - 1) // T * T
    return evaluate(model, [(text[:n].view(-1, T), text[1 : n + 1].view(-1, T))])


torch.manual_seed(0)
base = GPT(len(dictionary), context_length=T, d_model=48, n_layers=2, n_heads=2)
train(base, AdamW(base.parameters(), 0.005), draws(old[:-2000], 200), clip=1.0)
print(f"stories {loss_on(base, old):.1f}, messages {loss_on(base, new):.1f} nats per token")

# %% [markdown]
# ## How thin may it be?
#
# The same 60 steps on messages: with every weight free, and with detours of rank 1 to 16.


# %%
def taught(rank):
    """A copy of the model that has read messages; rank 0: every weight learns."""
    model = copy.deepcopy(base)
    torch.manual_seed(1)
    if rank:
        replace_linear_with_lora(model, rank, alpha=float(rank))
    free = [weights for weights in model.parameters() if weights.requires_grad]
    optimizer = AdamW(free, lr=0.02 if rank else 0.005)
    train(model, optimizer, draws(new[:-2000], 60), clip=1.0)
    return model


models = {rank: taught(rank) for rank in (1, 4, 16, 0)}
losses = {"not taught": loss_on(base, new)}
for rank, model in models.items():
    name = f"rank {rank}" if rank else "all weights"
    losses[name] = loss_on(model, new)
    print(f"{name:12} {n_learning(model):8,} learn   messages {losses[name]:.1f}")
bars(losses, y="loss on messages (nats)", digits=1, title="What is learned in 60 steps")

# %% [markdown]
# Even rank 1 learns much. A higher rank brings more, and rank 16 comes near to all weights. In so
# small a model that is no great saving, for its matrices are thin themselves: 48 wide. In a large model rank 16 is
# little, as counted above, and often enough.
#
# ## Is the change simple?
#
# We can look. The model in which every weight was free tells how each matrix changed. A matrix of change can be taken
# apart into parts of rank 1, the largest first (singular values). How much of the whole do the first few hold?

# %%
shares = {}
for name in ("head", "blocks.1.attention.W_key", "blocks.1.feedforward.up"):
    after, start = (model.get_parameter(f"{name}.weight") for model in (models[0], base))
    parts = torch.linalg.svdvals((after - start).detach()).square()
    shares[name] = range(1, 25), (parts.cumsum(0) / parts.sum())[:24]
curves(shares, x="rank", y="share of the change", title="How much the first parts hold")

# %% [markdown]
# One part holds most of the head's change: probably the many words that messages never use, made less likely all at
# once. In the blocks it takes more. So how large a rank must be depends on what is to be learned; the loss tells.
#
# ## Merged, or taken off
#
# Afterwards W + A B is one matrix again. The merged model has its old form, and costs nothing more. Or the detours are
# taken off, and the old model is there, unharmed. Not so where all weights moved:

# %%
model, without = models[16], copy.deepcopy(models[16])
before, forgot = model(new[None, :T]), loss_on(model, old)
for name, weights in without.named_parameters():
    weights.data *= not name.endswith("lora.B")  # B to zero again
merge(model)
moved = (model(new[None, :T]) - before).abs().max().item()
print(f"moved by merging: {moved:.3f}")
print(f"stories at first              {loss_on(base, old):.1f}")
print(f"after messages, all weights   {loss_on(models[0], old):.1f}")
print(f"after messages, rank 16       {forgot:.1f}")
print(f"… and the detours off again   {loss_on(without, old):.1f}")

# %% [markdown]
# Both models forgot much about stories. But only the second can go back.
#
# ## Try
#
# Set `alpha` to `4.0 * rank` and the learning rate to 0.005, a quarter: the losses are close to those above. Then write
# it yourself: `vidro learn stub lora --out mine.py`, `vidro learn check lora mine.py`.
#
# ## Next
#
# All lessons so far knew the right answer. `vidro learn dpo` knows only which of two answers is the better one.
