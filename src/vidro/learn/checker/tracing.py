"""Watching a model compute: every PyTorch function it calls is seen, and the few that make an attention understood.

PyTorch lets a `TorchFunctionMode` see each call. A tag travels with every tensor: is it a weight, something computed
from the text, scores (a product of two of those, [.., T, T]), or shares (scores after a softmax)? Which weights made
it, and by which plain numbers was it multiplied since? So the tracer finds attention in any code, named in any way,
written as softmax(q @ k.T) @ v, as einsum, or by the fused kernel. What runs inside a compiled or scripted function is
not seen; probes then say "not applicable".

Not here: the tags (`tags`), the arguments of products (`products`), what is made of it all (`probes_attention`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vidro.core.shapes import Int
from vidro.learn.checker.attention_call import Call, Fill, Trace, explicit_shares, squeezed, triangular
from vidro.learn.checker.products import Product, product_of
from vidro.learn.checker.subject import Subject
from vidro.learn.checker.tags import MASK, MASK_MAKERS, OVER, PLUS, SCORES, SHARES, TEXT, TIMES, WEIGHT, Tag, scaled
from vidro.learn.checker.visits import tensors


class Tracer(TorchFunctionMode):
    """Fills `self.trace` while it is active. Tensors are held, so that no two share an identity."""

    def __init__(self, model: nn.Module, n_tokens: int) -> None:
        super().__init__()
        self.n_tokens = n_tokens
        self.trace = Trace()
        self.inside: list[str] = [""]
        self.tags: dict[int, tuple[Tag, Tensor]] = {}
        for name, parameter in model.named_parameters():
            self.put(parameter, Tag(WEIGHT, frozenset({name})))
        for name, buffer in model.named_buffers():
            if triangular(buffer, n_tokens):
                self.put(buffer, self.new_mask(name))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs) if kwargs else {}
        op = getattr(func, "__name__", "").strip("_")
        before = [(tensor, self.tag(tensor)) for tensor in tensors((args, kwargs))]
        output = func(*args, **kwargs)
        self.learn(op, args, kwargs, before, output)
        return output

    def put(self, tensor: Tensor, tag: Tag) -> None:
        """Remember the tag of a tensor."""
        self.tags[id(tensor)] = (tag, tensor)

    def tag(self, tensor: Any) -> Tag | None:
        """The tag of a tensor, if it has one."""
        held = self.tags.get(id(tensor))
        return held[0] if held is not None else None

    def new_mask(self, name: str) -> Tag:
        """The tag of a triangular mask that was found."""
        if name not in self.trace.masks:
            self.trace.masks.append(name)
        return Tag(MASK, mask=name)

    def learn(self, op: str, args: Any, kwargs: Any, before: list[tuple[Tensor, Tag | None]], output: Any) -> None:
        """What this call means for the tensors that it made."""
        if op == "scaled_dot_product_attention":
            return self.fused(args, kwargs, output)
        if op == "embedding" and isinstance(output, Tensor):
            return self.put(output, Tag(TEXT, frozenset().union(*(tag.sources for _, tag in before if tag))))
        if (product := product_of(op, args, kwargs)) is not None and isinstance(output, Tensor):
            return self.product(product, output)
        fresh = op in MASK_MAKERS and all(tag is None for _, tag in before)
        if fresh and isinstance(output, Tensor) and triangular(output, self.n_tokens):
            return self.put(output, self.new_mask(f"the {op} in {self.inside[-1] or 'forward'}"))
        best = max((tag for _, tag in before if tag is not None), key=lambda tag: tag.kind, default=None)
        if best is None:
            return
        if "multi_head_attention" in op:
            self.trace.used_masks |= {tag.mask for _, tag in before if tag is not None and tag.kind == MASK}
        result = self.carried(op, args, kwargs, before, best)
        if result.call is not None and op == "softmax" and isinstance(output, Tensor):
            result = self.softmax(result, args, kwargs, output)
        for made in tensors(output):
            if made.is_floating_point() or best.kind == MASK:
                self.put(made, self.turned(result, before, made))

    def carried(self, op: str, args: Any, kwargs: Any, before: list[tuple[Tensor, Tag | None]], best: Tag) -> Tag:
        """The tag of a result that is its highest operand, scaled, normalised or masked."""
        if op in TIMES | OVER:
            best = replace(best, factor=scaled(best.factor, op, args))
            learned = any(tag and tag.kind == WEIGHT and tensor.numel() > 1 for tensor, tag in before)
            best = replace(best, factor=None) if learned and best.kind == SCORES else best
        if op == "normalize":
            best = replace(best, normed=True)
        if (call := best.call) is not None and best.kind in (SCORES, SHARES):
            if op in OVER and best.kind == SCORES and any(tag and tag.call is call for _, tag in before[1:]):
                best = replace(best, kind=SHARES)  # a softmax by hand: exp, divided by its sum
                call.softmax_axis, call.factor = -1, best.factor
            if (fill := self.fill(op, args, kwargs, before)) is not None:
                call.fills.append(fill)
                best = replace(best, fills=(*best.fills, fill))
        return best

    def fill(self, op: str, args: Any, kwargs: Any, before: list[tuple[Tensor, Tag | None]]) -> Fill | None:
        """The mask in this call, if it is one."""
        names = {tag.mask for _, tag in before if tag is not None and tag.kind == MASK}
        hidden: Tensor | None = None
        if op in ("masked_fill", "where"):
            masks = [tensor for tensor in tensors((args, kwargs)) if tensor.dtype == torch.bool]
            if not masks:
                return None
            scores_first = op == "where" and self.is_attention(args[1] if len(args) > 1 else None)
            hidden = ~masks[0] if scores_first else masks[0]
        elif op in PLUS | TIMES:
            others = [tensor for tensor, tag in before if tag is None or tag.kind == MASK]
            square = [t for t in others if tuple(t.shape[-2:]) == (self.n_tokens, self.n_tokens)]
            if not square or not (names or triangular(square[0], self.n_tokens)):
                return None
            hidden = square[0] == 0 if op in TIMES else square[0] < 0
        else:
            return None
        self.trace.used_masks |= names
        return Fill(squeezed(hidden, self.n_tokens), self.inside[-1])

    def is_attention(self, tensor: Any) -> bool:
        """Whether these are scores or shares."""
        tag = self.tag(tensor)
        return tag is not None and tag.kind in (SCORES, SHARES)

    def softmax(self, tag: Tag, args: Any, kwargs: Any, output: Tensor) -> Tag:
        """Scores become shares; over which axis is written down."""
        call = tag.call
        assert call is not None
        axis = kwargs.get("dim", args[1] if len(args) > 1 and isinstance(args[1], int) else None)
        if axis is None:  # PyTorch's old habit when no axis is named
            axis = 0 if output.dim() in (0, 1, 3) else 1
        call.softmax_axis = axis - output.dim() if axis >= 0 else axis
        call.softmaxed = output.detach().clone()
        call.softmax_flipped = tag.flipped
        call.factor = tag.factor
        return replace(tag, kind=SHARES)

    def turned(self, tag: Tag, before: list[tuple[Tensor, Tag | None]], made: Tensor) -> Tag:
        """The tag, flipped when a view of scores or shares exchanged queries and keys."""
        if tag.call is None:
            return tag
        for tensor, old in before:
            if old is not None and old.call is tag.call and tensor is not made and tensor.dim() == made.dim() >= 2:
                same_memory = tensor.data_ptr() == made.data_ptr() and tensor.shape == made.shape
                if same_memory and tensor.stride()[-2:] == made.stride()[-2:][::-1] != made.stride()[-2:]:
                    return replace(tag, flipped=not tag.flipped)
        return tag

    def product(self, product: Product, output: Tensor) -> None:
        """A matrix product: with a weight, of query and key, or of shares and values."""
        one, two = self.tag(product.left), self.tag(product.right)
        if one is None and two is None:
            return
        shares = one if one is not None and one.kind in (SCORES, SHARES) else two
        if shares is not None and shares.kind in (SCORES, SHARES):
            other = two if shares is one else one
            operand, axis = (product.left, product.left_axis) if shares is one else (product.right, product.right_axis)
            self.mixed(shares, operand, axis, other)
            return self.put(output, Tag(TEXT))
        weights = [tag for tag in (one, two) if tag is not None and tag.kind == WEIGHT]
        if weights:
            both = len(weights) == 2  # two weights make a weight (LoRA)
            return self.put(output, Tag(WEIGHT if both else TEXT, weights[0].sources))
        if one is None or two is None or MASK in (one.kind, two.kind):
            return
        if output.dim() >= 2 and tuple(output.shape[-2:]) == (self.n_tokens, self.n_tokens):
            factor = None if one.factor is None or two.factor is None else one.factor * two.factor
            factor = None if factor is None else factor * product.alpha
            call = Call(self.inside[-1], product.left.shape[product.left_axis], one.sources, two.sources)
            call.factor, call.normed = factor, one.normed or two.normed
            self.trace.calls.append(call)
            return self.put(output, Tag(SCORES, factor=factor, call=call))
        self.put(output, Tag(TEXT))

    def mixed(self, shares: Tag, operand: Tensor, axis: int, value: Tag | None) -> None:
        """Shares multiply values: the keys are the axis that is summed over."""
        call = shares.call
        if call is None or call.used is not None or tuple(operand.shape[-2:]) != (self.n_tokens, self.n_tokens):
            return
        keys_last = (axis % operand.dim()) == operand.dim() - 1
        call.used = operand.detach().clone() if keys_last else operand.detach().transpose(-1, -2).clone()
        keys_are_right = keys_last != shares.flipped  # of the product that made the scores
        if not keys_are_right:
            call.query, call.key = call.key, call.query
        if keys_are_right == call.softmax_flipped:  # the softmax saw keys × queries
            call.softmaxed = None if call.softmaxed is None else call.softmaxed.transpose(-1, -2)
            call.softmax_axis = -3 - call.softmax_axis if call.softmax_axis in (-1, -2) else call.softmax_axis
        call.on_the_way = shares.fills
        call.value = value.sources if value is not None else frozenset()

    def fused(self, args: Any, kwargs: Any, output: Any) -> None:
        """PyTorch's attention in one call: what it does inside is computed beside it."""
        named = dict(zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args, strict=False)) | kwargs
        q, k, v, mask = named["query"], named["key"], named["value"], named.get("attn_mask")
        tags = [self.tag(tensor) for tensor in (q, k, v)]
        sources = [tag.sources if tag is not None else frozenset() for tag in tags]
        scale = named.get("scale")
        scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
        before = [tag.factor for tag in tags[:2] if tag is not None]
        factor = None if None in before else scale * float(torch.tensor([1.0, *before]).prod())
        call = Call(self.inside[-1], q.shape[-1], *sources, factor=factor, fused=True, softmax_axis=-1)
        self.trace.calls.append(call)
        self.put(output, Tag(TEXT))
        if (q.shape[-2], k.shape[-2]) != (self.n_tokens, self.n_tokens):
            return
        if isinstance(mask, Tensor):
            tag = self.tag(mask)
            self.trace.used_masks |= {tag.mask} if tag is not None and tag.kind == MASK else set()
            hidden = ~mask if mask.dtype == torch.bool else mask < 0
            call.fills.append(Fill(squeezed(hidden, self.n_tokens), call.where))
        call.on_the_way = tuple(call.fills)
        call.used = explicit_shares(q, k, mask, causal=bool(named.get("is_causal")), scale=scale)
        call.softmaxed = call.used


@torch.no_grad()
def trace(subject: Subject, ids: Int[Tensor, "B T"]) -> Trace:
    """Run the model under watch."""
    tracer = Tracer(subject.model, ids.shape[1])
    handles = []
    for name, module in subject.model.named_modules():
        handles.append(module.register_forward_pre_hook(lambda *_args, n=name: tracer.inside.append(n)))
        handles.append(module.register_forward_hook(lambda *_args: tracer.inside.pop() and None))
    try:
        with tracer:
            subject.raw(ids)
    finally:
        for handle in handles:
            handle.remove()
    return tracer.trace


def shaken_trace(subject: Subject) -> Trace:
    """The trace of this model with noise on its weights, run once and kept."""
    if "trace" not in subject.memo:
        with subject.shaken():
            subject.memo["trace"] = trace(subject, subject.ids(11))
    found: Trace = subject.memo["trace"]
    return found
