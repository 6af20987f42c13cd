"""The feed-forward half of a block: each token is widened, bent by a non-linearity, and narrowed again, alone.

GELU (gpt2):            down(gelu(up(x)))               Hendrycks & Gimpel 2016, GPT-2's tanh form
SwiGLU (llama, qwen3):  down(silu(gate(x)) · up(x))     Shazeer 2020: one branch opens and closes the other
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vidro.config.schema import ModelConfig
from vidro.core.shapes import Float
from vidro.model.init import Linear


class FeedForward(nn.Module):
    """Width D → F → D, token by token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias = config.family == "gpt2"
        self.gate = None if bias else Linear(config.d_model, config.d_ff, bias=False)
        self.up = Linear(config.d_model, config.d_ff, bias=bias)
        self.down = Linear(config.d_ff, config.d_model, bias=bias)
        self.gate_up: nn.Module | None = None  # one product in place of the two: only in int8 (`quantized`)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """What this block adds to the residual."""
        if self.gate_up is not None:
            gate, up = self.gate_up(x)
        elif self.gate is not None:
            gate, up = self.gate(x), self.up(x)
        else:
            return self.down(F.gelu(self.up(x), approximate="tanh"))
        return self.down(F.silu(gate) * up)
