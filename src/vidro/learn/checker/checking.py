"""The check: every probe on one model, each for itself, and a report of what they say.

    from vidro.learn.checker import assert_sound, check_model
    report = check_model(model, vocab_size=97, context_length=24)

A probe that meets an error in the model says so and the next one runs. The model comes back as it was: weights, mode
and all. Not here: making a model from a file (`building`), the probes (`probes_*`).
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from vidro.core.errors import ModelError
from vidro.learn.checker import (
    probes_attention,
    probes_cache,
    probes_context,
    probes_learning,
    probes_losses,
    probes_reference,
)
from vidro.learn.checker.faults import Finding, NotApplicable, Report, found, not_applicable, passed
from vidro.learn.checker.shaking import kept
from vidro.learn.checker.subject import Subject, described

Probe = Callable[[Subject], Finding]

PROBES: dict[str, Probe] = {
    "full context": probes_context.full_length,
    "finite": probes_context.finite,
    "mask": probes_attention.mask,
    "future": probes_context.later_tokens,
    "context": probes_context.earlier_tokens,
    "batch": probes_context.other_rows,
    "positions": probes_context.order,
    "softmax": probes_attention.axis,
    "shares": probes_attention.renormalised,
    "scale": probes_attention.scale,
    "query and key": probes_attention.roles,
    "reference": probes_reference.reference,
    "logits": probes_losses.probabilities,
    "first loss": probes_losses.first_loss,
    "labels": probes_losses.labels_shifted,
    "padding": probes_losses.padding,
    "evaluation mode": probes_learning.dropout,
    "modules": probes_learning.hidden_modules,
    "tied weights": probes_learning.tied,
    "KV cache": probes_cache.cache,
    "gradients": probes_learning.gradients,
    "one batch": probes_learning.overfit,
}
"""Every probe, causes before consequences."""


def check_model(
    model: nn.Module,
    *,
    vocab_size: int | None = None,
    context_length: int | None = None,
    reference: Any = None,
    trained: bool | None = None,
    seed: int = 0,
    notes: tuple[str, ...] = (),
) -> Report:
    """Look for the classic mistakes in a language model: any `nn.Module` from ids [B, T] to logits [B, T, V].

    Sizes that are not given are taken from the model. `reference`: a right model, or its weights by name. `trained`
    says whether the loss is still to be ln V; None: seen from the norms. Raises ModelError when the number of tokens
    it knows can neither be found nor is given.
    """
    if any(tensor.is_meta for tensor in model.parameters()):
        raise ModelError("the model's weights are on the meta device", hint="Give it real weights first.")
    started = time.monotonic()
    subject = Subject(
        model,
        vocab_size=vocab_size,
        context_length=context_length,
        reference=reference,
        trained=trained,
        seed=seed,
    )
    with kept(model), precise(model), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # what a stranger's model warns of is not what was asked
        findings = tuple(all_findings(subject))
    seconds = time.monotonic() - started
    name = type(model).__name__
    return Report(name, findings, subject.vocab_size, subject.context_length, notes, seconds)


def assert_sound(model: nn.Module, **arguments: Any) -> Report:
    """For pytest: the report, or an AssertionError that names every fault. Arguments are `check_model`'s."""
    report = check_model(model, **arguments)
    assert report.sound, f"{report.model} has faults:\n{report}"
    return report


def all_findings(subject: Subject) -> Iterator[Finding]:
    """What each probe says; when the model does not run at all, that alone."""
    first = runs(subject)
    yield first
    for name, probe in PROBES.items():
        if first.fault == "does-not-run":
            yield not_applicable(name, "the model does not run")
        else:
            yield ask(name, probe, subject)


def ask(name: str, probe: Probe, subject: Subject) -> Finding:
    """What one probe says, whatever happens inside the model."""
    try:
        return probe(subject)
    except NotApplicable as reason:
        return not_applicable(name, str(reason))
    except Exception as error:  # a stranger's model may raise anything; it is said, not hidden
        return not_applicable(name, f"the model raised {described(error, subject.model)}")


def runs(subject: Subject) -> Finding:
    """The model gives logits for a short text; or for one length only, which the probes then use."""
    name = "runs"
    try:
        subject.learn_to_call()
        return passed(name, f"gives logits {list(subject.logits(subject.ids(0)).shape)}")
    except NotApplicable as reason:
        return not_applicable(name, str(reason))
    except Exception as error:
        short, trouble = subject.n_tokens, described(error, subject.model)
    subject.n_tokens = subject.context_length
    with contextlib.suppress(Exception):
        subject.learn_to_call()
        subject.logits(subject.ids(0))
        return found(name, "only-full-length", f"{subject.context_length} tokens work, {short} raise {trouble}")
    return found(name, "does-not-run", trouble)


@contextlib.contextmanager
def precise(model: nn.Module) -> Iterator[None]:
    """Inside, half-precision weights are single; afterwards they are what they were (nothing is rounded by that)."""
    low = [(t, t.dtype) for t in (*model.parameters(), *model.buffers()) if t.dtype in (torch.bfloat16, torch.float16)]
    for tensor, _ in low:
        tensor.data = tensor.data.float()
    try:
        yield
    finally:
        for tensor, kind in low:
            tensor.data = tensor.data.to(kind)
