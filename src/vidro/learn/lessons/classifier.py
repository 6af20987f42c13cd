# %% [markdown]
# # A head for classes
#
# The models so far end in a score for every token of the dictionary. But often the question is a small one: is this
# message spam or not? A model that reads is there already. Only its last layer, the *head*, has the wrong shape: it
# gives a number for each of thousands of tokens, and we want two.

# %%
import copy
import re

import torch

from vidro.data import tinyworld
from vidro.evals.baselines import BagOfWords
from vidro.learn.block import GPT
from vidro.learn.classifier import (
    accuracy,
    class_logits,
    class_loss,
    last_real,
    only_last_block_learns,
    padded,
    with_class_head,
)
from vidro.learn.figures import curves
from vidro.learn.lora import n_learning
from vidro.learn.training import AdamW, train

mail = list(tinyworld.messages(seed=1, n=400))
unseen = list(tinyworld.messages(seed=2, n=200, held_out=True))
for message in mail[:3]:
    print(f"{message.label:5} {message.text}")

# %% [markdown]
# Spam and honest messages ("ham") speak of the same things, so no single noun gives them away. The 200 *unseen* ones
# combine sentences and things as no training message does.
#
# ## A model that reads
#
# A short training on stories, as in `vidro learn training`. Its head scores every token.

# %%
stories = re.findall(r"\w+|[^\w\s]", tinyworld.text(seed=1, n_bytes=150_000))
letters = re.findall(r"\w+|[^\w\s]", " ".join(message.text for message in mail))
dictionary = ["<pad>", "<unk>", *sorted({*stories, *letters})]
number_of = {word: number for number, word in enumerate(dictionary)}
ids, T = torch.tensor([number_of[word] for word in stories]), 32


def fresh_model():
    torch.manual_seed(0)
    return GPT(len(dictionary), context_length=T, d_model=32, n_layers=2, n_heads=2)


reader, dice = fresh_model(), torch.Generator().manual_seed(1)
places = torch.randint(len(ids) - T, (150, 8, 1), generator=dice) + torch.arange(T)
optimizer = AdamW(reader.parameters(), 0.005)
losses = train(reader, optimizer, [(ids[at], ids[at + 1]) for at in places])
print(f"loss {losses[0]:.0f} → {losses[-1]:.0f}")
print("old head", list(reader.head.weight.shape))
classifier = with_class_head(copy.deepcopy(reader), n_classes=2)
print("new head", list(classifier.head.weight.shape))

# %% [markdown]
# ## Which token is asked
#
# The body gives a vector for each token. Attention looks back only, so the first token's vector knows nothing of the
# message, and the last one's knows all of it. We ask the last.
#
# In a batch there is a trap. Messages differ in length, and shorter ones are filled up. The last *column* of a short
# message is filling. So we note where each message's last real token stands.


# %%
def table(messages):
    """ids [B, T], where the last real token stands, and labels: 1 for spam."""
    words = [re.findall(r"\w+|[^\w\s]", message.text) for message in messages]
    rows = [[number_of.get(word, 1) for word in message] for message in words]
    labels = torch.tensor([int(message.label == "spam") for message in messages])
    return padded(rows, pad_id=0), last_real(rows), labels


probe = copy.deepcopy(classifier)
torch.nn.init.normal_(probe.head.weight, generator=torch.Generator().manual_seed(0))
short, long = sorted(mail[:20], key=lambda message: len(message.text))[::19]
one, its_last, _ = table([short])
both, last, _ = table([short, long])
for name, scores in (
    ("alone", class_logits(probe, one, its_last)[0]),
    ("beside a longer one", class_logits(probe, both, last)[0]),
    ("… at the last column", probe(both)[0, -1]),
):
    print(f"{name:22}", [f"{score:.1f}" for score in scores.tolist()])

# %% [markdown]
# Read at its last real token, a message gets the same scores alone and in company. Read at the last column, its scores
# depend on how long its neighbours are. That is a bug which no error message tells.
#
# ## Training
#
# The loss is cross-entropy again, with two classes instead of a dictionary, and one question for each message. We try
# it three ways: all weights of the reader learn; only its last block, last norm and head do; and all weights learn, but
# from a random start, without having read anything.

# %%
test = table(unseen)


def taught(model, last_block_only=False, n_steps=90):
    """Train on 400 messages, 16 a step: accuracy on unseen messages, by step."""
    with_class_head(model, 2)
    if last_block_only:
        only_last_block_learns(model)
    free = [weights for weights in model.parameters() if weights.requires_grad]
    optimizer = AdamW(free, lr=0.003)
    dice, course = torch.Generator().manual_seed(1), {0: accuracy(model, *test)}
    for step in range(1, n_steps + 1):
        drawn = torch.randint(len(mail), (16,), generator=dice)
        x, last, labels = table([mail[number] for number in drawn])
        optimizer.zero_grad()
        class_loss(model, x, last, labels).backward()
        optimizer.step()
        if step % 10 == 0:
            course[step] = accuracy(model, *test)
    return course


ways = {
    "reader, all": (reader, False),
    "reader, last block": (reader, True),
    "random, all": (fresh_model(), False),
}
lines = {}
for name, (model, last_block_only) in ways.items():
    course = taught(model := copy.deepcopy(model), last_block_only)
    lines[name] = list(course), list(course.values())
    right = lines[name][1][-1]
    print(f"{name:20} {n_learning(model):6,} numbers learn; unseen right: {right:.0%}")
curves(lines, x="steps", y="share of unseen right", title="Learning to tell spam")

# %% [markdown]
# All begin at half, which is what guessing gives, and all learn it. Fewer weights learn less. The random start is
# slower, and in the end about as good as the reader: it takes more reading than our 150 steps, or a harder question,
# before reading pays much. In the experiments beside Raschka's book (2024), GPT-2 is right about 96.7 % of the test
# messages from the trained start and 93.7 % from the random one.
#
# So a classifier needs a yardstick that does not read at all. A *bag of words* only counts which words are there.

# %%
bag = BagOfWords()
bag.fit([message.text for message in mail], [message.label for message in mail])
said = bag.predict([message.text for message in unseen])
right = sum(guess == message.label for guess, message in zip(said, unseen, strict=True))
print(f"bag of words: {right / len(unseen):.0%} of unseen messages right")

# %% [markdown]
# If a bag of words does as well, the task did not need a language model. `vidro finetune classify` always reports it
# beside the accuracy.
#
# ## Try
#
# In `taught`, write `last = [0] * len(last)` after `x, last, labels = …`: while training, the first token is asked,
# which has seen one word, "Dear" perhaps. Read as before, the model is right about half of the time: it only guesses.
#
# Then write it yourself: `vidro learn stub classifier --out mine.py`, `vidro learn check classifier mine.py`.
#
# ## Next
#
# A label is a short answer. `vidro learn instructions` teaches a model to answer in words.
