"""Exercise for instructions: template, padding, targets one place on, and -100 in the right places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vidro.learn.adapt import build
from vidro.learn.exercise import Exercise, Solution, Step, Wrong

STUB = '''\
"""Exercise instructions: from a task to targets. Check it with: vidro learn check instructions FILE"""

TASK = "Below is an instruction that describes a task. Write a response that appropriately completes the task."


def format_input(entry):
    """The task in Alpaca's form: TASK, an empty line, "### Instruction:", the instruction in the next line.

    If entry["input"] is not empty: an empty line, "### Input:", and the input in the next line.
    No line end at the very end.
    """
    raise NotImplementedError


def collate(batch, pad_id):
    """`batch` is a list of rows of ids. Two lists of rows (or two tensors), all of one length: inputs and targets.

    Each row gets pad_id as its end token, then is filled up with pad_id to the longest. Inputs: all but the last id.
    Targets: all but the first id; -100 for every filling, but not for the end token itself.
    """
    raise NotImplementedError


def mask_prompts(targets, n_prompt):
    """The targets (a list of rows, as above) with -100 for the task: row i begins with n_prompt[i] ids of the task."""
    raise NotImplementedError
'''

PAD, IGNORE = 50, -100
BATCH = [[1, 2, 3, 4, 5], [6, 7], [8, 9, 10]]
INPUTS = [[1, 2, 3, 4, 5], [6, 7, PAD, PAD, PAD], [8, 9, 10, PAD, PAD]]
TARGETS = [[2, 3, 4, 5, PAD], [7, PAD, IGNORE, IGNORE, IGNORE], [9, 10, PAD, IGNORE, IGNORE]]
TASK = "Below is an instruction that describes a task. Write a response that appropriately completes the task."
FORMAT = ("format_input", "format_instruction_input", "format_prompt")
COLLATE = ("collate", "custom_collate_fn", "custom_instruction_collate_fn", "collate_fn")
NONE_INPUT, SOME_INPUT = ({"instruction": "Name a bird.", "input": "", "output": "A gull."},
                          {"instruction": "Write it in capitals.", "input": "goose", "output": "GOOSE"})  # fmt: skip


def prompt_of(entry: Mapping[str, str]) -> str:
    """What format_input must give."""
    given = f"\n\n### Input:\n{entry['input']}" if entry["input"] else ""
    return f"{TASK}\n\n### Instruction:\n{entry['instruction']}{given}"


def formatted(solution: Solution, entry: Mapping[str, str]) -> str:
    """The reader's text; Wrong if it is not the template's."""
    found = solution.get(*FORMAT)(entry)
    if not isinstance(found, str):
        raise Wrong("format_input gives a text", found=type(found).__name__, hint="Is there a return?")
    right = prompt_of(entry)
    if found == right:
        return found
    if "### Response:" in found:
        raise Wrong("the heading of the answer is not part of the task: leave it out here")
    if found.strip() == right:
        raise Wrong("there is white space at the beginning or the end", found=repr(found[-12:]))
    if found.split() == right.split():
        raise Wrong("blanks or line ends are in other places", found=repr(found), expected=repr(right))
    place = next((i for i, (a, b) in enumerate(zip(found, right, strict=False)) if a != b), min(len(found), len(right)))
    raise Wrong(f"character {place + 1} is another", found=repr(found[place:][:20]), expected=repr(right[place:][:20]))


def the_template_is_right(solution: Solution) -> None:
    """A task with an input."""
    formatted(solution, SOME_INPUT)


def no_input_no_heading(solution: Solution) -> None:
    """A task without."""
    if "### Input" in str(solution.get(*FORMAT)(NONE_INPUT)):
        raise Wrong("there is no input, and its heading is written all the same")
    formatted(solution, NONE_INPUT)


def lists(answer: Any) -> list[list[int]]:
    """Rows of numbers from lists or a tensor."""
    rows = (
        answer.tolist() if isinstance(answer, Tensor) else [getattr(row, "tolist", lambda r=row: r)() for row in answer]
    )
    return [[int(number) for number in row] for row in rows]


def collated(solution: Solution, batch: Sequence[Sequence[int]], pad_id: int = PAD) -> list[list[list[int]]]:
    """The reader's inputs and targets."""
    called = {"pad_token_id": pad_id, "rows": batch, "end_id": pad_id, "ignore_index": IGNORE, "device": "cpu"}
    found = build(solution.get(*COLLATE), batch=[list(row) for row in batch], pad_id=pad_id, **called)
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise Wrong("collate gives two things: inputs and targets", found=type(found).__name__)
    return [lists(part) for part in found]


def inputs_are_padded(solution: Solution) -> None:
    """All of one length, the longest row's."""
    found, _ = collated(solution, BATCH)
    widths = sorted({len(row) for row in found})
    if len(widths) > 1:
        raise Wrong("the rows are not of one length", found=widths)
    if found == INPUTS:
        return
    if widths[0] > len(INPUTS[0]):
        raise Wrong("the rows are too long: the end token is a target, but the last id is never an input",
                    found=widths[0], expected=len(INPUTS[0]))  # fmt: skip
    if widths[0] < len(INPUTS[0]):
        raise Wrong(
            "the rows are too short: the longest row lost its last id", found=widths[0], expected=len(INPUTS[0])
        )
    if any(IGNORE in row for row in found):
        raise Wrong("-100 is no token: it belongs into the targets only", found=found[1])
    raise Wrong("the inputs are not right", found=found, expected=INPUTS)


def targets_are_one_place_on(solution: Solution) -> None:
    """The longest row, which has no filling."""
    found = collated(solution, BATCH)[1][0]
    if found == TARGETS[0]:
        return
    mistakes = {
        tuple(BATCH[0]): "the targets are the inputs: they must be one place on",
        (2, 3, 4, 5, IGNORE): "the end token is not learned: a model taught by this would never stop",
        (2, 3, 4, 5): "the last target is missing: after the last id comes the end token",
        (IGNORE, 1, 2, 3, 4): "the targets are one place back: what comes next stands one place on",
    }
    raise Wrong(mistakes.get(tuple(found), "the targets are not right"), found=found, expected=TARGETS[0])


def filling_is_not_learned(solution: Solution) -> None:
    """-100, but for the first."""
    found = collated(solution, BATCH)[1][1:]
    if found == TARGETS[1:]:
        return
    if all(number != IGNORE for row in found for number in row):
        raise Wrong("the filling is learned: its targets must be -100", found=found[0], expected=TARGETS[1])
    if found[0] == [7, IGNORE, IGNORE, IGNORE, IGNORE]:
        raise Wrong("the first filling is the row's end, and must be learned", found=found[0], expected=TARGETS[1])
    raise Wrong("the targets of shorter rows are not right", found=found, expected=TARGETS[1:])


def ids_may_look_like_filling(solution: Solution) -> None:
    """A row that has the end token inside: a talk of two turns."""
    _, targets = collated(solution, [[1, PAD, 3, 4], [5]])
    if targets[0] != [PAD, 3, 4, PAD]:
        raise Wrong("an end token inside a row was taken for filling, or what came after it: count places, not ids",
                    found=targets[0], expected=[PAD, 3, 4, PAD])  # fmt: skip


def tasks_are_not_learned(solution: Solution) -> None:
    """-100 up to the last id of the task."""
    right = [[IGNORE, IGNORE, 4, 5, PAD], [7, PAD, IGNORE, IGNORE, IGNORE], [IGNORE, 10, PAD, IGNORE, IGNORE]]
    lengths = [3, 1, 2]
    masked = solution.get("mask_prompts", "mask_prompt", "mask_instructions")
    answer = masked([list(row) for row in TARGETS], lengths)
    if answer is None:
        raise Wrong("mask_prompts gives rows", found="None", hint="Is there a return?")
    found = lists(answer)
    if found == right:
        return
    if found == [[IGNORE] * n + row[n:] for row, n in zip(TARGETS, lengths, strict=True)]:
        raise Wrong("one too many is masked: the first token of the answer is the target at the task's last token")
    if found == TARGETS:
        raise Wrong("nothing is masked")
    raise Wrong("the masked targets are not right", found=found, expected=right)


def the_loss_counts_what_is_left(solution: Solution) -> None:
    """Held against PyTorch: what the loss leaves out is what we meant."""
    _, targets = collated(solution, [[1, 2, 3, 4], [5, 6]])
    masked = solution.get("mask_prompts", "mask_prompt", "mask_instructions")(targets, [2, 1])
    flat = torch.tensor(lists(masked)).flatten()
    loss = torch.nn.functional.cross_entropy(torch.zeros(len(flat), PAD + 1), flat, reduction="none")
    if int((loss > 0).sum()) != 5:
        raise Wrong("the loss counts other tokens", found=int((loss > 0).sum()), expected=5)


EXERCISE = Exercise(
    "instructions",
    STUB,
    (
        Step("a task has Alpaca's form", the_template_is_right),
        Step("a task without input has no heading for it", no_input_no_heading),
        Step("inputs are filled up to one length", inputs_are_padded),
        Step("targets are one place on, and end with the end token", targets_are_one_place_on),
        Step("filling is not learned, the end is", filling_is_not_learned),
        Step("an end token inside a row stays", ids_may_look_like_filling),
        Step("the task is not learned", tasks_are_not_learned),
        Step("the loss counts answers and ends only", the_loss_counts_what_is_left),
    ),
    solution="vidro.learn.instructions",
)
