"""Exercise for lora: a detour that is silent at first, learns alone, and can be merged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vidro.learn.adapt import build, run
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import same

STUB = '''\
"""Exercise lora: two thin matrices beside a frozen one. Check it with: vidro learn check lora FILE"""

import torch
from torch import nn


class LoRALayer(nn.Module):
    """The detour: (alpha / rank) · x A B, with parameters A [in_dim, rank], random, and B [rank, out_dim], zeros."""

    def __init__(self, in_dim, out_dim, rank, alpha):
        super().__init__()
        raise NotImplementedError

    def forward(self, x):
        raise NotImplementedError


class LinearWithLoRA(nn.Module):
    """An nn.Linear that does not learn any more, plus a LoRALayer that does."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        raise NotImplementedError

    def forward(self, x):
        raise NotImplementedError

    def merge(self):
        """A new nn.Linear that gives the same answers."""
        raise NotImplementedError


def replace_linear_with_lora(model, rank, alpha):
    """In place: nothing in the model learns, and each nn.Linear in it, however deep, becomes a LinearWithLoRA."""
    raise NotImplementedError
'''

IN, OUT, RANK, ALPHA = 6, 5, 2, 3.0


def thin(solution: Solution) -> nn.Module:
    """The reader's detour, as it begins."""
    torch.manual_seed(0)
    sizes = {"in_dim": IN, "out_dim": OUT, "in_features": IN, "out_features": OUT}
    layer = build(solution.get("LoRALayer", "LoRA"), d_in=IN, d_out=OUT, rank=RANK, alpha=ALPHA, **sizes)
    if not isinstance(layer, nn.Module):
        raise Wrong("it is no nn.Module", hint="Write class LoRALayer(nn.Module).")
    return layer


def matrices(layer: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    """A and B by their names and sizes."""
    learned = {name: weights for name, weights in layer.named_parameters() if weights.requires_grad}
    named = {name.rpartition(".")[2].lower().removeprefix("lora_"): weights for name, weights in learned.items()}
    if "weight" in named:
        raise Wrong("the large matrix still learns", hint="linear.requires_grad_(False)")
    if set(named) != {"a", "b"}:
        raise Wrong("the detour has two parameters, A and B", found=sorted(named), hint="Use nn.Parameter.")
    for name, size in (("a", [IN, RANK]), ("b", [RANK, OUT])):
        if list(named[name].shape) != size:
            raise Wrong(f"{name.upper()} has another size", found=list(named[name].shape), expected=size)
    return named["a"], named["b"]


def filled(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Known numbers in A and B."""
    dice = torch.Generator().manual_seed(1)
    a, b = matrices(layer)
    for weights in (a, b):
        weights.data.copy_(torch.randn(weights.shape, generator=dice))
    return a.detach(), b.detach()


def batch() -> Tensor:
    """Two texts of four tokens."""
    return torch.randn(2, 4, IN, generator=torch.Generator().manual_seed(2))


def wrapped(solution: Solution, *, bias: bool = True) -> tuple[nn.Linear, Any]:
    """A linear layer, and the reader's layer around it."""
    torch.manual_seed(3)
    linear = nn.Linear(IN, OUT, bias=bias)
    layer = build(solution.get("LinearWithLoRA", "LoRALinear"), linear=linear, base=linear, rank=RANK, alpha=ALPHA)
    return linear, layer


def it_has_two_thin_matrices(solution: Solution) -> None:
    """Their sizes."""
    matrices(thin(solution))


def it_begins_silent(solution: Solution) -> None:
    """A random, B zero."""
    a, b = matrices(thin(solution))
    if b.any():
        raise Wrong("B does not begin at zero: the model would be another before the first step")
    if not a.any():
        raise Wrong("A begins at zero too: then neither of the two ever gets a gradient", hint="Make it random.")


def it_gives_the_numbers(solution: Solution) -> None:
    """(alpha / rank) x A B."""
    layer, x = thin(solution), batch()
    a, b = filled(layer)
    plain = x @ a @ b
    wrong = {
        "the factor is missing: alpha / rank": plain,
        "the factor is alpha / rank, not alpha": ALPHA * plain,
        "the factor is alpha / rank, not rank / alpha": RANK / ALPHA * plain,
        "the factor is alpha / rank, not alpha / √rank": ALPHA / RANK**0.5 * plain,
    }
    same(run(layer, x), ALPHA / RANK * plain, wrong)


def around_a_layer_it_adds(solution: Solution) -> None:
    """The frozen answer plus the detour's."""
    linear, layer = wrapped(solution)
    x = batch()
    same(run(layer, x), linear(x).detach(), {"the bias is lost": x @ linear.weight.detach().T},
         what="the answers before the first step")  # fmt: skip
    a, b = filled(layer)
    detour = ALPHA / RANK * (x @ a @ b)
    wrong = {
        "the detour is not used": linear(x).detach(),
        "the frozen layer is not used": detour,
        "the frozen layer is added twice": (2 * linear(x)).detach() + detour,
    }
    same(run(layer, x), linear(x).detach() + detour, wrong, what="the sums")


def only_the_detour_learns(solution: Solution) -> None:
    """Frozen means no gradient."""
    linear, layer = wrapped(solution)
    filled(layer)
    run(layer, batch()).square().sum().backward()
    if linear.weight.requires_grad or linear.weight.grad is not None:
        raise Wrong("the large matrix still learns", hint="linear.requires_grad_(False)")
    if linear.bias.requires_grad:
        raise Wrong("the bias of the large layer still learns")
    without = [
        name for name, part in zip("AB", matrices(layer), strict=True) if part.grad is None or not part.grad.any()
    ]
    if without:
        raise Wrong(f"no gradient reaches {' and '.join(without)}", hint="Is it cut off by detach() or .data?")


def it_merges(solution: Solution) -> None:
    """One layer, the same answers, with and without bias."""
    for bias in (True, False):
        linear, layer = wrapped(solution, bias=bias)
        a, b = filled(layer)
        old = linear.weight.detach().clone()
        x, before = batch(), run(layer, batch()).detach()
        one = layer.merge()
        if type(one) is not nn.Linear:
            raise Wrong("merge gives an nn.Linear", found=type(one).__name__)
        change = ALPHA / RANK * (a @ b).T
        wrong = {
            "the detour is not in it": nn.functional.linear(x, old, linear.bias).detach(),
            "the factor alpha / rank is not in it": nn.functional.linear(x, old + (a @ b).T, linear.bias).detach(),
            "the bias is lost": nn.functional.linear(x, old + change),
        }
        same(one(x), before, wrong, what="the answers of the merged layer")
        same(run(layer, x), before, what="after merging, the answers of the old layer (is its matrix changed?) that")


def all_of_a_model(solution: Solution) -> None:
    """However deep, and nothing else learns."""
    torch.manual_seed(4)
    model = nn.Sequential(
        nn.Embedding(9, 4), nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)), nn.Linear(4, 9)
    )
    ids = torch.tensor([[1, 5, 8]])
    before = model(ids).detach()
    replaced = solution.get("replace_linear_with_lora", "add_lora")
    build(replaced, model=model, rank=RANK, alpha=ALPHA)
    kind = solution.get("LinearWithLoRA", "LoRALinear")
    n = sum(isinstance(part, kind) for part in model.modules())
    if n != 3:
        hint = "Look inside parts that have parts of their own." if n < 3 else "Do not look inside what you put there."
        raise Wrong("the model has 3 linear layers, two of them deeper inside", found=f"{n} replaced", hint=hint)
    same(model(ids), before, what="the model's answers before the first step")
    found = sum(weights.numel() for weights in model.parameters() if weights.requires_grad)
    expected = RANK * ((4 + 8) + (8 + 4) + (4 + 9))
    if found != expected:
        raise Wrong("how many numbers learn", found=found, expected=expected, hint="Is the embedding frozen?")


EXERCISE = Exercise(
    "lora",
    STUB,
    (
        Step("there is a LoRALayer with A and B of the right sizes", it_has_two_thin_matrices),
        Step("at first it says nothing, and can learn", it_begins_silent),
        Step("its numbers are right", it_gives_the_numbers),
        Step("LinearWithLoRA adds it to the frozen layer", around_a_layer_it_adds),
        Step("only the detour learns", only_the_detour_learns),
        Step("both can be merged into one layer", it_merges),
        Step("every linear layer of a model gets a detour", all_of_a_model),
    ),
    solution="vidro.learn.lora",
)
