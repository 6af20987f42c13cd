# %% [markdown]
# # How good are its answers?
#
# `vidro learn instructions` taught a model to answer. How well does it? A loss does not tell: it looks at one token at
# a time, and the question is about whole answers. So let us have some answers to tasks that the model has never seen.

# %%
import itertools
import random

import torch

from vidro.learn import judging
from vidro.learn.block import GPT
from vidro.learn.figures import bars, curves
from vidro.learn.generating import generate
from vidro.learn.instructions import collate, mask_prompts
from vidro.learn.training import AdamW

PAIRS = ["hot cold", "big small", "day night", "up down", "dry wet", "old new", "good bad", "high low", "fast slow"]
tasks = []
for one, other in [pair.split() for pair in PAIRS] + [pair.split()[::-1] for pair in PAIRS]:
    tasks += [(f"what is {what} {one}", f"the opposite of {one} is {other}") for what in ("the opposite of", "not")]
for one, other in itertools.permutations(["cat", "dog", "cow", "goat", "fox", "hen"], 2):
    for did, done in (("saw", "seen"), ("took", "taken"), ("bit", "bitten")):
        tasks.append((f"passive : the {one} {did} the {other}", f"the {other} was {done} by the {one}"))
random.Random(4).shuffle(tasks)
learned, unseen = tasks[30:], tasks[:30]
print(f"{len(learned)} tasks to learn from, {len(unseen)} kept apart:", *unseen[:2], sep="\n")

# %% [markdown]
# The model learns as in `instructions`, and is asked twice, for nine tokens each time: early, after 30 steps, and late,
# after 100.

# %%
dictionary = [*sorted({word for task in tasks for text in task for word in text.split()}), "<answer>", "<end>"]
END = dictionary.index("<end>")
asked = {task: [dictionary.index(word) for word in f"{task} <answer>".split()] for task, _ in tasks}

torch.manual_seed(0)
dice = torch.Generator().manual_seed(1)
model = GPT(len(dictionary), context_length=32, d_model=32, n_layers=2, n_heads=2)
optimizer = AdamW(model.parameters(), lr=0.005)
rows = [asked[task] + [dictionary.index(word) for word in text.split()] for task, text in learned]
inputs, targets = collate(rows, END)
x, y = torch.tensor(inputs), torch.tensor(mask_prompts(targets, [len(asked[task]) for task, _ in learned]))
written = {}
for step in range(101):
    if step in (30, 100):
        written[step] = [asked[task] + generate(model, asked[task], 9, context_length=32) for task, _ in unseen]
    at = torch.randint(len(x), (16,), generator=dice)
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x[at]).transpose(1, 2), y[at]).backward()
    optimizer.step()

# %% [markdown]
# ## Cut out the answer
#
# What we have are ids: the task, the answer, the end token, and then anything, for nobody taught the model what follows
# its end. The answer must be cut out, by *places*: whoever looks for a mark will one day find it in a task.

# %%
answers = {"early": [], "late": []}
for name, step in (("early", 30), ("late", 100)):
    for ids, (task, _) in zip(written[step], unseen, strict=True):
        answer = judging.answer_of(ids, len(asked[task]), END)
        answers[name].append(" ".join(dictionary[number] for number in answer))
print("whole: ", *(dictionary[number] for number in written[30][0]))
print("answer:", answers["early"][0])

# %% [markdown]
# ## Two measures that count
#
# *Exact match* asks whether the answer is the expected one. *Word F1* asks how many words the two have in common, as a
# share of all their words. Every figure needs a yardstick: what does somebody get who only *repeats the question*?

# %%
answers["the question"] = [task for task, _ in unseen]
marks = {}
for name, said in answers.items():
    exact, f1 = ([mark(one, expected) for one, (_, expected) in zip(said, unseen, strict=True)]
                 for mark in (judging.is_exact, judging.word_f1))  # fmt: skip
    marks |= {f"{name}: exact": exact, f"{name}: F1": f1}
    print(f"{name:13} exact {sum(exact):2} of 30   F1 {sum(f1) / 30:.2f}   not exact: {said[exact.index(False)]}")
bars({name: sum(each) / 30 for name, each in marks.items()}, y="mean", title="The same answers, measured twice")

# %% [markdown]
# A good F1 is easily had: the form of an answer with the wrong animal in it has most of the words, and so does the
# question. On the other side an answer may be right and not exact. Five answers to one task show both:

# %%
expected = "the dog was seen by the cat"
for answer in (expected, "the cat was seen by the dog", "the dog was seen by the fox", "by the cat , the dog was seen",
               "the dog got spotted by our cat"):  # fmt: skip
    print(f"{answer:32} exact {judging.is_exact(answer, expected):d}   F1 {judging.word_f1(answer, expected):.2f}")

# %% [markdown]
# The second is wrong and has an F1 of `1.00`; the fifth is right and has `0.57`. Exact match sees through the second,
# and calls the last two wrong. No counting of words mends that: somebody must understand them.
#
# ## A judge
#
# A larger model can. `vidro evaluate RUN --instructions FILE --judge ollama:llama3` asks one. First what it reads, then
# replies and what can be read in them. The replies are *examples*: we wrote them for this lesson.

# %%
task, expected = unseen[0]
print(judging.score_prompt(task, expected, answers["early"][0]), "\n")
for reply in ("85", "**Score: 85/100**", "I would give it an 85.", "2 of 7 words are wrong, so 70", "85.5", ""):
    print(f"{reply!r:32} {judging.read_score(reply)}")

# %% [markdown]
# A number and nothing else is taken. Whoever takes the first number of a sentence gets `2` where `70` was meant, and
# nobody notices. Whoever takes 0 for what cannot be read blames the model for its judge. So ask once more, with a
# reminder. If that fails too, count it, say it, and leave it out of the mean.

# %%
judge = iter(["90", "A fine answer!", "75", "40", "100", "It is wrong.", "I cannot say.", "0", "95"])
scores = [judging.ask_score(lambda prompt: next(judge), "…") for _ in range(7)]
read = [score for score in scores if score is not None]
mean, low, high = judging.interval(read, seed=1)
print(scores, f"→ {len(scores) - len(read)} unreadable; mean {mean:.1f}, 95 %: {low:.0f} to {high:.0f}")

# %% [markdown]
# ## How sure is a mean?
#
# Six scores say little. The interval is a *bootstrap*: draw six of the six scores, with repetition, take the mean, and
# do so 2,000 times. Between the ends lie 95 % of these means. (Scores all alike give a point: it knows no others.) More
# tasks make it narrower, but slowly: for half the width, four times as many are needed. For the late answers:

# %%
counts = (30, 60, 120, 240, 480)  # beyond 30: as if more tasks had gone the same way
ends = [judging.interval(marks["late: exact"] * (n // 30), seed=1) for n in counts]
curves({name: (counts, each) for name, each in zip(("mean", "low", "high"), zip(*ends, strict=True), strict=True)},
       x="tasks", y="exact match", title="How far 95 % of the means lie apart")  # fmt: skip

# %% [markdown]
# ## Two answers, in both orders
#
# Which of two answers is better is easier to say than a number. But judges prefer the one that they read first (Zheng
# et al. 2023). Let us build a judge with this very fault: it knows an exact answer, and says A where none decides.


# %%
def prefers_first(a, b, expected):
    """A judge's reply."""
    return "B" if judging.is_exact(b, expected) and not judging.is_exact(a, expected) else "A"


rows = list(zip(answers["late"], answers["early"], (expected for _, expected in unseen), strict=True))
as_a = [judging.read_choice(prefers_first(late, early, expected)) for late, early, expected in rows]
as_b = [judging.read_choice(prefers_first(early, late, expected)) for late, early, expected in rows]
print(f"the late answer is preferred {as_a.count('A')} times of 30 when read first, {as_b.count('B')} when read second")
both = [judging.outcome(one, other) for one, other in zip(as_a, as_b, strict=True)]
print({found: both.count(found) for found in ("win", "loss", "inconsistent")})

# %% [markdown]
# Asked in one order, the judge tells us what we want to hear. Asked in both, it shows where it has no opinion: where
# the outcome hangs on the order. Such pairs count as half a win, as ties do.
#
# ## Try
#
# Judges also like long answers. Let this one say `"A" if len(a) > len(b) else "B"`: do both orders find that fault?
#
# Then write it yourself: `vidro learn stub judging --out mine.py`, and `vidro learn check judging mine.py`.
#
# ## Next
#
# Every weight was trained for these answers. `vidro learn lora` leaves them all as they are, and learns beside them.
