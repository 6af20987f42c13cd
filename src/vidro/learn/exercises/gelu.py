"""Exercise for gelu: the bend in numbers, in any shape, and in its slope.

Both published formulas pass, by erf and by tanh; they differ by less than 0.0005, which is more than the tolerance, so
a formula that is a little wrong is neither.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidro.learn.exercise import Exercise, Solution, Step, Wrong

STUB = '''\
"""Exercise gelu: a smooth bend. Check it with: vidro learn check gelu FILE"""

import math

import torch


def gelu(x):
    """x times the chance that a random number of the bell curve lies below x, for a tensor of any shape."""
    # By torch.erf: x · (1 + erf(x / √2)) / 2, or by tanh: x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2.
    raise NotImplementedError
'''

POINTS = torch.linspace(-5.0, 5.0, 101)
INNER = math.sqrt(2.0 / math.pi)

MISTAKES: dict[str, Callable[[Tensor], Tensor]] = {
    "this is relu: it bends, but not softly": F.relu,
    "this is SiLU: the chance is that of another curve": F.silu,
    "this is x · sigmoid(1.702 x), a third and rougher formula": lambda x: x * torch.sigmoid(1.702 * x),
    "the chance is there, but x is not multiplied by it": lambda x: (1 + torch.erf(x / math.sqrt(2))) / 2,
    "the half is missing: (1 + …) goes from 0 to 2": lambda x: x * (1 + torch.erf(x / math.sqrt(2))),
    "the 1 is missing: erf and tanh go from −1 to 1": lambda x: x * torch.erf(x / math.sqrt(2)) / 2,
    "erf(x): divide by √2 first": lambda x: x * (1 + torch.erf(x)) / 2,
    "0.044715 belongs to x³, not to x²": lambda x: x * (1 + torch.tanh(INNER * (x + 0.044715 * x**2))) / 2,
    "the part with x³ is missing": lambda x: x * (1 + torch.tanh(INNER * x)) / 2,
    "√(2/π), not √2 / π": lambda x: x * (1 + torch.tanh(math.sqrt(2) / math.pi * (x + 0.044715 * x**3))) / 2,
}


def bend(solution: Solution, x: Tensor) -> Tensor:
    """The reader's gelu of a tensor: a function, or a module that is built first."""
    found: Any = solution.get("gelu", "GELU", "Gelu", "gelu_by_tanh", "new_gelu", "NewGELU")
    made: Any = found() if inspect.isclass(found) else found
    answer = made(x)
    if not isinstance(answer, Tensor):
        raise Wrong("the answer is no tensor", found=type(answer).__name__, hint="Is there a return?")
    return answer


def it_keeps_the_shape(solution: Solution) -> None:
    """Every number by itself."""
    for shape in ((), (3,), (2, 3, 4)):
        found = bend(solution, torch.zeros(shape))
        if found.shape != shape:
            raise Wrong("a bend keeps the shape", found=list(found.shape), expected=list(shape))
    if bend(solution, torch.zeros(3)).abs().max() > 1e-6:
        raise Wrong("gelu(0) is 0", found=round(bend(solution, torch.zeros(3))[0].item(), 4))


def it_passes_large_numbers(solution: Solution) -> None:
    """To the right x itself, to the left nothing."""
    x = torch.tensor([6.0, 20.0, 1000.0, -6.0, -20.0, -1000.0])
    answer = bend(solution, x)
    for value, found, wanted in zip(x.tolist(), answer.tolist(), F.relu(x).tolist(), strict=True):
        if not abs(found - wanted) < 1e-3:
            hint = "e to a large power is infinite: let torch.tanh or torch.erf do it." if math.isnan(found) else None
            raise Wrong(f"gelu({value:g})", found=round(found, 4), expected=wanted, hint=hint)


def it_gives_the_numbers(solution: Solution) -> None:
    """One of the two formulas; else which mistake gives what came out."""
    answer = bend(solution, POINTS)
    exact, by_tanh = F.gelu(POINTS), F.gelu(POINTS, approximate="tanh")
    if torch.allclose(answer, exact, atol=1e-5) or torch.allclose(answer, by_tanh, atol=1e-5):
        return
    for mistake, wrong in MISTAKES.items():
        if torch.allclose(answer, wrong(POINTS), atol=2e-3):  # made with either formula
            raise Wrong(mistake)
    worst = int((answer - exact).abs().argmax())
    found, wanted = round(answer[worst].item(), 4), round(exact[worst].item(), 4)
    raise Wrong(f"gelu({POINTS[worst].item():.1f})", found=found, expected=wanted)


def it_has_a_slope(solution: Solution) -> None:
    """The gradient left of 0 is there, and it is the right one."""
    x, twin = POINTS.clone().requires_grad_(), POINTS.clone().requires_grad_()
    answer = bend(solution, x)
    if not answer.requires_grad:
        raise Wrong("no gradient goes through", hint="Is it cut off by detach(), .data, no_grad() or .item()?")
    answer.sum().backward()
    F.gelu(twin).sum().backward()
    assert x.grad is not None
    assert twin.grad is not None
    if not torch.allclose(x.grad, twin.grad, atol=2e-3):
        worst = int((x.grad - twin.grad).abs().argmax())
        raise Wrong(
            f"the slope at {POINTS[worst].item():.1f}",
            found=round(x.grad[worst].item(), 3),
            expected=round(twin.grad[worst].item(), 3),
            hint="Both factors depend on x: neither may be detached.",
        )


EXERCISE = Exercise(
    "gelu",
    STUB,
    (
        Step("0 stays 0, and every shape is kept", it_keeps_the_shape),
        Step("the numbers are right", it_gives_the_numbers),
        Step("large numbers pass, very negative ones vanish", it_passes_large_numbers),
        Step("it has a slope on the left", it_has_a_slope),
    ),
    solution="vidro.learn.gelu",
)
