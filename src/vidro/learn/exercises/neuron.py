"""Exercise for neuron: one neuron by hand, a layer of them, and weights for "either, but not both".

The last step asks for weights and not for code: whoever finds them has understood what the bend is for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vidro.learn.adapt import build
from vidro.learn.exercise import Exercise, Solution, Step, Wrong

STUB = '''\
"""Exercise neuron: dot product, bias, bend. Check it with: vidro learn check neuron FILE"""

import torch
from torch import nn


def neuron(x, weights, bias):
    """relu(x · weights + bias) for lists of numbers; no torch needed."""
    raise NotImplementedError


class Layer(nn.Module):
    """d_out neurons on the same input: [..., d_in] in, [..., d_out] out, relu at the end."""

    def __init__(self, d_in, d_out):
        super().__init__()
        # A matrix of weights (a row for each neuron, say) and a bias for each, as nn.Parameter or in nn.Linear.
        raise NotImplementedError

    def forward(self, x):
        raise NotImplementedError


def either_but_not_both():
    """Weights for a network of three neurons that gives 1 for (1, 0) and (0, 1), and 0 for (0, 0) and (1, 1)."""
    # Return four things: the two rows of weights of the first two neurons, [[., .], [., .]]; their biases, [., .];
    # the weights of the neuron that reads those two, [., .]; its bias, a number. relu stands after all three.
    raise NotImplementedError
'''

D_IN, D_OUT = 4, 3


def asked(solution: Solution, x: list[float], weights: list[float], bias: float) -> float:
    """What the reader's neuron answers, as a number."""
    answer: Any = solution.get("neuron", "Neuron", "perceptron")(x, weights, bias)
    answer = answer.item() if isinstance(answer, Tensor) and answer.numel() == 1 else answer
    if not isinstance(answer, int | float):
        raise Wrong("a neuron answers with one number", found=answer)
    return float(answer)


def it_multiplies_and_adds(solution: Solution) -> None:
    """The dot product where nothing is negative."""
    found = asked(solution, [1.0, 2.0, 3.0], [0.5, 0.25, 1.0], 0.0)
    if abs(found - 4.0) > 1e-6:
        hint = "Divide by nothing: it is the sum, not the mean." if abs(found - 4 / 3) < 1e-6 else None
        raise Wrong("1 · 0.5 + 2 · 0.25 + 3 · 1", found=found, expected=4.0, hint=hint)


def it_has_a_threshold(solution: Solution) -> None:
    """The bias is added once, before the bend."""
    found = asked(solution, [1.0, 2.0, 3.0], [0.5, 0.25, 1.0], 1.5)
    each = "the bias is added for every number: add it once"
    if abs(found - 5.5) > 1e-6:
        mistakes = {4.0: "the bias is not added", 2.5: "the bias is taken away: add it", 8.5: each, 10.0: each}
        raise Wrong(mistakes.get(found, "the same with bias 1.5"), found=found, expected=5.5)
    found = asked(solution, [1.0], [-0.5], 1.0)
    if abs(found - 1.0) < 1e-6:
        raise Wrong("the bias is added after the bend", found=found, expected=0.5, hint="bend(x · weights + bias)")


def it_bends(solution: Solution) -> None:
    """0 where the sum is negative."""
    found = asked(solution, [1.0, 1.0], [-2.0, 0.5], 0.25)
    if found != 0.0:
        known = {-1.25: "without a bend", 1.25: "the sign was dropped, which is another bend (abs)"}
        raise Wrong(known.get(found, "the sum is −1.25, and relu makes it 0"), found=found, expected=0.0)


def layer_of(solution: Solution) -> tuple[nn.Module, Tensor, Tensor]:
    """The reader's layer with known numbers; its weights as [d_out, d_in] and its biases."""
    torch.manual_seed(0)
    layer = build(solution.get("Layer", "NeuronLayer", "Neurons", "DenseLayer", "Dense"), d_in=D_IN, d_out=D_OUT)
    if not isinstance(layer, nn.Module):
        raise Wrong("it is no nn.Module", hint="Write class Layer(nn.Module).")
    shapes = {tuple(parameter.shape): parameter for parameter in layer.parameters()}
    if (D_OUT,) not in shapes or not {(D_OUT, D_IN), (D_IN, D_OUT)} & set(shapes):
        hint = "A plain tensor is not a parameter: nn.Parameter(tensor)."
        found = [list(shape) for shape in shapes] or "none"
        raise Wrong(f"a matrix of {D_OUT} × {D_IN} weights and {D_OUT} biases are needed", found=found, hint=hint)
    holder = shapes.get((D_OUT, D_IN), shapes.get((D_IN, D_OUT)))
    assert holder is not None
    weights = holder.data if holder.shape[0] == D_OUT else holder.data.T
    dice = torch.Generator().manual_seed(2)
    with torch.no_grad():
        weights.copy_(torch.randn(D_OUT, D_IN, generator=dice))
        shapes[(D_OUT,)].copy_(torch.randn(D_OUT, generator=dice))
    return layer, weights, shapes[(D_OUT,)].data


def a_layer_is_many_neurons(solution: Solution) -> None:
    """Each column of the answer is a neuron; batches of any shape go through."""
    layer, weights, biases = layer_of(solution)
    for shape in ((5, D_IN), (2, 3, D_IN)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
        answer = layer(x)
        right = (x @ weights.T + biases).relu()
        if not isinstance(answer, Tensor) or answer.shape != right.shape:
            found = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise Wrong(f"{list(shape)} went in", found=found, expected=list(right.shape))
        known: dict[str, Callable[[], Tensor]] = {
            "the biases are not added": lambda x=x: (x @ weights.T).relu(),
            "the layer does not bend: relu is missing": lambda x=x: x @ weights.T + biases,
            "the biases are added after relu": lambda x=x: (x @ weights.T).relu() + biases,
        }
        if not torch.allclose(answer, right, atol=1e-5):
            named = [what for what, wrong in known.items() if torch.allclose(answer, wrong(), atol=1e-5)]
            raise Wrong(named[0] if named else "the numbers are not those of the neurons")


def either_is_found(solution: Solution) -> None:
    """The weights are right, as numbers and for the reader's own neuron."""
    answer = solution.get("either_but_not_both", "xor")()
    problem = "four things must come back: two rows of weights, two biases, two weights, a bias"
    try:
        rows, biases, last, last_bias = answer
        (first, second), (one, two) = rows, biases
        weights = [[float(value) for value in row] for row in (first, second, last)]
        moves = [float(value) for value in (one, two, last_bias)]
    except (TypeError, ValueError):
        raise Wrong(problem, found=answer) from None
    if {len(row) for row in weights} != {2}:
        raise Wrong(problem, found=answer)
    for pair, wanted in (([0.0, 0.0], 0.0), ([1.0, 0.0], 1.0), ([0.0, 1.0], 1.0), ([1.0, 1.0], 0.0)):
        hidden = [asked(solution, pair, weights[i], moves[i]) for i in (0, 1)]
        found = asked(solution, hidden, weights[2], moves[2])
        if abs(found - wanted) > 1e-6:
            hint = "Let one neuron count, and the other answer only to (1, 1)."
            raise Wrong(f"{tuple(map(int, pair))} gives", found=found, expected=wanted, hint=hint)


EXERCISE = Exercise(
    "neuron",
    STUB,
    (
        Step("a neuron multiplies and adds up", it_multiplies_and_adds),
        Step("the bias moves its threshold", it_has_a_threshold),
        Step("below 0 it says 0", it_bends),
        Step("a layer is many neurons", a_layer_is_many_neurons),
        Step("three neurons can say: either, but not both", either_is_found),
    ),
    solution="vidro.learn.neuron",
)
