"""The two optimizers: AdamW for tables, gains and biases, Muon for the matrices inside the blocks.

AdamW (Loshchilov & Hutter 2019) keeps a running mean and a running square of each gradient and moves by their ratio.
Muon (Jordan et al. 2024) keeps a running mean only, and replaces that matrix by the nearest one whose singular values
are all about 1, so that no direction is starved; a few Newton–Schulz iterations do it with matrix products alone.
Here those run in fp32 (processors without bf16 units crawl through torch's own bf16 version) and for all matrices of
one shape in one batched product. Both are tested against `torch.optim`.

The token embedding has a rate of its own: a row moves only in steps where its token occurs, so what suits the head
starves it (measured: `docs/diary.md`). Not here: the learning rate's course (`schedule`), clipping (`step`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vidro.config.schema import ModelConfig
from vidro.core.errors import CheckpointError
from vidro.core.shapes import Float

Named = list[tuple[str, nn.Parameter]]
EMBEDDING = "token_embedding.weight"

# Quintics that pull singular values to 1, one an iteration, each the best after those before it: steep first, gentle
# later (Amsel, Persson, Musco & Gower 2025, "The Polar Express").
Quintic = tuple[float, float, float]
POLAR_EXPRESS: tuple[Quintic, ...] = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Resolved numbers; learning rates are the peaks that the schedule's multiplier scales."""

    kind: str
    lr: float
    muon_lr: float
    weight_decay: float
    beta1: float
    beta2: float
    embedding_lr: float | None = None
    """Of an untied token embedding; None: the same as `lr`."""
    eps: float = 1e-8
    momentum: float = 0.9
    quintics: tuple[Quintic, ...] = POLAR_EXPRESS[:3]


class Move(NamedTuple):
    """One update by AdamW, the `steps`-th."""

    lr: float
    weight_decay: float
    beta1: float
    beta2: float
    eps: float
    steps: int


Tensors = Sequence[Tensor]


def adamw_(weights: Tensors, gradients: Tensors, means: Tensors, squares: Tensors, by: Move) -> None:
    """Move the weights in place: m and v are running means of g and g², w ← w - lr (λ w + m̂ / (√v̂ + ε)).

    The hats take out that both means began at zero. `fused_adamw_` is the same, faster.
    """
    mean_bias, square_bias = 1 - by.beta1**by.steps, 1 - by.beta2**by.steps
    for w, g, m, v in zip(weights, gradients, means, squares, strict=True):
        m.lerp_(g, 1 - by.beta1)
        v.mul_(by.beta2).addcmul_(g, g, value=1 - by.beta2)
        root = v.sqrt().div_(square_bias**0.5).add_(by.eps)
        w.mul_(1 - by.lr * by.weight_decay).addcdiv_(m, root, value=-by.lr / mean_bias)


def fused_adamw_(weights: Tensors, gradients: Tensors, means: Tensors, squares: Tensors, by: Move) -> None:
    """`adamw_` by torch's kernel, which reads and writes each number once: the one inside ``AdamW(fused=True)``."""
    counts = [torch.tensor(float(by.steps), device=weight.device) for weight in weights]
    torch.ops.aten._fused_adamw_(
        weights, gradients, means, squares, [], counts, lr=by.lr, beta1=by.beta1, beta2=by.beta2,
        weight_decay=by.weight_decay, eps=by.eps, amsgrad=False, maximize=False,
    )  # fmt: skip


class AdamW:
    """AdamW over named parameters; matrices decay, vectors (gains, biases) do not."""

    def __init__(self, parameters: Named, settings: OptimizerSettings) -> None:
        self.settings = settings
        self.names = [name for name, _ in parameters]
        self.parameters = [parameter for _, parameter in parameters]
        self.mean = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.square = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = 0
        own = settings.lr if settings.embedding_lr is None else settings.embedding_lr
        self.groups: dict[tuple[float, float], list[int]] = {}
        """Places of the parameters by rate and decay: what moves alike moves in one call."""
        for place, (name, parameter) in enumerate(parameters):
            rate = own if name == EMBEDDING else settings.lr
            decay = settings.weight_decay if parameter.ndim >= 2 else 0.0
            self.groups.setdefault((rate, decay), []).append(place)

    @torch.no_grad()
    def step(self, multiplier: float) -> None:
        """One update at ``rate × multiplier``. Parameters without a gradient stay as they are."""
        s = self.settings
        self.steps += 1
        for (rate, decay), places in self.groups.items():
            moving = [(place, g) for place in places if (g := self.parameters[place].grad) is not None]
            weights = [self.parameters[place] for place, _ in moving]
            gradients = [gradient.contiguous() for _, gradient in moving]
            means, squares = ([each[place] for place, _ in moving] for each in (self.mean, self.square))
            by = Move(rate * multiplier, decay, s.beta1, s.beta2, s.eps, self.steps)
            if weights:
                fused_adamw_(weights, gradients, means, squares, by)

    def tensors(self) -> dict[str, Tensor]:
        """State by name, for checkpoints (no copies)."""
        named = {f"mean.{name}": tensor for name, tensor in zip(self.names, self.mean, strict=True)}
        named |= {f"square.{name}": tensor for name, tensor in zip(self.names, self.square, strict=True)}
        return named


class Muon:
    """Muon over named matrices, all of one shape updated together."""

    def __init__(self, parameters: Named, settings: OptimizerSettings) -> None:
        self.settings = settings
        shapes: dict[tuple[int, ...], Named] = {}
        for name, parameter in parameters:
            shapes.setdefault(tuple(parameter.shape), []).append((name, parameter))
        self.stacks = list(shapes.values())
        self.momentum = [torch.zeros_like(torch.stack([p.detach() for _, p in stack])) for stack in self.stacks]

    @torch.no_grad()
    def step(self, multiplier: float) -> None:
        """One update at ``muon_lr × multiplier``."""
        s = self.settings
        lr = s.muon_lr * multiplier
        for stack, momentum in zip(self.stacks, self.momentum, strict=True):
            weights = [weight for _, weight in stack]
            gradient = torch.stack([w.grad if w.grad is not None else torch.zeros_like(w) for w in weights])
            momentum.lerp_(gradient, 1 - s.momentum)
            update = orthogonalise(gradient.lerp_(momentum, s.momentum), s.quintics)  # Nesterov
            rows, columns = update.shape[1:]
            # A tall matrix gets a longer step, so that each output moves as much as in a square one.
            length = lr * max(1.0, rows / columns) ** 0.5
            for weight, direction in zip(weights, update, strict=True):
                weight.mul_(1 - lr * s.weight_decay).sub_(direction, alpha=length)

    def tensors(self) -> dict[str, Tensor]:
        """State by name, for checkpoints (views into the stacks)."""
        return {
            f"momentum.{name}": momentum[i]
            for stack, momentum in zip(self.stacks, self.momentum, strict=True)
            for i, (name, _) in enumerate(stack)
        }


def orthogonalise(
    matrices: Float[Tensor, "N R C"], quintics: Iterable[Quintic] = POLAR_EXPRESS
) -> Float[Tensor, "N R C"]:
    """Matrices with the same singular vectors and singular values near 1, in fp32.

    Each iteration applies X → aX + b(XXᵀ)X + c(XXᵀ)²X, which moves every singular value s to as + bs³ + cs⁵. Three
    iterations leave small values short of 1, which training does not mind (`docs/diary.md`) and pays less for.
    """
    x = matrices.float()
    tall = x.shape[1] > x.shape[2]
    if tall:  # the product XXᵀ is smallest on the short side
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) * 1.01 + 1e-7)  # 1.01: rounding must not carry a value above 1
    for a, b, c in quintics:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def muon_flops(model: ModelConfig, iterations: int = len(OptimizerSettings.quintics)) -> float:
    """FLOPs of one update of all matrices inside the blocks: XXᵀ, its square and the product with X, each time."""
    d, e = model.d_model, model.d_head
    queries, keys = model.n_heads * e, model.n_kv_heads * e
    gated = 3 if model.family != "gpt2" else 2
    shapes = [(queries, d)] * 2 + [(keys, d)] * 2 + [(model.d_ff, d)] * gated
    once = sum(4 * min(shape) ** 2 * max(shape) + 2 * min(shape) ** 3 for shape in shapes)
    return float(model.n_layers * iterations * once)


class Optimizer:
    """What the loop holds: the parts that together cover every trainable parameter exactly once."""

    def __init__(self, model: nn.Module, settings: OptimizerSettings) -> None:
        matrices, others = split_parameters(model.named_parameters(), muon=settings.kind == "muon")
        self.parameters = [parameter for _, parameter in matrices + others]
        self.adamw = AdamW(others, settings)
        self.muon = Muon(matrices, settings)

    def step(self, multiplier: float) -> None:
        """One update of all parameters; `multiplier` is the schedule's."""
        self.adamw.step(multiplier)
        self.muon.step(multiplier)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """The whole state as named tensors."""
        steps = torch.tensor([self.adamw.steps], dtype=torch.int64)
        return {**self.adamw.tensors(), **self.muon.tensors(), "adamw.steps": steps}

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over a saved state. Raises CheckpointError when it belongs to another model or optimizer."""
        own = self.tensors()
        missing = sorted(own.keys() - tensors.keys())
        if missing:
            raise CheckpointError(f"the optimizer state has no {missing[0]!r}", hint="It belongs to other settings.")
        for name, tensor in own.items():
            if tensor.shape != tensors[name].shape:
                raise CheckpointError(f"the optimizer state {name!r} has another shape")
            tensor.copy_(tensors[name])
        self.adamw.steps = int(tensors["adamw.steps"].item())


def split_parameters(named: Iterable[tuple[str, nn.Parameter]], *, muon: bool) -> tuple[Named, Named]:
    """(the blocks' matrices, the rest): what Muon takes and what AdamW takes. Frozen parameters are in neither.

    The thin matrices of LoRA are AdamW's: only their product is a direction.
    """
    matrices: Named = []
    others: Named = []
    for name, parameter in named:
        if parameter.requires_grad:
            inside = muon and parameter.ndim == 2 and name.startswith("blocks.") and ".lora_" not in name
            (matrices if inside else others).append((name, parameter))
    return matrices, others
