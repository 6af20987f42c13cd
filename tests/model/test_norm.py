"""Our RMSNorm gradient equals PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidro.model.norm import RMSNorm


@pytest.mark.parametrize("shape", [(2, 5, 12), (2, 5, 3, 12), (12,)])
def test_equal_to_pytorch(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    theirs, ours = nn.RMSNorm(12, eps=1e-5), RMSNorm(12, eps=1e-5)
    with torch.no_grad():
        theirs.weight.copy_(torch.randn(12, generator=generator))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(shape, generator=generator, requires_grad=True)
    upstream = torch.randn(shape, generator=generator)
    wanted, got = theirs(x), ours(x)
    torch.testing.assert_close(got, wanted)
    for one, other in zip(
        torch.autograd.grad(got, (x, ours.weight), upstream),
        torch.autograd.grad(wanted, (x, theirs.weight), upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), wanted)


def test_a_zero_vector_has_a_finite_gradient() -> None:
    x = torch.zeros(3, 4, requires_grad=True)
    RMSNorm(4, eps=1e-6)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
