"""Our filters against the logit processors of `transformers`, on random logits, ties included."""

from __future__ import annotations

import pytest
import torch

from vidro.config.schema import SamplingOptions
from vidro.model.sampling import (
    apply_repetition_penalty,
    apply_temperature,
    filters_in_order,
    keep_min_p,
    keep_top_k,
    keep_top_p,
)

processors = pytest.importorskip("transformers.generation.logits_process")

NO_IDS = torch.zeros(1, 0, dtype=torch.long)


def plain(seed: int) -> torch.Tensor:
    return torch.randn(5, 97, generator=torch.Generator().manual_seed(seed)) * 3


def tied(seed: int) -> torch.Tensor:
    """Half-integer logits: many equal values in each row."""
    return (plain(seed) * 2).round() / 2


@pytest.mark.parametrize("make", [plain, tied])
@pytest.mark.parametrize("k", [1, 2, 7, 50, 97, 500])
def test_top_k(make, k):
    logits = make(k)
    assert torch.equal(keep_top_k(logits, k), processors.TopKLogitsWarper(k)(NO_IDS, logits))


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.9, 0.95, 0.999])
def test_top_p(p):
    logits = plain(11)
    assert torch.equal(keep_top_p(logits, p), processors.TopPLogitsWarper(p)(NO_IDS, logits))


@pytest.mark.parametrize("p", [0.05, 0.3, 0.62, 0.9])
def test_top_p_with_ties_keeps_the_same_values(p):
    """Which of several equal tokens is kept depends on the reference's unstable sort: values are compared."""
    logits = tied(12)
    ours, theirs = keep_top_p(logits, p), processors.TopPLogitsWarper(p)(NO_IDS, logits)
    assert torch.equal(ours.sort(-1).values, theirs.sort(-1).values)


@pytest.mark.parametrize("make", [plain, tied])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_min_p(make, share):
    logits = make(13)
    assert torch.equal(keep_min_p(logits, share), processors.MinPLogitsWarper(share)(NO_IDS, logits))


@pytest.mark.parametrize("temperature", [0.01, 0.5, 0.8, 1.7])
def test_temperature_gives_the_same_probabilities(temperature):
    logits = plain(14)
    theirs = processors.TemperatureLogitsWarper(temperature)(NO_IDS, logits)
    assert torch.allclose(apply_temperature(logits, temperature).softmax(-1), theirs.softmax(-1), atol=1e-6)


@pytest.mark.parametrize("penalty", [0.7, 1.0, 1.3, 2.5])
def test_repetition_penalty(penalty):
    logits = plain(15)
    ids = torch.randint(0, 97, (5, 20), generator=torch.Generator().manual_seed(1))
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, value=True)
    theirs = processors.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits)
    assert torch.equal(apply_repetition_penalty(logits, seen, penalty), theirs)


def test_the_whole_chain():
    logits = plain(16)
    ids = torch.randint(0, 97, (5, 20), generator=torch.Generator().manual_seed(2))
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, value=True)
    options = SamplingOptions(repetition_penalty=1.2, temperature=0.9, top_k=20, top_p=0.9, min_p=0.05)
    ours = theirs = logits
    for station in filters_in_order(options):
        ours = station.apply(ours, seen)
    for processor in (
        processors.RepetitionPenaltyLogitsProcessor(1.2), processors.TemperatureLogitsWarper(0.9),
        processors.TopKLogitsWarper(20), processors.TopPLogitsWarper(0.9), processors.MinPLogitsWarper(0.05),
    ):  # fmt: skip
        theirs = processor(ids, theirs)
    assert torch.allclose(ours.softmax(-1), theirs.softmax(-1), atol=1e-6)
