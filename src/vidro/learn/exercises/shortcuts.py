"""Exercise for shortcuts: a deep network with and without them, and the measure that tells why."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidro.learn.adapt import build, run
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import same

STUB = '''\
"""Exercise shortcuts: a sum around each layer. Check it with: vidro learn check shortcuts FILE"""

import torch
from torch import nn


class DeepNetwork(nn.Module):
    """Linear layers with GELU after each; `sizes` [4, 4, 4, 1] makes three of them: 4 → 4 → 4 → 1.

    With shortcuts, each layer's result (after GELU) is added to what the layer was given, where both are equally wide.
    """

    def __init__(self, sizes, shortcuts):
        super().__init__()
        raise NotImplementedError

    def forward(self, x):
        raise NotImplementedError


def gradient_sizes(network):
    """A list of numbers, one per layer from first to last: the mean size of the gradient of its weights (not biases).

    It is called after backward(), when each weight has its .grad. The size of a number is its absolute value.
    """
    raise NotImplementedError
'''

NAMES = ("DeepNetwork", "ExampleDeepNeuralNetwork", "DeepNeuralNetwork", "Network")
GRADIENTS = ("gradient_sizes", "gradients", "mean_gradients")


def made(solution: Solution, sizes: list[int], *, shortcuts: bool) -> nn.Module:
    """The reader's network."""
    torch.manual_seed(0)
    aliases = {"sizes": sizes, "layer_sizes": sizes, "widths": sizes}
    switches = {"shortcuts": shortcuts, "use_shortcut": shortcuts, "use_shortcuts": shortcuts, "shortcut": shortcuts}
    network = build(solution.get(*NAMES), **aliases, **switches)
    if not isinstance(network, nn.Module):
        raise Wrong("it is no nn.Module", hint="Write class DeepNetwork(nn.Module).")
    found = [(layer.in_features, layer.out_features) for layer in layers(network)]
    expected = list(pairwise(sizes))
    if found != expected:
        hint = "Keep them in an nn.ModuleList: a list hides them." if not found else None
        raise Wrong(f"sizes {sizes} make other layers", found=found, expected=expected, hint=hint)
    return network


def layers(network: nn.Module) -> list[nn.Linear]:
    """Its linear layers, first to last."""
    return [part for part in network.modules() if isinstance(part, nn.Linear)]


def by_hand(network: nn.Module, x: Tensor, step: Callable[[Tensor, nn.Linear], Tensor]) -> Tensor:
    """What the layers make of x, if `step` says what one does."""
    for layer in layers(network):
        x = step(x, layer)
    return x.detach()


def plain(x: Tensor, layer: nn.Linear) -> Tensor:
    """Linear, GELU."""
    return F.gelu(layer(x))


def added(x: Tensor, layer: nn.Linear) -> Tensor:
    """The same, added to x where it fits."""
    result = F.gelu(layer(x))
    return x + result if result.shape == x.shape else result


def batch(width: int = 4) -> Tensor:
    """Five rows, as a batch of one text."""
    return torch.randn(1, 5, width, generator=torch.Generator().manual_seed(5))


def compare(network: nn.Module, x: Tensor, right: Callable[[Tensor, nn.Linear], Tensor], wrong: dict) -> None:
    """The network's answer with what `right` makes of its layers; GELU's tanh form is near enough to pass too."""
    found = run(network, x).detach()
    answer = by_hand(network, x, right)
    if found.shape == answer.shape and torch.allclose(found, answer, atol=2e-3):
        return
    same(found, answer, {mistake: by_hand(network, x, step) for mistake, step in wrong.items()})


def it_is_there(solution: Solution) -> None:
    """Layers of the right sizes."""
    made(solution, [4, 4, 4, 1], shortcuts=True)


def without_it_is_a_chain(solution: Solution) -> None:
    """One layer after the other."""
    wrong = {
        "there is no bend: GELU belongs after each layer": lambda x, layer: layer(x),
        "the bend is ReLU: use GELU": lambda x, layer: F.relu(layer(x)),
        "the shortcuts are there although they are switched off": added,
        "GELU comes before each layer: it belongs after": lambda x, layer: layer(F.gelu(x)),
    }
    compare(made(solution, [4, 4, 4, 4], shortcuts=False), batch(), plain, wrong)


def with_them_each_layer_adds(solution: Solution) -> None:
    """Sums all along."""
    x = batch()
    wrong = {
        "the shortcuts are switched on, and nothing is added": plain,
        "the input of the whole network is added each time: add what this layer was given": (
            lambda now, layer: x + F.gelu(layer(now))
        ),
        "the sum goes through GELU: add what came out of GELU": lambda now, layer: F.gelu(now + layer(now)),
        "the layer's result is added to itself: add what the layer was given": lambda now, layer: (
            2 * F.gelu(layer(now))
        ),
    }
    compare(made(solution, [4, 4, 4, 4], shortcuts=True), x, added, wrong)


def other_widths_pass(solution: Solution) -> None:
    """Where the width changes there is no shortcut."""
    compare(made(solution, [4, 4, 6, 6, 1], shortcuts=True), batch(), added, {"nothing is added any more": plain})


def gradients_are_measured(solution: Solution) -> None:
    """Mean absolute gradient of the weights."""
    network = made(solution, [4, 4, 4, 1], shortcuts=True)
    run(network, batch()).square().mean().backward()
    grads = [weight.grad for weight in (layer.weight for layer in layers(network)) if weight.grad is not None]
    if len(grads) < 3:
        raise Wrong("no gradient reaches the layers", hint="Is something cut off by detach() or .data?")
    right = torch.stack([grad.abs().mean() for grad in grads])
    wrong = {
        "the last layer comes first in the list": right.flip(0),
        "the mean of the gradients is taken, where plus and minus cancel: take sizes": torch.stack(
            [grad.mean() for grad in grads]
        ),
        "the sizes are added up: take their mean": torch.stack([grad.abs().sum() for grad in grads]),
    }
    found = solution.get(*GRADIENTS)(network)
    scale = 1 / right.max()  # so that small numbers are compared too
    measured = torch.tensor([float(number) for number in found])
    same(measured * scale, right * scale, {m: n * scale for m, n in wrong.items()}, what="the gradient sizes")


def the_first_layer_hears(solution: Solution) -> None:
    """Twelve layers: the factor between first and last."""
    factors = {}
    for shortcuts in (False, True):
        network = made(solution, [8] * 13, shortcuts=shortcuts)
        run(network, batch(8)).square().mean().backward()
        sizes = [float(number) for number in solution.get(*GRADIENTS)(network)]
        factors[shortcuts] = sizes[0] / sizes[-1]
    if factors[True] < 0.05:
        raise Wrong("with shortcuts the first of twelve layers hears next to nothing", found=f"{factors[True]:.0e}")
    if factors[False] > 0.01 * factors[True]:
        raise Wrong("without shortcuts the first layer hears nearly as much as with them")


EXERCISE = Exercise(
    "shortcuts",
    STUB,
    (
        Step("there is a DeepNetwork with layers of the right sizes", it_is_there),
        Step("without shortcuts it is a chain", without_it_is_a_chain),
        Step("with shortcuts each layer adds to what it was given", with_them_each_layer_adds),
        Step("where the width changes, nothing is added", other_widths_pass),
        Step("the sizes of the gradients are measured", gradients_are_measured),
        Step("with shortcuts, and only then, the first of twelve layers hears the error", the_first_layer_hears),
    ),
    solution="vidro.learn.shortcuts",
)
