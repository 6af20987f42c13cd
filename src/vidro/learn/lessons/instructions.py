# %% [markdown]
# # Instructions
#
# `vidro learn training` taught a model to go on with a text. Ask it a question, and it may go on with a second
# question. To answer, it must see examples of tasks and answers, in a form that tells where the answer begins.
#
# The training loop stays as it is. What is new is how rows are made for it: template, ids, padding, targets, and −100
# where nothing is to be learned.

# %%
import re

import torch

from vidro.learn.block import GPT
from vidro.learn.figures import heat
from vidro.learn.instructions import collate, format_input, mask_prompts, to_ids
from vidro.learn.training import AdamW

PAIRS = ["hot cold", "big small", "day night", "up down", "dry wet", "old new"]
ways = [pair.split() for pair in PAIRS] + [pair.split()[::-1] for pair in PAIRS]
entries = []
for word, other in ways:
    entries += [
        {"instruction": "Give the opposite.", "input": word, "output": other},
        {"instruction": "Repeat the word.", "input": word, "output": word},
        {"instruction": "Say it twice.", "input": word, "output": f"{word} {word}"},
        {"instruction": f"What is not {word}?", "input": "", "output": other},
    ]
print(len(entries), "examples; the first:")
print(entries[0])

# %% [markdown]
# ## A template
#
# Every task is written in the same form. This one is Alpaca's (Taori et al. 2023). Any form would do, if it is the same
# in training and afterwards: a model that was taught with one form answers badly in another. A task without an input
# leaves that part out.

# %%
print(format_input(entries[0]) + "\n\n### Response:\n" + entries[0]["output"])

# %% [markdown]
# ## Ids
#
# Here a token is a word, a sign or a line end, and one token more says that the answer is over. Task and answer are
# encoded apart. We note how many ids are the task.


# %%
def pieces(text):
    """Words, signs and line ends."""
    return re.findall(r"\w+|[^\w\s]|\n", text)


RESPONSE = "\n\n### Response:\n"
whole = " ".join(format_input(entry) + RESPONSE + entry["output"] for entry in entries)
dictionary = [*sorted(set(pieces(whole))), "<end>"]
END = dictionary.index("<end>")


def encode(text):
    """The number of each piece."""
    return [dictionary.index(piece) for piece in pieces(text)]


rows = [to_ids(entry, encode) for entry in entries]
for ids, n_task in (rows[0], rows[2], rows[3]):
    said = [dictionary[number] for number in ids[n_task:]]
    print(f"{len(ids)} ids, of them {n_task} the task; the answer: {said}")

# %% [markdown]
# ## Padding, and −100
#
# A batch is a table: its rows must be equally long. So each row gets its end token, and shorter rows more of the same
# to fill them up. Targets are the inputs one place on, as in `vidro learn windows`. To see it all, three tiny rows:

# %%
inputs, targets = collate([[1, 2, 3, 4], [5, 6], [7, 8, 9]], pad_id=0)
print("inputs ", inputs)
print("targets", targets)

# %% [markdown]
# The second row ends after two ids. Its target at the 6 is `0`, the end: this is how a model learns to stop. After that
# comes filling. Its target is `-100`, the number that cross-entropy in PyTorch leaves out: no loss, no gradient. The
# filling cannot disturb the real tokens either, for it stands behind them, and attention looks back only.
#
# The task itself need not be learned: the user will write it. So its targets become −100 too. The last token of the
# task keeps its target, since what comes next there is the first token of the answer.

# %%
batch = [rows[0], rows[2], rows[3]]
inputs, targets = collate([ids for ids, _ in batch], END)
masked = mask_prompts(targets, [n_task for _, n_task in batch])
for row in masked:
    print("learned:", [dictionary[target] for target in row if target != -100])
state = (torch.tensor(targets) != -100).int() + (torch.tensor(masked) != -100).int()
heat(state, rows=[entries[number]["output"] for number in (0, 2, 3)],
     title="Targets: white is filling, light is the task, dark is learned")  # fmt: skip

# %% [markdown]
# Of about 50 places in a row only two or three are learned. Is that not a waste? Let us train and see. One model learns
# answers only and a second one tasks as well; from a third, trained more shortly, we hide the end of the answers.


# %%
def taught(n_steps, task_too=False, end=True):
    """A model after steps of 16 rows."""
    torch.manual_seed(0)
    dice = torch.Generator().manual_seed(1)
    model = GPT(len(dictionary), context_length=64, d_model=32, n_layers=2, n_heads=2)
    optimizer = AdamW(model.parameters(), lr=0.005)
    for _ in range(n_steps):
        drawn = torch.randint(len(rows), (16,), generator=dice)
        some = [rows[number] for number in drawn]
        inputs, targets = collate([ids for ids, _ in some], END)
        if not task_too:
            targets = mask_prompts(targets, [n_task for _, n_task in some])
        targets = torch.tensor(targets)
        if not end:
            targets[targets == END] = -100
        logits = model(torch.tensor(inputs))
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def answer(model, entry, most=6):
    """What the model says, until it says the end token, at most so many tokens."""
    ids = encode(format_input(entry) + RESPONSE)
    n = len(ids)
    while len(ids) < n + most:
        token = int(model(torch.tensor([ids]))[0, -1].argmax())
        if token == END:
            break
        ids.append(token)
    return " ".join(dictionary[token] for token in ids[n:])


models = {
    "answers only": taught(250),
    "tasks too": taught(250, task_too=True),
    "no end": taught(100, end=False),
}
for name, model in models.items():
    right = sum(answer(model, entry) == entry["output"] for entry in entries)
    said = answer(model, entries[9])
    print(f"{name:12}  {right:2} of {len(entries)} right; Repeat the word: day → {said}")

# %% [markdown]
# With answers only, the whole loss is about answers, and so is every step. With tasks too, most of the loss is about
# words that are the same in every row, and after as many steps fewer answers are right. (In large models with long
# answers the difference is small.) The third speaks until we stop it. It was never told to.
#
# These answers were in the training rows. What a model makes of new tasks is the real question: `vidro finetune
# instruct` keeps some rows apart and reports it. Its ids and targets are tested to be the ones made here.
#
# ## Try
#
# Ask `models["answers only"]` in a form that it has never seen: replace the template in `answer` by
# `entry["instruction"] + entry["input"]`. Nearly all answers are wrong.
#
# Then write it yourself: `vidro learn stub instructions --out mine.py`, `vidro learn check instructions mine.py`.
#
# ## Next
#
# Here an answer was right when it was the expected one, word for word. `vidro learn judging` looks at what that misses.
