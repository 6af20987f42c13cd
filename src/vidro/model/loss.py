"""The loss: how surprised the model was by the true next tokens, in nats, as (sum, number of counted tokens).

Sum and count stay apart so that micro-batches, ranks and masked answers are weighted rightly: whoever wants a mean
divides once, by all counted tokens (design, law 6). This is the only loss; perplexity is exp of its mean.
Not here: evaluation of whole texts (`vidro.evals.perplexity`). Next: `vidro.train.step`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vidro.core.shapes import Float, Int
from vidro.model.transformer import Transformer

IGNORE = -100
"""Target of a token that is not counted (padding, a prompt that is not to be learned)."""


def next_token_loss(
    logits: Float[Tensor, "N V"],
    targets: Int[Tensor, "N"],
    ignore_index: int = IGNORE,
    *,
    class_weights: Float[Tensor, "V"] | None = None,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Sum over counted tokens of -ln softmax(logits)[target], and how many were counted.

    `class_weights` multiply the nats of each target (classifiers of rare classes). No counted token at all gives
    (0, 0), never NaN.
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    total = F.cross_entropy(precise, targets, weight=class_weights, ignore_index=ignore_index, reduction="sum")
    return total, (targets != ignore_index).sum()


def lm_loss(
    model: Transformer,
    ids: Int[Tensor, "B T"],
    targets: Int[Tensor, "B T"],
    chunk_tokens: int | None = None,
    *,
    pieces: Int[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """`next_token_loss(model(ids), targets)` without ever holding all B·T·V logits.

    The head is applied to `chunk_tokens` tokens at a time (None: as many as suit the device), and each piece's
    gradient is computed at once while its logits are in the processor's cache: less memory, and faster. `pieces`
    numbers the texts that share a row (`Transformer.forward`).
    """
    hidden, targets = model.hidden(ids, pieces=pieces).flatten(0, 1), targets.flatten()
    head = model.head
    plain = type(head).forward is nn.Linear.forward and head.bias is None
    if not plain and torch.is_grad_enabled():
        return next_token_loss(head(hidden), targets)  # a wrapped head keeps its own arithmetic
    chunk = default_chunk(model.token_embedding.weight) if chunk_tokens is None else chunk_tokens
    counted = targets != IGNORE
    count = counted.sum()
    if int(count) < len(targets):  # prompts and padding cost nothing at the head
        hidden, targets = hidden[counted], targets[counted]
    if torch.is_grad_enabled():
        total: Tensor = _HeadLoss.apply(hidden, head.weight, targets, chunk)  # pyright: ignore[reportAssignmentType]
        return total, count
    parts = zip(hidden.split(chunk), targets.split(chunk), strict=True)
    return torch.stack([next_token_loss(head(h), t)[0] for h, t in parts]).sum(), count


def default_chunk(head: Float[Tensor, "V D"]) -> int:
    """Tokens per piece: 8 MB of fp32 logits on a CPU (its cache), 1 GB on an accelerator, and at least 512 tokens.

    Products of fewer rows are slow: 0.80 of the matmul peak with 256, 0.85 with 512, for GPT-2's head.
    """
    numbers = 2**21 if head.device.type == "cpu" else 2**28
    return max(512, numbers // head.shape[0])


class _HeadLoss(torch.autograd.Function):
    """Σ cross-entropy of hidden @ weightᵀ, piece by piece; the gradient is softmax minus one-hot, known at once."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int) -> Tensor:
        kind = hidden.device.type
        low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        precise = torch.promote_types(low, torch.float32)
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        total = torch.zeros((), device=hidden.device, dtype=precise)
        grad_hidden = torch.empty_like(hidden) if wants_hidden else None
        unset = torch.empty_like if len(hidden) else torch.zeros_like  # the first piece overwrites what is there
        grad_weight = unset(weight, dtype=precise) if wants_weight else None
        with torch.autocast(kind, enabled=False):
            w = weight.to(low)
            for start in range(0, len(hidden), chunk):
                piece = slice(start, start + chunk)
                h, target = hidden[piece].to(low), targets[piece, None]
                log_p = torch.log_softmax(h @ w.T, dim=-1, dtype=precise)
                total -= log_p.gather(1, target).sum()
                grad = log_p.exp_().scatter_add_(1, target, torch.full_like(target, -1.0, dtype=precise)).to(low)
                if grad_hidden is not None:
                    grad_hidden[piece] = grad @ w
                if grad_weight is not None and low == precise:
                    grad_weight.addmm_(grad.T, h, beta=float(start > 0))
                elif grad_weight is not None:
                    grad_weight.copy_(grad.T @ h + (grad_weight if start > 0 else 0.0))
        ctx.gradients = [grad_hidden, grad_weight]
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Scaled in place, hence given away once: a second table of V × D would cost more than the arithmetic.
        grad_hidden, grad_weight = (None if g is None else g.mul_(scale) for g in ctx.gradients)
        del ctx.gradients
        return grad_hidden, None if grad_weight is None else grad_weight.to(ctx.weight_dtype), None, None
