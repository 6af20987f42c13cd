"""How large a model is, from its settings alone: parameters, memory, work per token.

Not here: what a machine manages per second (`vidro.train.machine`).
"""

from __future__ import annotations

from dataclasses import dataclass

from vidro.config.schema import ModelConfig


@dataclass(frozen=True)
class Counts:
    """Sizes of one model. A matrix that is used twice (a tied head) is one parameter but multiplies once."""

    n_parameters: int
    """Numbers that are learned."""

    n_embedding: int
    """Of these: looked up, not multiplied (tokens, and gpt2's positions)."""

    n_matmul: int
    """Weights that every token is multiplied with: all matrices, the head included (also a tied one)."""

    bytes_fp32: int
    """Memory of the parameters in fp32."""

    flops_per_token_train: float
    """Forward and backward pass of one token in a full context: 6 per multiplying weight, and attention's scores."""

    kv_bytes_per_token: int
    """What the cache keeps of one token, in fp32."""


def count(config: ModelConfig) -> Counts:
    """Count a model's parameters, bytes and work.

    FLOPs: 6 × multiplying weights + 12 · L · d · T with d = heads × head width (Kaplan et al. 2020, appendix B of
    Chowdhery et al. 2022); a causal kernel may skip up to half of the second term.
    """
    d, f = config.d_model, config.d_ff
    queries, keys = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    gpt2 = config.family == "gpt2"
    attention = d * queries + 2 * d * keys + queries * d
    feedforward = (2 if gpt2 else 3) * d * f
    biases = queries + 2 * keys + d + f + d if gpt2 else 0
    norms = 2 * (2 * d if gpt2 else d) + (2 * config.d_head if config.family == "qwen3" else 0)
    embedding = config.vocab_size * d + (config.context_length * d if gpt2 else 0)
    head = (len(config.labels) or config.vocab_size) * d
    layers = config.n_layers * (attention + feedforward + biases + norms)
    parameters = embedding + layers + (2 * d if gpt2 else d) + (0 if config.tie_embeddings else head)
    multiplying = config.n_layers * (attention + feedforward) + head
    return Counts(
        n_parameters=parameters,
        n_embedding=embedding,
        n_matmul=multiplying,
        bytes_fp32=4 * parameters,
        flops_per_token_train=6.0 * multiplying + 12.0 * config.n_layers * queries * config.context_length,
        kv_bytes_per_token=4 * 2 * config.n_layers * keys,
    )
