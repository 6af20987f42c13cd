"""Learning: every weight is reached by the gradient, one batch can be learned by heart, dropout rests in evaluation.

Also how weights are kept: tied ones are one tensor, and no module hides in a plain list. Training happens on the
model itself; afterwards every weight is what it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vidro.core.shapes import Float
from vidro.learn.checker.faults import Finding, NotApplicable, found, passed
from vidro.learn.checker.shaking import kept
from vidro.learn.checker.subject import HOLDERS, Subject
from vidro.learn.checker.visits import distance, first_guilty, place, visit
from vidro.train.optim import AdamW, OptimizerSettings

RATES = (3e-3, 1e-3, 1e-2)
STEPS = 60  # for each learning rate; right models take 10 to 40
LEFT = 0.3  # of ln V: a model that still loses this much has not learned the batch
WORK_FLOPS = 2e11  # for the whole training: seconds on a small processor; a number of steps, so no clock decides
FEWEST = 40  # steps from which something can be concluded


def gradients(subject: Subject) -> Finding:
    """Every parameter is part of what the loss depends on."""
    name = "gradients"
    with kept(subject.model):
        subject.model.zero_grad(set_to_none=True)
        loss = batch_loss(subject)
        wanted = {n: p for n, p in subject.model.named_parameters() if p.requires_grad}
        if not wanted:
            raise NotApplicable("all parameters are frozen (requires_grad=False)")
        if not loss.requires_grad:
            return found(name, "no-gradient", "the loss has no gradient at all: forward cuts it off")
        loss.backward()
        # an expert that no token was sent to gets no gradient, rightly
        without = [n for n, p in wanted.items() if p.grad is None and "expert" not in n.lower()]
        frozen = sum(1 for p in subject.model.parameters() if not p.requires_grad)
    if without:
        owner = without[0].rpartition(".")[0]
        seen = f"{len(without)} of {len(wanted)} parameters get none: {', '.join(without[:4])}"
        return found(name, "no-gradient", seen, place(owner, subject.model))
    note = f"; {frozen} are frozen" if frozen else ""
    return passed(name, f"all {len(wanted)} parameters get one{note}")


def batch_loss(subject: Subject) -> Float[Tensor, ""]:
    """Mean nats of the tokens that follow, for one fixed batch."""
    ids = subject.ids(9)
    targets = torch.cat((ids[:, 1:], subject.ids(10)[:, :1]), dim=1)
    return F.cross_entropy(subject.graded_logits(ids).flatten(0, 1), targets.flatten())


def overfit(subject: Subject) -> Finding:
    """A few dozen steps learn a small batch by heart."""
    name = "one batch"
    goal = LEFT * math.log(max(subject.vocab_size, 2))
    per_step = 6 * sum(p.numel() for p in subject.model.parameters()) * subject.ids(9).numel()
    allowed = min(int(WORK_FLOPS / max(per_step, 1)), STEPS * len(RATES))
    if allowed < FEWEST:
        raise NotApplicable("the model is too large to train in a moment; check it with smaller sizes")
    start, best, taken = math.nan, math.inf, 0
    for rate in RATES:
        with kept(subject.model):
            for step, nats in enumerate(training(subject, rate, min(STEPS, allowed - taken))):
                start = nats if step == 0 else start
                if not math.isfinite(start):
                    raise NotApplicable("the loss is not finite")
                if nats <= goal:
                    return passed(name, f"from {start:.2f} to {nats:.2f} nats in {step} steps")
                best, taken = min(best, nats), taken + 1
    seen = f"{taken} steps took its loss from {start:.2f} to {best:.2f} nats; {goal:.2f} or less is usual"
    return found(name, "cannot-overfit", seen)


def training(subject: Subject, rate: float, steps: int) -> Iterator[float]:
    """Train on the one batch; yields the loss before each step. Ends early when it is no number."""
    named = [(n, p) for n, p in subject.model.named_parameters() if p.requires_grad]
    if not named:
        raise NotApplicable("all parameters are frozen")
    settings = OptimizerSettings(kind="adamw", lr=rate, muon_lr=rate, weight_decay=0.0, beta1=0.9, beta2=0.999)
    optimizer = AdamW(named, settings)
    for _ in range(steps):
        loss = batch_loss(subject)
        if not loss.requires_grad:
            raise NotApplicable("the loss has no gradient")
        yield float(loss)
        if not math.isfinite(float(loss)):
            return
        subject.model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
        optimizer.step(1.0)


class DropoutSpy(TorchFunctionMode):
    """Notes where dropout is asked for and active."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = [""]
        self.found: list[tuple[str, float]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs) if kwargs else {}
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":
            p, active = kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0), True
        else:
            p = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
            active = "dropout" in name and bool(kwargs.get("training", args[2] if len(args) > 2 else True))
        if active and p:
            self.found.append((self.inside[-1], float(p)))
        return func(*args, **kwargs)


@torch.no_grad()
def dropout(subject: Subject) -> Finding:
    """In evaluation mode the same text gives the same logits, whatever the dice."""
    name = "evaluation mode"
    spy, ids, handles = DropoutSpy(), subject.ids(12), []
    for path, module in subject.model.named_modules():
        handles.append(module.register_forward_pre_hook(lambda *_args, n=path: spy.inside.append(n)))
        handles.append(module.register_forward_hook(lambda *_args: spy.inside.pop() and None))
    try:
        with subject.shaken(), spy:
            subject.loud(ids, 1)
    finally:
        for handle in handles:
            handle.remove()
    if spy.found:
        path, p = spy.found[0]
        seen = f"{len(spy.found)} dropouts are active after model.eval(), the first drops {p:.0%}"
        return found(name, "dropout-in-eval", seen, place(path, subject.model))
    with subject.shaken():
        one, two = visit(subject, ids, dice=1), visit(subject, ids, dice=2)
    guilty = first_guilty(one, two, lambda tensor: tensor)
    if guilty is not None:
        gap = max(distance(x, y) for x, y in zip(guilty[0].outputs, guilty[1].outputs, strict=True))
        seen = f"two runs of one text differ by {gap:.2g} of the largest number"
        return found(name, "dropout-in-eval", seen, place(guilty[0].name, subject.model))
    return passed(name, "two runs of one text with other dice are the same")


def tied(subject: Subject) -> Finding:
    """Embedding and head that begin equal, or are said to be tied, are one tensor."""
    name = "tied weights"
    model = subject.model
    tables = {n: p for n, p in model.named_parameters() if p.dim() == 2 and subject.vocab_size in p.shape}
    pairs = [(a, b) for i, a in enumerate(tables) for b in list(tables)[i + 1 :]]
    for a, b in pairs:
        one, two = tables[a].detach(), tables[b].detach()
        two = two if one.shape == two.shape else two.T
        if one.shape == two.shape and bool(one.std() > 0) and torch.equal(one, two):
            seen = f"{a} and {b} hold the same {one.numel():,} numbers in two tensors, which training will part"
            return found(name, "untied-copy", seen, place(b.rpartition(".")[0], model))
    if pairs and says_tied(model):
        return found(name, "untied-copy", f"the config says they are tied, but {pairs[0][0]} and {pairs[0][1]} are two")
    if not pairs:
        return passed(name, "one tensor has the vocabulary's size")
    return passed(name, "embedding and head are two tensors and differ")


def says_tied(model: nn.Module) -> bool:
    """Whether the model's config asks for tied weights."""
    for holder in (getattr(model, attribute, None) for attribute in HOLDERS):
        for key in ("tie_word_embeddings", "tie_embeddings", "tie_weights", "weight_tying", "tied"):
            value = holder.get(key) if isinstance(holder, dict) else getattr(holder, key, None)
            if value is True:
                return True
    return False


def hidden_modules(subject: Subject) -> Finding:
    """No module with weights hides in a plain list or dict, where PyTorch does not find it."""
    name = "modules"
    known = {id(parameter) for parameter in subject.model.parameters()}
    for path, module in subject.model.named_modules():
        for attribute, value in vars(module).items():
            if attribute.startswith("_") or not isinstance(value, list | tuple | dict):
                continue
            inner = [m for m in (value.values() if isinstance(value, dict) else value) if isinstance(m, nn.Module)]
            lost = sum(p.numel() for m in inner for p in m.parameters() if id(p) not in known)
            if lost:
                kind = type(value).__name__
                seen = (
                    f"the {kind} self.{attribute} hides {len(inner)} modules with {lost:,} weights from the optimizer"
                )
                return found(name, "hidden-modules", seen, place(path, subject.model))
    return passed(name, f"all {len(known)} parameters are registered")
