"""Inside attention: the mask, the axis of the softmax, shares that sum to 1, the scale, query and key.

These look at the trace of one pass (`tracing`): the shares that really multiplied the values, and how the scores that
they come from were made. A model whose attention cannot be seen is "not applicable". Next: `probes_losses`.
"""

from __future__ import annotations

import math
import re

import torch
from torch import nn

from vidro.learn.checker.attention_call import Call
from vidro.learn.checker.faults import Finding, NotApplicable, found, passed
from vidro.learn.checker.probes_context import leaks
from vidro.learn.checker.subject import Subject
from vidro.learn.checker.tracing import shaken_trace
from vidro.learn.checker.visits import place

SOME = 1e-6  # a share this large is seen
ROLES = {
    "query": {"q", "wq", "query", "queries", "qs", "qproj"},
    "key": {"k", "wk", "key", "keys", "ks", "kproj"},
    "value": {"v", "wv", "value", "values", "vs", "vproj"},
}


def seen_calls(subject: Subject) -> list[Call]:
    """The attentions that could be followed from scores to values."""
    calls = shaken_trace(subject).complete
    if not calls:
        raise NotApplicable("no attention is seen to compute scores and mix values")
    return calls


def mask(subject: Subject) -> Finding:
    """The mask hides later tokens, all of them and nothing else."""
    name = "mask"
    trace = shaken_trace(subject)
    idle = [mask for mask in trace.masks if mask not in trace.used_masks]
    if not trace.complete:
        if idle and leaks(subject):
            return found(name, "mask-never-applied", f"{idle[0]} is made and touches no scores")
        raise NotApplicable("no attention is seen to compute scores and mix values")
    for call in trace.complete:
        where = place(call.where, subject.model)
        if call.future_share() > SOME:
            fault = fault_of_mask(call, idle)
            if fault is not None:
                return found(name, fault[0], fault[1], where)
            raise NotApplicable("no mask is made")
        if call.own_share() == 0.0:
            return found(name, "wrong-mask", "it hides each token from itself", where)
    return passed(name, f"no share goes to later tokens in {len(trace.complete)} attentions")


def fault_of_mask(call: Call, idle: list[str]) -> tuple[str, str] | None:
    """Why later tokens get a share: the name of the fault and what was seen; None when no mask was made."""
    share = f"up to {call.future_share():.0%} of a token's attention goes to later tokens"
    known = [fill.hidden for fill in call.on_the_way if fill.hidden is not None]
    if known:
        hidden = torch.stack(known).any(dim=0)
        later = torch.ones_like(hidden).triu(diagonal=1)
        if bool(hidden[later].all()):
            return "mask-too-weak", share
        count = int(hidden[later].sum())
        earlier = int(hidden[~later].sum())
        seen = f"it hides {count} of {int(later.sum())} later places and {earlier} of the others; {share}"
        return "wrong-mask", seen
    if call.on_the_way:
        return None
    if call.fills:
        return "mask-never-applied", f"the masked scores are never used; {share}"
    if idle:
        return "mask-never-applied", f"{idle[0]} touches no scores; {share}"
    return None


def axis(subject: Subject) -> Finding:
    """Each token's shares sum to 1 over what it looks at."""
    name = "softmax"
    calls = [call for call in seen_calls(subject) if call.softmax_axis is not None]
    if not calls:
        raise NotApplicable("no softmax is seen")
    for call in calls:
        sums = row_sums(call)
        if call.softmax_axis == -1 or bool((sums - 1).abs().max() < 1e-3):
            continue
        wrong = "the queries" if call.softmax_axis == -2 else "heads or texts"
        seen = f"it runs over {wrong}; a token's shares sum to {float(sums.min()):.2f} … {float(sums.max()):.2f}"
        return found(name, "softmax-wrong-axis", seen, place(call.where, subject.model))
    return passed(name, f"shares are taken over the keys in {len(calls)} attentions")


def row_sums(call: Call) -> torch.Tensor:
    """What each token's shares sum to."""
    assert call.used is not None
    return call.used.nan_to_num().sum(dim=-1)


def renormalised(subject: Subject) -> Finding:
    """Shares that are masked after the softmax are divided by their sum."""
    name = "shares"
    calls = [c for c in seen_calls(subject) if c.softmax_axis == -1 and c.softmaxed is not None]
    if not calls:
        raise NotApplicable("no softmax over the keys is seen")
    for call in calls:
        assert call.used is not None
        assert call.softmaxed is not None
        sums = row_sums(call)
        masked_late = call.future_share() <= SOME < float(call.softmaxed.nan_to_num().triu(diagonal=1).max())
        if call.softmaxed.shape == call.used.shape and masked_late and float(sums.min()) < 1 - 1e-3:
            seen = f"a token's shares sum to {float(sums.min()):.2f} … {float(sums.max()):.2f}"
            return found(name, "not-renormalised", seen, place(call.where, subject.model))
    return passed(name, "each token's shares are used as the softmax made them, or sum to 1")


def scale(subject: Subject) -> Finding:
    """Scores are divided by the square root of the head's width."""
    name = "scale"
    calls = [c for c in seen_calls(subject) if c.softmax_axis is not None and c.factor is not None and c.d_head > 1]
    calls = [call for call in calls if not call.normed]
    if not calls:
        raise NotApplicable("it is not seen how scores are scaled")
    for call in calls:
        wrong = wrong_scale(call, subject.model)
        if wrong is not None:
            return found(name, "missing-scale", wrong, place(call.where, subject.model))
    factor = calls[0].factor
    return passed(name, f"scores are query · key × {factor:.3g}, for heads of width {calls[0].d_head}")


def wrong_scale(call: Call, model: nn.Module) -> str | None:
    """What is wrong with the factor between query · key and the scores; None for one that may be meant."""
    assert call.factor is not None
    right, product = 1 / math.sqrt(call.d_head), f"query · key of heads {call.d_head} wide"
    widths = {size for name in call.query for size in model.get_parameter(name).shape}
    wrong = {1.0: "is not scaled", 1 / right: f"is multiplied by √{call.d_head}, not divided"}
    wrong |= {1 / math.sqrt(width): f"is divided by √{width}, not by √{call.d_head}" for width in widths}
    for factor, words in wrong.items():
        if math.isclose(call.factor, factor, rel_tol=1e-3) and not math.isclose(factor, right, rel_tol=1e-3):
            return f"{product} {words}"
    if call.fused and math.isclose(call.factor, 1 / call.d_head, rel_tol=1e-3):
        return f"{product} is divided by √{call.d_head} twice: PyTorch's attention does it too"
    return None


def roles(subject: Subject) -> Finding:
    """What a token asks comes from the query matrix, what it is asked for from the key matrix."""
    name = "query and key"
    calls = seen_calls(subject)
    known = 0
    for call in calls:
        asks, offers = role(call.query), role(call.key)
        known += asks is not None and offers is not None
        if (asks, offers) == ("key", "query"):
            seen = f"queries come from {', '.join(sorted(call.query))} and keys from {', '.join(sorted(call.key))}"
            return found(name, "query-key-swapped", seen, place(call.where, subject.model))
    if not known:
        raise NotApplicable("the weights' names do not say which is the query and which the key")
    return passed(name, f"each made by the matrix of that name in {known} attentions")


def role(sources: frozenset[str]) -> str | None:
    """Which of query, key and value the names of these weights speak of.

    >>> role(frozenset({"blocks.0.att.W_query.weight"})), role(frozenset({"h.0.attn.c_attn.weight"}))
    ('query', None)
    """
    found_roles: set[str] = set()
    for path in sources:
        for part in reversed(path.lower().split(".")):
            words = set(re.split(r"[^a-z]+", part))
            here = {name for name, known in ROLES.items() if words & known}
            if here:
                found_roles |= here
                break
    return found_roles.pop() if len(found_roles) == 1 else None
