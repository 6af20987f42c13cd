"""Exercise for layer-norm: mean 0 and spread 1 for each token, then scale and shift.

Scale and shift are recognised by what they are at the start, 1 and 0, so their names do not matter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidro.learn.adapt import build
from vidro.learn.exercise import Exercise, Solution, Step, Wrong

STUB = '''\
"""Exercise layer-norm: normalise each token. Check it with: vidro learn check layer-norm FILE"""

import torch
from torch import nn


class LayerNorm(nn.Module):
    """[..., d_model] in and out; along the last axis mean 0 and spread 1, then scale and shift."""

    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        # Two learned rows of d_model numbers: scale, which begins as ones, and shift, which begins as zeros.
        raise NotImplementedError

    def forward(self, x):
        # (x − mean) / √(variance + eps) · scale + shift, where the variance divides by d_model.
        raise NotImplementedError
'''

B, T, D, EPS = 2, 3, 5, 1e-5


def made(solution: Solution) -> tuple[nn.Module, nn.Parameter, nn.Parameter]:
    """The reader's norm, its scale and its shift."""
    kind = solution.get("LayerNorm", "LayerNormalization", "Norm")
    norm = build(kind, d_in=D, d_out=D, normalized_shape=D, ndim=D, features=D, eps=EPS, bias=True)
    if not isinstance(norm, nn.Module):
        raise Wrong("it is no nn.Module", hint="Write class LayerNorm(nn.Module).")
    rows = [parameter for parameter in norm.parameters() if list(parameter.shape) == [D]]
    ones = [row for row in rows if bool((row == 1).all())]
    zeros = [row for row in rows if bool((row == 0).all())]
    if len(ones) != 1 or len(zeros) != 1:
        found = [list(parameter.shape) for parameter in norm.parameters()] or "none"
        hint = "nn.Parameter(torch.ones(d_model)) and nn.Parameter(torch.zeros(d_model))."
        raise Wrong("a learned row of ones (scale) and one of zeros (shift) are needed", found=found, hint=hint)
    return norm, ones[0], zeros[0]


def batch() -> Tensor:
    """Two texts of three tokens, far from mean 0 and spread 1, each its own way."""
    dice = torch.Generator().manual_seed(4)
    sizes = torch.tensor([0.5, 3.0, 20.0])[:, None]
    return torch.randn(B, T, D, generator=dice) * sizes + sizes


def answer_of(norm: nn.Module, x: Tensor) -> Tensor:
    """What the norm gives, if it has the shape of what went in."""
    answer = norm(x)
    if not isinstance(answer, Tensor) or answer.shape != x.shape:
        found = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise Wrong(f"{list(x.shape)} went in and must come out", found=found)
    return answer.detach()


def expected(x: Tensor, *, mistake: str = "") -> Tensor:
    """What must come out before scale and shift; or what comes out with one of the usual mistakes."""
    dims: tuple[int, ...] = (-1,)
    if mistake == "the mean is taken down the tokens: it belongs along each token's own numbers, dim=-1":
        dims = (-2,)
    if mistake == "the whole batch is normalised at once: each token stands alone":
        dims = (-3, -2, -1)
    centred = x - x.mean(dim=dims, keepdim=True)
    variance = centred.square().mean(dim=dims, keepdim=True)
    if mistake == "the variance divides by D − 1: here by D (unbiased=False, correction=0)":
        variance = x.var(dim=-1, keepdim=True, correction=1)
    if mistake == "the root is missing: divide by √(variance + eps)":
        return centred / (variance + EPS)
    if mistake == "the mean is not taken away":
        return x / (variance + EPS).sqrt()
    if mistake == "the mean is taken away, but nothing is divided":
        return centred
    if mistake == "this is RMSNorm: the mean is not taken away":
        return x / (x.square().mean(dim=-1, keepdim=True) + EPS).sqrt()
    return centred / (variance + EPS).sqrt()


MISTAKES = (
    "the variance divides by D − 1: here by D (unbiased=False, correction=0)",
    "the mean is taken down the tokens: it belongs along each token's own numbers, dim=-1",
    "the whole batch is normalised at once: each token stands alone",
    "the root is missing: divide by √(variance + eps)",
    "the mean is not taken away",
    "the mean is taken away, but nothing is divided",
    "this is RMSNorm: the mean is not taken away",
)


def it_has_scale_and_shift(solution: Solution) -> None:
    """Two learned rows that do nothing yet."""
    made(solution)


def it_keeps_the_shape(solution: Solution) -> None:
    """One token, a text, a batch."""
    norm, _, _ = made(solution)
    for shape in ((D,), (T, D), (B, T, D)):
        answer_of(norm, torch.randn(shape, generator=torch.Generator().manual_seed(5)))


def it_normalises_each_token(solution: Solution) -> None:
    """The numbers; else which of the usual mistakes gives what came out."""
    norm, _, _ = made(solution)
    x = batch()
    answer = answer_of(norm, x)
    if torch.allclose(answer, expected(x), atol=1e-4):
        return
    for mistake in MISTAKES:
        if torch.allclose(answer, expected(x, mistake=mistake), atol=1e-4):
            raise Wrong(mistake)
    mean, spread = answer[0, 0].mean().item(), answer[0, 0].std(correction=0).item()
    raise Wrong("mean and spread of the first token", found=f"{mean:.3f} and {spread:.3f}", expected="0 and 1")


def it_scales_and_shifts(solution: Solution) -> None:
    """Scale multiplies, shift is added, in this order."""
    norm, scale, shift = made(solution)
    x, dice = batch(), torch.Generator().manual_seed(6)
    with torch.no_grad():
        scale.copy_(torch.rand(D, generator=dice) + 0.5)
        shift.copy_(torch.randn(D, generator=dice))
    answer, plain = answer_of(norm, x), expected(x)
    if torch.allclose(answer, plain * scale + shift, atol=1e-4):
        return
    known = {
        "scale and shift are not used": plain,
        "the shift is not added": plain * scale,
        "the scale is not used": plain + shift,
        "the shift is added before scaling: first scale, then shift": (plain + shift) * scale,
    }
    named = [what for what, wrong in known.items() if torch.allclose(answer, wrong.detach(), atol=1e-4)]
    raise Wrong(named[0] if named else "with other scale and shift the numbers are wrong")


def it_bears_equal_numbers(solution: Solution) -> None:
    """eps is inside the root: a token without spread gives zeros, and one of little spread is held small."""
    norm, _, _ = made(solution)
    answer = answer_of(norm, torch.full((1, D), 3.0))
    if not bool(answer.isfinite().all()):
        raise Wrong("five equal numbers have no spread, and 0 / 0 is none (nan)", hint="Add eps to the variance.")
    tiny = torch.tensor([[0.001, -0.001, 0.001, -0.001, 0.0]])
    found, right = answer_of(norm, tiny)[0, 0].item(), expected(tiny)[0, 0].item()
    if abs(found - right) > 0.01:
        hint = "eps is added to the variance, under the root."
        raise Wrong("numbers of next to no spread", found=round(found, 2), expected=round(right, 2), hint=hint)


def it_learns(solution: Solution) -> None:
    """A gradient goes through it and into both rows."""
    norm, scale, shift = made(solution)
    x = batch().requires_grad_()
    twin = x.detach().clone().requires_grad_()
    weights = torch.randn(B, T, D, generator=torch.Generator().manual_seed(7))
    (norm(x) * weights).sum().backward()
    (expected(twin) * weights).sum().backward()
    for name, gradient in (("scale", scale.grad), ("shift", shift.grad), ("input", x.grad)):
        if gradient is None:
            raise Wrong(f"no gradient reaches the {name}", hint="Is it cut off by detach(), .data or no_grad()?")
    assert x.grad is not None
    assert twin.grad is not None
    if not torch.allclose(x.grad, twin.grad, atol=1e-4):
        hint = "Mean and variance depend on the input too: do not detach them."
        raise Wrong("the gradient of the input is another", hint=hint)


EXERCISE = Exercise(
    "layer-norm",
    STUB,
    (
        Step("there are a scale and a shift", it_has_scale_and_shift),
        Step("what goes in keeps its shape", it_keeps_the_shape),
        Step("each token has mean 0 and spread 1", it_normalises_each_token),
        Step("scale and shift are used", it_scales_and_shifts),
        Step("equal numbers do no harm", it_bears_equal_numbers),
        Step("gradients go through", it_learns),
    ),
    solution="vidro.learn.layer_norm",
)
