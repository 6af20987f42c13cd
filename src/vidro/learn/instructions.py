r"""Instructions: a template, ids, padding, targets, and -100 where nothing is to be learned.

What the rung below lacks (`training`): its rows are cut from one long text, all equally long, and every token is to be
learned. A task and its answer are a row of their own length, and only the answer is to be learned. Four steps:

    template   the task in a fixed form, so that the model knows where its answer begins
    ids        task ids + answer ids, and at the end the end token: the model must learn to stop
    padding    shorter rows are filled up with the end token, which the loss does not see
    targets    the ids one place on; -100 where nothing is to be learned

>>> inputs, targets = collate([[5, 6, 7], [8]], pad_id=0)
>>> inputs
[[5, 6, 7], [8, 0, 0]]
>>> targets
[[6, 7, 0], [0, -100, -100]]

The first 0 of the second row is its end and is learned; the others are filling. Cross-entropy in PyTorch leaves out
targets of -100 by itself. The template is Alpaca's (Taori et al. 2023).

`tests/equal/test_training_rungs_equal.py` proves the same ids and targets for production (`vidro.text.styles`,
`vidro.data.collate`). That knows other templates and talks of many turns, and never asks an id whether it is filling.
Next rung: `judging`, how good such answers are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

IGNORE = -100
"""Target of a token that is not counted."""

Rows = list[list[int]]

TASK = "Below is an instruction that describes a task. Write a response that appropriately completes the task."


def format_input(entry: Mapping[str, str]) -> str:
    r"""The task in Alpaca's form, up to where the answer begins; a task without an input has no such part.

    >>> print(format_input({"instruction": "Write in capital letters.", "input": "goose"}))
    Below is an instruction that describes a task. Write a response that appropriately completes the task.
    <BLANKLINE>
    ### Instruction:
    Write in capital letters.
    <BLANKLINE>
    ### Input:
    goose
    """
    given = f"\n\n### Input:\n{entry['input']}" if entry.get("input") else ""
    return f"{TASK}\n\n### Instruction:\n{entry['instruction']}{given}"


def to_ids(entry: Mapping[str, str], encode: Callable[[str], list[int]]) -> tuple[list[int], int]:
    """Task and answer as ids, and how many of them are the task.

    The two are encoded apart, so that the border between them is a border between tokens, as it will be when the model
    answers.

    >>> to_ids({"instruction": "Hi", "output": "Yes"}, encode=lambda text: [len(text)])
    ([139, 3], 1)
    """
    task = encode(format_input(entry) + "\n\n### Response:\n")
    return task + encode(entry["output"]), len(task)


def collate(batch: Sequence[Sequence[int]], pad_id: int) -> tuple[Rows, Rows]:
    """Inputs and targets of rows of ids, all as long as the longest row. `pad_id` ends each row and fills it up."""
    length = max(len(row) for row in batch) + 1  # with the end token
    inputs: Rows = []
    targets: Rows = []
    for row in batch:
        full = [*row, *[pad_id] * (length - len(row))]
        inputs.append(full[:-1])
        n_learned = len(row)  # the tokens after the first, and the end
        targets.append(full[1 : n_learned + 1] + [IGNORE] * (length - 1 - n_learned))
    return inputs, targets


def mask_prompts(targets: Sequence[Sequence[int]], n_prompt: Sequence[int]) -> Rows:
    """The targets with -100 wherever the answer to "what comes next?" is still a token of the task.

    A task of 3 tokens has 2 such places: the first token is never a target, and at the third the answer begins.

    >>> mask_prompts([[11, 12, 13, 14]], n_prompt=[3])
    [[-100, -100, 13, 14]]
    """
    return [[IGNORE] * (n - 1) + list(row[n - 1 :]) for row, n in zip(targets, n_prompt, strict=True)]
