"""How fast a model as large as GPT-2 reads and writes with int8 matrices, beside fp32.

Random weights of GPT-2's 124M: the arithmetic does not care. Each round every contestant reads a prompt of 64 tokens
and writes some tokens behind it, one text at a time.

    python benchmarks/int8.py --threads 1 2
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from common import interleave, machine_line, ratio, report, table
from vidro.config.schema import ModelConfig
from vidro.infer.decode import prefill, step
from vidro.model.cache import KVCache
from vidro.model.quantized import matrix_bytes, quantize_int8
from vidro.model.transformer import Transformer

GPT2 = ModelConfig(
    family="gpt2", vocab_size=50257, context_length=1024, d_model=768, n_layers=12, n_heads=12, n_kv_heads=12,
    d_head=64, d_ff=3072, tie_embeddings=True,
)  # fmt: skip
PROMPT = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=12, help="written in each round")
    parser.add_argument("--json", type=Path, help="write the raw figures here")
    arguments = parser.parse_args()
    fp32 = Transformer(GPT2).eval()
    before = matrix_bytes(fp32)
    int8 = quantize_int8(copy.deepcopy(fp32))
    sizes = f"In memory: {before / 1e6:.0f} → {matrix_bytes(int8) / 1e6:.0f} MB."
    lines = [machine_line(max(arguments.threads)), "", sizes, ""]
    found: dict[str, dict[str, list[float]]] = {}
    rows = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        contestants: dict[str, Callable[[], float]] = {}
        for name, model in (("fp32", fp32), ("int8", int8)):
            contestants[f"{name}, reading"] = reading(model)
            contestants[f"{name}, writing"] = writing(model, arguments.tokens)
        speeds = interleave(contestants, rounds=arguments.rounds)
        found[str(threads)] = speeds
        for what in ("writing", "reading"):
            ours, plain = speeds[f"int8, {what}"], speeds[f"fp32, {what}"]
            medians = (f"{statistics.median(each):.1f}" for each in (plain, ours))
            rows.append([f"{what}, {threads} threads", *medians, f"{ratio(ours, plain):.2f}"])
    lines.append(table(["tokens/s", "fp32", "int8", "int8 / fp32"], rows))
    report("int8", lines, data=found, json_path=arguments.json)


def reading(model: Transformer) -> Callable[[], float]:
    """Measures prompt tokens a second; called once before, to warm up."""

    def measure() -> float:
        cache = KVCache(GPT2, 1, 256, torch.device("cpu"), torch.float32, fixed=False)
        started = time.perf_counter()
        prefill(model, cache, range(1, PROMPT + 1))
        return PROMPT / (time.perf_counter() - started)

    measure()
    return measure


def writing(model: Transformer, n_tokens: int) -> Callable[[], float]:
    """Measures tokens a second behind the prompt; which tokens does not matter."""

    def measure() -> float:
        cache = KVCache(GPT2, 1, 256, torch.device("cpu"), torch.float32, fixed=False)
        prefill(model, cache, range(1, PROMPT + 1))
        started = time.perf_counter()
        for token in range(n_tokens):
            step(model, cache, [token], [True])
        return n_tokens / (time.perf_counter() - started)

    measure()
    return measure


if __name__ == "__main__":
    main()
