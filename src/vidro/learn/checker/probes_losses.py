"""The loss: what it should be before training, and what a model that computes its own compares.

A model's own loss is found by giving it labels, and is compared with the few formulas people write: each token with
itself, with the next one, with the one before. Which formula it is decides; how it is written does not matter.
Not here: whether the loss goes down (`probes_learning`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidro.core.shapes import Float, Int
from vidro.learn.checker.faults import Finding, NotApplicable, found, passed
from vidro.learn.checker.subject import TARGETS, Subject, described, find_logits
from vidro.learn.checker.visits import tensors

FAR_NATS = 1.0  # GPT-2's own N(0, 0.02) starts 0.1 above ln V, PyTorch's defaults 0.2
CLOSE = 1e-3  # relative: a formula is recognised
LABEL_SEEDS = (8, 18, 28, 38)
IGNORED = (-100, -1)  # the two labels that models leave out


def first_loss(subject: Subject) -> Finding:
    """Before training, every token is about equally likely."""
    name = "first loss"
    if subject.trained is None:
        raise NotApplicable("it cannot be told whether the model is trained; say trained=False")
    if subject.trained:
        raise NotApplicable("the model is trained")
    logits = subject.logits(subject.ids(7))
    nats = cross_entropy(logits, subject.ids(8))
    want = math.log(logits.shape[-1])
    if not math.isfinite(nats):
        raise NotApplicable("logits are not finite")
    seen = f"{nats:.2f} nats, where ln {logits.shape[-1]} is {want:.2f}"
    if abs(nats - want) > FAR_NATS:
        return found(name, "first-loss", f"{seen}; logits have a standard deviation of {float(logits.std()):.2g}")
    return passed(name, seen)


def probabilities(subject: Subject) -> Finding:
    """What comes out are logits."""
    name = "logits"
    with subject.shaken():
        logits = subject.logits(subject.ids(7))
    sums = logits.sum(dim=-1)
    if bool((logits >= 0).all() and (sums - 1).abs().max() < 1e-3):
        return found(name, "probabilities-returned", "for each token the numbers are positive and sum to 1")
    return passed(name, f"they lie between {float(logits.min()):.2g} and {float(logits.max()):.2g}")


def cross_entropy(logits: Float[Tensor, "B T V"], labels: Int[Tensor, "B T"]) -> float:
    """Mean nats over the labels that are not negative."""
    return float(F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten().clamp(min=-1), ignore_index=-1))


@dataclass(frozen=True)
class OwnLoss:
    """A loss that the model computed, the argument its labels were given as, and the logits they belong to."""

    argument: str
    nats: float
    logits: Tensor


def own_loss(subject: Subject, ids: Int[Tensor, "B T"], labels: Int[Tensor, "B T"]) -> OwnLoss:
    """Let the model compute its loss. Raises NotApplicable when it computes none; what the model raises passes."""
    argument = subject.takes(*TARGETS)
    if argument is None:
        raise NotApplicable("the model computes no loss")
    with torch.no_grad():
        output = subject.raw(ids, **{argument: labels})
    loss = scalar(output)
    if loss is None:
        raise NotApplicable(f"no loss comes back when {argument} are given")
    logits = find_logits(output, ids.shape[0], ids.shape[1], subject.vocab_size)
    return OwnLoss(argument, loss, subject.logits(ids) if logits is None else logits.detach())


def scalar(output: Any) -> float | None:
    """The single number in what a model returned."""
    loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    candidates = [loss] if isinstance(loss, Tensor) else list(tensors(output))
    return next((float(t) for t in candidates if t.numel() == 1 and t.is_floating_point()), None)


def formulas(logits: Float[Tensor, "B T V"], labels: Int[Tensor, "B T"]) -> dict[str, float]:
    """The loss by each pairing of logits and labels."""
    return {
        "itself": cross_entropy(logits, labels),
        "the next token": cross_entropy(logits[:, :-1], labels[:, 1:]),
        "the token before": cross_entropy(logits[:, 1:], labels[:, :-1]),
        "the token after the next": cross_entropy(logits[:, :-2], labels[:, 2:]),
    }


def pairing(subject: Subject) -> tuple[str, OwnLoss]:
    """Which label each token is compared with. Raises NotApplicable when no known formula gives the model's loss.

    Two formulas can agree by chance, so several labels are tried.
    """
    fitting: set[str] = set()
    for seed in LABEL_SEEDS:
        ids, labels = subject.ids(7), subject.ids(seed)
        own = own_loss(subject, ids, labels)
        counts = (1, labels.numel(), labels[:, 1:].numel())  # a sum instead of a mean is no fault
        here = {
            words
            for words, nats in formulas(own.logits, labels).items()
            if any(math.isclose(own.nats, nats * count, rel_tol=CLOSE) for count in counts)
        }
        if not here:
            raise NotApplicable(f"the model's loss of {own.nats:.3f} is none of the known formulas")
        fitting = here if not fitting else fitting & here
        if len(fitting) == 1:
            return fitting.pop(), own
    raise NotApplicable("the logits differ too little to tell the formulas apart")


def labels_shifted(subject: Subject) -> Finding:
    """Each token is compared with the one that follows."""
    name = "labels"
    with subject.shaken():
        words, own = pairing(subject)
    seen = f"given as {own.argument}, a token's label is compared with the logits of {seen_from(words)}"
    if words == "itself" and own.argument.startswith("label"):
        return found(name, "labels-unshifted", seen)
    if words in ("the token before", "the token after the next"):
        return found(name, "labels-shifted-wrongly", seen)
    note = "; so the data must shift them" if words == "itself" else ""
    return passed(name, seen + note)


def seen_from(words: str) -> str:
    """The same pairing, said from the label's side."""
    return {
        "itself": "that token itself",
        "the next token": "the token before",
        "the token before": "the token after",
        "the token after the next": "two tokens before",
    }[words]


def padding(subject: Subject) -> Finding:
    """Labels of −100 (or −1) do not count, neither in the sum nor in the number."""
    name = "padding"
    with subject.shaken():
        words, _ = pairing(subject)
        ids, labels = subject.ids(7), subject.ids(8)
        masked = labels.clone()
        masked[:, labels.shape[1] // 2 :] = -1
        trouble = ""
        for ignored in IGNORED:
            try:
                own = own_loss(subject, ids, torch.where(masked < 0, ignored, labels))
            except NotApplicable:
                raise
            except Exception as error:
                trouble = trouble or f"a label of {ignored} raises {described(error, subject.model)}"
                continue
            want = formulas(own.logits, masked)[words]
            counted = int((masked[:, 1:] if words != "itself" else masked).ge(0).sum())
            if any(math.isclose(own.nats, want * count, rel_tol=CLOSE) for count in (1, counted)):
                return passed(name, f"labels of {ignored} are left out")
            seen = f"with half the labels {ignored} the loss is {own.nats:.3f}, of the others alone {want:.3f}"
            trouble = trouble or seen
    return found(name, "padding-in-loss", trouble)
