"""Against a reference: with the same weights, the same logits; and if not, whether query and key are exchanged.

Swapped matrices learn as well as right ones, so only weights that were made elsewhere bring the mistake to light: a
model with GPT-2's weights in it then writes nonsense. Next: `checking`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from vidro.learn.checker.faults import Finding, NotApplicable, found, passed
from vidro.learn.checker.probes_attention import role
from vidro.learn.checker.shaking import kept, shaken
from vidro.learn.checker.subject import Subject
from vidro.learn.checker.visits import distance, first_guilty, place, visit

SAME = 1e-3  # of the largest logit
FUSED = ("qkv", "c_attn", "in_proj", "w_pack", "query_key_value")


@torch.no_grad()
def reference(subject: Subject) -> Finding:
    """Logits, or weights, are those of the reference."""
    if subject.reference is None:
        raise NotApplicable("no reference is given")
    if isinstance(subject.reference, nn.Module):
        return against_model(subject, subject.reference)
    return against_weights(subject, subject.reference)


def against_model(subject: Subject, other: nn.Module) -> Finding:
    """With the same weights, the same logits. Weights are copied when the names agree, else taken as they are."""
    name = "reference"
    mine = subject.model
    theirs = Subject(other, vocab_size=subject.vocab_size, context_length=subject.context_length, seed=subject.seed)
    theirs.learn_to_call()
    state = {n: t.shape for n, t in mine.state_dict().items()}
    same_names = state == {n: t.shape for n, t in other.state_dict().items()}
    with kept(mine), kept(other), shaken(other, seed=subject.seed + 2) if same_names else contextlib.nullcontext():
        if same_names:
            mine.load_state_dict(other.state_dict())
        ids = subject.ids(14)
        want = theirs.logits(ids)
        if distance(want[:, :1], want[:, 1:2]) == 0.0:
            raise NotApplicable("the reference gives the same logits everywhere")
        gap = logit_gap(subject, ids, want)
        if gap <= SAME:
            return passed(name, f"the same logits up to {gap:.1g} of the largest")
        pairs = list(swappable(mine))
        with swapped(mine):
            after = logit_gap(subject, ids, want)
        if pairs and after <= SAME:
            seen = f"logits differ by {gap:.2g} of the largest, and by {after:.1g} once the two are exchanged"
            return found(name, "query-key-swapped", seen, place(pairs[0].rpartition(".")[0], mine))
        guilty = first_difference(subject, theirs, ids) if same_names else None
    copied = "with its weights" if same_names else "with the weights as given"
    where = None if guilty is None else place(guilty, mine)
    return found(name, "differs-from-reference", f"{copied}, logits differ by {gap:.2g} of the largest", where)


def logit_gap(subject: Subject, ids: Tensor, want: Tensor) -> float:
    """How far the model's logits are from these."""
    got = subject.logits(ids)
    return 1.0 if got.shape != want.shape else distance(got, want)


def first_difference(mine: Subject, theirs: Subject, ids: Tensor) -> str | None:
    """The first module that makes something else out of the same input."""
    others = {v.name: v for v in visit(theirs, ids)}
    for one in visit(mine, ids):
        two = others.get(one.name)
        if two is not None and first_guilty([one], [two], lambda tensor: tensor) is not None:
            return one.name
    return None


def against_weights(subject: Subject, weights: Mapping[str, Tensor]) -> Finding:
    """Query and key weights are the reference's of the same name, not of each other's."""
    name = "reference"
    own = dict(subject.model.named_parameters())
    known = {n for n in own if n in weights and weights[n].shape == own[n].shape}
    if not known:
        raise NotApplicable("the reference has no weight of the same name and shape")
    for query, key in query_key_names(own):
        if query in known and key in known:
            crossed = torch.equal(own[query], weights[key]) and torch.equal(own[key], weights[query])
            if crossed and not torch.equal(own[query], own[key]):
                seen = f"{query} holds the reference's {key}, and the other way round"
                return found(name, "query-key-swapped", seen, place(query.rpartition(".")[0], subject.model))
    other = sorted(n for n in known if not torch.equal(own[n], weights[n]))
    if other:
        raise NotApplicable(f"{len(other)} of {len(known)} weights are not the reference's, {other[0]} the first")
    return passed(name, f"{len(known)} weights are the reference's")


def query_key_names(own: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Names of query weights and of the key weights beside them."""
    queries = [n for n in own if role(frozenset({n})) == "query"]
    keys = [n for n in own if role(frozenset({n})) == "key"]
    yield from zip(queries, keys, strict=False)


def swappable(model: nn.Module) -> Iterator[str]:
    """The weights that `swapped` exchanges, by the query's name."""
    own = dict(model.named_parameters())
    yield from (query for query, key in query_key_names(own) if own[query].shape == own[key].shape)
    yield from (n for n in own if any(word in n.lower() for word in FUSED))


@contextlib.contextmanager
def swapped(model: nn.Module) -> Iterator[None]:
    """Inside, query and key weights are exchanged: between two matrices, or the first two thirds of a fused one."""
    own = dict(model.named_parameters())
    with kept(model):
        for query, key in query_key_names(own):
            if own[query].shape == own[key].shape:
                before = own[query].detach().clone()
                own[query].data.copy_(own[key].detach())
                own[key].data.copy_(before)
        for name, parameter in own.items():
            if any(word in name.lower() for word in FUSED):
                axis = max(range(parameter.dim()), key=lambda i: parameter.shape[i])  # the one of three widths
                if parameter.shape[axis] % 3 == 0:
                    q, k, v = parameter.detach().clone().chunk(3, dim=axis)
                    parameter.data.copy_(torch.cat((k, q, v), dim=axis))
        yield
