r"""Matrices in eight bits: a quarter of the bytes, and so most of the speed, of a model that only reads and writes.

A new token reads every weight once and does little else, so bytes are time. Each row of a matrix gets its own scale
and becomes whole numbers from -127 to 127; what goes in is rounded to 127 steps while it passes:

    W [out, in]   →  scale_o · q_o          scale_o = max |W_o| / 127
    x [N, in]     →  size_n · u_n / 63      size_n  = max |x_n|, u whole, -63 to 63
    y [n, o]      =  size_n · scale_o / 63 · Σ u_n q_o + bias_o     the sum in whole numbers, exact

Each row of x has a size of its own. PyTorch's kernel alone rounds all rows by the largest number among them, and one
loud row silences its neighbours (measured: relative error 0.02 → 1.0 beside a row 1,000 times as loud). With the rows
made equally loud first, the kernel needs no look at them: a row is bit-for-bit the same alone and in company (fbgemm).
One bit of the input is given up (127 steps, not 255) because older x86 processors add pairs of products in 16 bits.
Matrices that read the same numbers (`JOINED`) become one, and round them once; each output stays what it was.

This file holds all that PyTorch deprecates (quantised tensors, warned about since 2.13): when it goes, only this
changes. Inference on the CPU only. Not here: what it does to perplexity (`vidro.api.quantized`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vidro.core.errors import ModelError, UsageError
from vidro.core.shapes import Float
from vidro.model.attention import Attention
from vidro.model.feedforward import FeedForward
from vidro.model.lora import LoRALinear
from vidro.model.transformer import Transformer

ENGINES = ("fbgemm", "qnnpack")
"""PyTorch's kernels for x86 (AVX2) and for ARM, the better first; the others it names are slower or these again."""

JOINED = {"qkv": ("q_proj", "k_proj", "v_proj"), "gate_up": ("gate", "up")}
"""Layers of a module that read the same numbers, and where the module looks for the one that does their work."""

INPUT_STEPS = 63
"""Whole numbers on either side of 0 for what goes in: 7 bits, so that two products fit into 16."""

SMALLEST = torch.finfo(torch.float32).tiny
"""In place of the size of a row of zeros, which would be divided by 0."""

SMALLEST_SCALE = 1e-30
"""Rows of a matrix with a smaller scale become zeros: the kernels multiply scales in fp32."""


class Int8Linear(nn.Module):
    """A linear layer with an int8 matrix, made from the fp32 one; it cannot learn, nor be saved."""

    def __init__(
        self, weight: Float[Tensor, "out in"], bias: Float[Tensor, "out"] | None = None, *, engine: str | None = None
    ) -> None:
        """`engine`: one of `ENGINES`; None takes the best here. Raises UsageError and ModelError (NaN in a weight)."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.engine = choose_engine() if engine is None else engine
        self.bias = None if bias is None else bias.detach().clone()
        self.packed = pack(weight.detach(), self.engine)

    def forward(self, input: Float[Tensor, "*N in"]) -> Float[Tensor, "*N out"]:
        """W x + b, to about two digits."""
        if input.dim() == 1:  # the kernels want rows
            return self(input[None])[0]
        size = input.abs().amax(-1, keepdim=True).clamp_min(SMALLEST)
        rows = input / size
        if self.engine == "fbgemm":
            out = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
                rows, 1 / INPUT_STEPS, INPUT_STEPS + 1, self.packed
            )
        else:  # measures its input again, which is at most 1 by now; all 8 bits are safe here
            rows = rows.nan_to_num(0.0)  # refused there; the size makes it NaN again
            out = torch.ops.quantized.linear_dynamic(rows, self.packed, reduce_range=False)
        return out.mul_(size) if self.bias is None else torch.addcmul(self.bias, out, size)

    def dequantized(self) -> Float[Tensor, "out in"]:
        """The matrix that these whole numbers stand for."""
        return torch.ops.quantized.linear_unpack(self.packed)[0].dequantize()

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        raise ModelError("an int8 model is not saved", hint="Save the fp32 model, and quantise when it is opened.")

    @property
    def n_bytes(self) -> int:
        """What the layer keeps: a byte a weight, and a scale, a zero point, a sum and perhaps a bias a row."""
        return self.out_features * (self.in_features + 12 + (0 if self.bias is None else 4))

    def extra_repr(self) -> str:
        """For ``print(model)``."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Joined(nn.Module):
    """One int8 layer in the place of several; what it gives is cut into what they gave."""

    def __init__(self, layer: Int8Linear, widths: Sequence[int]) -> None:
        """`widths`: how many outputs each of them had, in the order of their rows."""
        super().__init__()
        self.layer, self.widths = layer, list(widths)

    def forward(self, input: Float[Tensor, "*N in"]) -> tuple[Float[Tensor, "*N _"], ...]:
        """The outputs of each."""
        return self.layer(input).split(self.widths, -1)


def quantize_int8(model: Transformer, *, engine: str | None = None) -> Transformer:
    """Put an `Int8Linear` in the place of every linear layer of `model`, head included, and return the same model.

    The embedding table stays fp32, also where the head was tied to it. Thin matrices (LoRA) are merged first. One
    layer after the other, so memory never holds both forms. Raises UsageError on a GPU and where there is no engine.
    """
    device = model.token_embedding.weight.device
    if device.type != "cpu":
        hint = "Say --device cpu, or leave --quantize out."
        raise UsageError(f"int8 runs on the CPU only, and the model is on {device}", where="quantize", hint=hint)
    engine = choose_engine() if engine is None else engine
    model.float().eval().requires_grad_(False)
    # Names only: a list of layers would keep them all in memory.
    for place in [name for name, module in model.named_modules() if isinstance(module, Attention | FeedForward)]:
        _join(model.get_submodule(place), place, engine)
    for place in [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]:
        parent, _, own = place.rpartition(".")
        setattr(model.get_submodule(parent), own, _in_int8(model.get_submodule(parent), parent, [own], engine))
    return model


def _join(module: nn.Module, place: str, engine: str) -> None:
    """Make one int8 layer of those of the module that read the same numbers."""
    for joined, names in JOINED.items():
        layers = [getattr(module, name, None) for name in names]
        widths = [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]
        if len(widths) == len(names):
            setattr(module, joined, Joined(_in_int8(module, place, names, engine), widths))
            for name in names:
                setattr(module, name, None)


def _in_int8(module: nn.Module, place: str, names: Sequence[str], engine: str) -> Int8Linear:
    """One layer that does what these of the module do, the outputs of one behind the other's.

    Raises ModelError that names the one whose weights are broken.
    """
    layers: list[nn.Linear] = [getattr(module, name) for name in names]
    weights: list[Tensor] = [layer.merged() if isinstance(layer, LoRALinear) else layer.weight for layer in layers]
    biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
    weight = weights[0] if len(weights) == 1 else torch.cat(weights)
    try:
        return Int8Linear(weight, torch.cat(biases) if biases else None, engine=engine)
    except ModelError as problem:
        broken = next(name for name, each in zip(names, weights, strict=True) if not bool(each.isfinite().all()))
        where = f"{place}.{broken}" if place else broken
        raise ModelError(problem.what, where=where, hint=problem.hint) from None


def matrix_bytes(model: nn.Module) -> int:
    """Bytes of all that the model keeps in memory: parameters (tied ones once), buffers and int8 layers."""
    held = {id(each): each.nbytes for each in (*model.parameters(), *model.buffers())}
    return sum(held.values()) + sum(each.n_bytes for each in model.modules() if isinstance(each, Int8Linear))


def choose_engine() -> str:
    """The first of `ENGINES` that this PyTorch has on this processor. Raises UsageError where it has none."""
    has = torch.backends.quantized.supported_engines
    for name in ENGINES:
        if name in has:
            return name
    raise UsageError("PyTorch has no int8 kernels for this processor", where="quantize", hint="Leave --quantize out.")


def pack(weight: Float[Tensor, "out in"], engine: str) -> Any:
    """The matrix in the form that the kernel of `engine` reads. Raises ModelError for NaN and infinite weights."""
    weight = weight.float()
    scales = weight.abs().amax(1) / 127 if weight.numel() else weight.new_ones(len(weight))
    if not bool(torch.isfinite(scales).all()):
        raise ModelError("a weight is not a number (NaN) or infinite", hint="The model is broken; take another step.")
    scales = torch.where(scales > SMALLEST_SCALE, scales, 1.0).double()  # of zeros any scale is right
    zeros = torch.zeros(len(weight), dtype=torch.long)
    with _engine(engine), _deprecated():
        rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        return torch.ops.quantized.linear_prepack(rounded, None)


@contextmanager
def _engine(name: str) -> Iterator[None]:
    """PyTorch packs for the engine of the moment; afterwards it is the one it was."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


@contextmanager
def _deprecated() -> Iterator[None]:
    """Inside, PyTorch does not say that quantised tensors will go: this file knows (see its beginning)."""
    with warnings.catch_warnings():
        for kind in (UserWarning, DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", message=r".*quantize.*deprecated", category=kind)
        yield
