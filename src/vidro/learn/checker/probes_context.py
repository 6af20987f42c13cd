"""What may reach a token: nothing later, something earlier, no other text, and in an order that counts.

Each probe changes some tokens and looks which logits move; what moves and should not is followed to the first module
that let it through (`visits`). So these hold for any model, however its attention is written. Next: `probes_attention`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vidro.core.shapes import Int
from vidro.learn.checker.faults import Finding, NotApplicable, found, passed
from vidro.learn.checker.subject import ROWS, Subject, described
from vidro.learn.checker.tracing import shaken_trace
from vidro.learn.checker.visits import TOLERANCE, Cut, along, distance, first_guilty, place, visit

LONGEST = 2048  # a context longer than this is not run in full


def full_length(subject: Subject) -> Finding:
    """The model runs on a text of its whole context, and on a shorter one."""
    name = "full context"
    if subject.context_length > LONGEST:
        raise NotApplicable(f"a context of {subject.context_length:,} tokens takes too long")
    try:
        subject.logits(subject.ids(1, rows=1, n_tokens=subject.context_length))
    except NotApplicable:
        raise
    except Exception as error:
        seen = f"{subject.context_length} tokens, its own context: {described(error, subject.model)}"
        return found(name, "does-not-run", seen)
    return passed(name, f"runs on {subject.context_length} tokens and on {subject.n_tokens}")


def finite(subject: Subject) -> Finding:
    """Logits are numbers."""
    name = "finite"
    ids = subject.ids(2)
    logits = subject.logits(ids)
    if bool(logits.isfinite().all()):
        return passed(name, f"all {logits.numel():,} logits are finite")
    guilty = next(
        (v for v in visit(subject, ids) if all_finite(v.inputs) and not all_finite(v.outputs)),
        None,
    )
    share = float((~logits.isfinite()).float().mean())
    where = place(guilty.name, subject.model) if guilty is not None else None
    return found(name, "not-finite", f"{share:.0%} of the logits are NaN or infinite", where)


def all_finite(tensors: list[Tensor]) -> bool:
    """Whether no number is NaN or infinite; masks of −∞ that go in are no harm."""
    return all(bool((t.isfinite() | (t == -torch.inf)).all()) for t in tensors if t.is_floating_point())


def moved(subject: Subject, one: Int[Tensor, "B T"], two: Int[Tensor, "B T"], cut: Cut) -> float:
    """How far the logits that `cut` leaves differ between two texts, as a share of the largest."""
    a, b = subject.logits(one), subject.logits(two)
    if not bool(a.isfinite().all() and b.isfinite().all()):
        raise NotApplicable("logits are not finite")
    if distance(a, b) == 0.0:
        raise NotApplicable("the logits are the same for every text")
    return distance(cut(a), cut(b))


def later_tokens(subject: Subject) -> Finding:
    """Changing a token does not move the logits of tokens before it."""
    name = "future"
    with subject.shaken():
        for at in sorted({1, subject.n_tokens // 2, subject.n_tokens - 1}):
            ids = subject.ids(3)
            changed = torch.cat((ids[:, :at], subject.others(ids)[:, at:]), dim=1)
            before = along(subject.n_tokens, slice(None, at))
            if (gap := moved(subject, ids, changed, lambda t, n=at: t[:, :n])) <= TOLERANCE:
                continue
            guilty = first_guilty(visit(subject, ids), visit(subject, changed), before)
            where = None if guilty is None else place(guilty[0].name, subject.model)
            seen = f"changing tokens {at + 1} and later moves the logits before them by {gap:.2g} of the largest"
            return found(name, "future-leak", seen, where)
    return passed(name, "changing a token never moves the logits before it")


def leaks(subject: Subject) -> bool:
    """Whether later tokens are seen; asked by other probes."""
    if "leaks" not in subject.memo:
        subject.memo["leaks"] = later_tokens(subject).fault == "future-leak"
    return bool(subject.memo["leaks"])


def earlier_tokens(subject: Subject) -> Finding:
    """Changing a token moves the logits of the next one."""
    name = "context"
    if subject.n_tokens < 2:
        raise NotApplicable("the context is one token")
    with subject.shaken():
        ids = subject.ids(4)
        changed = ids.clone()
        changed[:, -2] = subject.others(ids)[:, -2]
        gap = moved(subject, ids, changed, lambda t: t[:, -1])
    if gap == 0.0:
        seen = f"changing token {subject.n_tokens - 1} does not move the logits of token {subject.n_tokens} at all"
        return found(name, "context-unused", seen)
    return passed(name, f"changing a token moves the logits of the next by {gap:.2g} of the largest")


def other_rows(subject: Subject) -> Finding:
    """Changing one text of a batch does not move the logits of another."""
    name = "batch"
    with subject.shaken():
        ids = subject.ids(5)
        changed = torch.cat((ids[:1], subject.others(ids)[1:]))
        gap = moved(subject, ids, changed, lambda t: t[:1])
        if gap <= TOLERANCE:
            return passed(name, "changing one text never moves the logits of another")
        guilty = first_guilty(visit(subject, ids), visit(subject, changed), along(ROWS, slice(None, 1)))
    where = None if guilty is None else place(guilty[0].name, subject.model)
    seen = f"changing the other texts of a batch moves the logits of the first by {gap:.2g} of the largest"
    return found(name, "rows-mixed", seen, where)


def order(subject: Subject) -> Finding:
    """Exchanging two earlier tokens moves what the last token collects.

    Looked at where tokens are mixed for the first time: behind it, causal attention alone gives order away.
    """
    name = "positions"
    if subject.n_tokens < 3:
        raise NotApplicable("the context is shorter than three tokens")
    last = along(subject.n_tokens, slice(-1, None))
    with subject.shaken():
        ids = subject.ids(6)
        changed, exchanged = ids.clone(), ids.clone()
        changed[:, -2] = subject.others(ids)[:, -2]
        exchanged[:, -3], exchanged[:, -2] = ids[:, -2], ids[:, -3]
        visits = visit(subject, ids)
        guilty = first_guilty(visits, visit(subject, changed), last)
        if guilty is None:
            raise NotApplicable("no module is seen to mix tokens")
        at = next(i for i, one in enumerate(visits) if one is guilty[0])
        there = visit(subject, exchanged)[at]
    gap = max((distance(last(a), last(b)) for a, b in zip(guilty[0].outputs, there.outputs, strict=True)), default=0.0)
    where = place(guilty[0].name, subject.model)
    if gap <= TOLERANCE:
        seen = "exchanging two earlier tokens changes nothing that the last token gets from attention"
        return found(name, "positions-ignored", seen, where)
    if guilty[0].name == "" and len(shaken_trace(subject).calls) != 1:
        raise NotApplicable("the first attention has no module of its own")
    return passed(name, f"exchanging two earlier tokens changes the output of {where} by {gap:.2g}")
