"""Exercise for saving: what a training needs to go on exactly, and a file that is whole or not there."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.training import AdamW, train

STUB = '''\
"""Exercise saving: going on exactly. Check it with: vidro learn check saving FILE"""

import hashlib

import safetensors.torch
import torch


def state_of(model, optimizer, dice):
    """Everything that the next step depends on: a dictionary of names to tensors, as copies.

    optimizer is vidro.learn.training.AdamW: look at what it remembers. dice is a torch.Generator.
    """
    raise NotImplementedError


def put_back(state, model, optimizer, dice):
    """The inverse: model, optimizer and dice are afterwards as they were when the state was taken."""
    raise NotImplementedError


def write(path, state):
    """Put the state into the file `path` (a pathlib.Path) so that the file is always whole: beside it, then renamed.

    safetensors.torch.save(state) gives bytes.
    """
    raise NotImplementedError


def read(path):
    """The state in a file. A ValueError where the file was cut short or altered, even by one bit."""
    raise NotImplementedError
'''

V, T = 7, 5
Training = tuple[nn.Module, AdamW, torch.Generator]


def start(seed: int = 0) -> Training:
    """A small model whose weights, optimizer and dice are fresh."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Embedding(V, 6), nn.Linear(6, V))
    return model, AdamW(model.parameters(), lr=0.05), torch.Generator().manual_seed(seed)


def go_on(training: Training, n_steps: int) -> list[float]:
    """So many steps on random tokens; their losses."""
    model, optimizer, dice = training
    rows = (torch.randint(V, (3, T + 1), generator=dice) for _ in range(n_steps))
    return train(model, optimizer, ((row[:, :-1], row[:, 1:]) for row in rows))


def parts(training: Training) -> dict[str, list[Tensor]]:
    """What a training consists of, by the names that a reader knows."""
    model, optimizer, dice = training
    return {
        "the weights": [weights.detach() for weights in model.parameters()],
        "the optimizer's mean of gradients": optimizer.mean,
        "the optimizer's mean of squares": optimizer.square,
        "the optimizer's number of steps": [torch.tensor(optimizer.steps)],
        "the state of the dice": [dice.get_state()],
    }


def taken(solution: Solution, training: Training) -> Any:
    """The reader's state of a training."""
    state = solution.get("state_of")(*training)
    if not isinstance(state, dict) or not all(isinstance(numbers, Tensor) for numbers in state.values()):
        raise Wrong("state_of gives a dictionary of tensors", found=type(state).__name__, hint="torch.tensor(number)")
    return state


def all_comes_back(solution: Solution) -> None:
    """Each part, after it was put into a fresh training."""
    before = start()
    go_on(before, 3)
    wanted = copy.deepcopy({name: list(kept) for name, kept in parts(before).items()})
    again = start(seed=9)
    solution.get("put_back")(taken(solution, before), *again)
    for name, kept in parts(again).items():
        if not all(torch.equal(one, other) for one, other in zip(kept, wanted[name], strict=True)):
            raise Wrong(f"{name} does not come back" if name.startswith("the state") else f"not kept: {name}")


def it_is_a_copy(solution: Solution) -> None:
    """What training does afterwards is not in it."""
    training = start()
    go_on(training, 2)
    state = taken(solution, training)
    before = {name: numbers.clone() for name, numbers in state.items()}
    go_on(training, 2)
    changed = [name for name, numbers in state.items() if not torch.equal(numbers, before[name])]
    if changed:
        raise Wrong(f"training went on, and {changed[0]} in the state changed with it", hint="Keep copies: clone().")


def it_can_be_put_back_twice(solution: Solution) -> None:
    """Going on from a state leaves the state as it is."""
    training = start()
    go_on(training, 2)
    state = taken(solution, training)
    courses = []
    for _ in range(2):
        again = start(seed=9)
        solution.get("put_back")(state, *again)
        courses.append(go_on(again, 3))
    if courses[0] != courses[1]:
        raise Wrong("the second time another course comes out: what was put back is the state itself, not a copy")


def the_course_is_the_same(solution: Solution) -> None:
    """With a break through a file and without one."""
    whole = go_on(start(), 8)
    training = start()
    go_on(training, 4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        solution.get("write")(path, taken(solution, training))
        if not path.is_file():
            raise Wrong("write wrote no file of that name", found=sorted(each.name for each in Path(folder).iterdir()))
        again = start(seed=9)
        solution.get("put_back")(solution.get("read")(path), *again)
        left = [each.name for each in Path(folder).iterdir() if each != path]
    if left:
        raise Wrong(f"write leaves {left[0]} behind")
    found = go_on(again, 4)
    if found != whole[4:]:
        raise Wrong("after the break the losses are others", found=round(found[0], 4), expected=round(whole[4], 4))


def it_is_renamed(solution: Solution) -> None:
    """The old file is never opened for writing: who holds it open still reads all of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        state = taken(solution, start())
        solution.get("write")(path, state)
        with path.open("rb") as old:
            whole = path.read_bytes()
            solution.get("write")(path, {**state, "more": torch.ones(3)})
            if old.read() != whole:
                raise Wrong(
                    "the old file was written over: a break half-way leaves neither the old nor the new one",
                    hint="Write to another name in the same folder, then replace.",
                )


def refused(read: Callable[[Path], object], path: Path, content: bytes, what: str) -> None:
    """Nothing if `read` raises ValueError for this content."""
    path.write_bytes(content)
    try:
        read(path)
    except ValueError:
        return
    except Exception as problem:
        raise Wrong(f"a file that {what}: a ValueError is expected", found=type(problem).__name__) from None
    raise Wrong(f"a file that {what} is read as if nothing were wrong", hint="Keep a checksum: hashlib.sha256.")


def torn_files_are_refused(solution: Solution) -> None:
    """Cut, lengthened, altered anywhere."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        solution.get("write")(path, taken(solution, start()))
        whole, read = path.read_bytes(), solution.get("read")
        refused(read, path, whole[:-4], "was cut short")
        refused(read, path, b"", "is empty")
        for place in (5, len(whole) // 2, len(whole) - 2):
            altered = whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :]
            refused(read, path, altered, f"was altered in one bit, at byte {place}")


EXERCISE = Exercise(
    "saving",
    STUB,
    (
        Step("everything comes back: weights, optimizer, dice", all_comes_back),
        Step("the state is a copy", it_is_a_copy),
        Step("it can be put back twice", it_can_be_put_back_twice),
        Step("through a file, the course is the same to the bit", the_course_is_the_same),
        Step("the old file is whole until the new one takes its name", it_is_renamed),
        Step("a torn or altered file is refused", torn_files_are_refused),
    ),
    solution="vidro.learn.saving",
)
