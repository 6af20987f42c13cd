"""How fast a model as large as GPT-2 reads and writes with int8 matrices, beside fp32 and llama.cpp's Q8_0.

Random weights of GPT-2's 124M, the same for all: the arithmetic does not care. Each round every contestant reads a
prompt of 64 tokens up to the logits of the next, and writes some tokens behind it, one text at a time, always the most
probable. llama.cpp (`xllamacpp`, extra `gguf`) reads the weights from the file that an export writes.

On a machine that does other work, seconds on the clock measure that work. ``--clock cpu`` counts the seconds that a
processor spent on this process, which for one thread are the same on a quiet machine.

    python benchmarks/int8.py --threads 1 2
    python benchmarks/int8.py --clock cpu
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from common import interleave, machine_line, ratio, report, table
from vidro.config.presets import PRESETS
from vidro.infer.decode import prefill, step
from vidro.model.cache import KVCache
from vidro.model.quantized import matrix_bytes, quantize_int8
from vidro.model.transformer import Transformer

GPT2 = PRESETS["gpt2"]
PROMPT = list(range(1, 65))
CAPACITY = 256
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Clock = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: of this process; one thread only")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=12, help="written in each round")
    parser.add_argument("--json", type=Path, help="write the raw figures here")
    arguments = parser.parse_args()
    if arguments.clock == "cpu" and arguments.threads != [1]:
        parser.error("--clock cpu adds the threads up: it is for --threads 1")
    fp32 = Transformer(GPT2).eval()
    before = matrix_bytes(fp32)
    int8 = quantize_int8(copy.deepcopy(fp32))
    sizes = f"In memory: {before / 1e6:.0f} → {matrix_bytes(int8) / 1e6:.0f} MB."
    lines = [machine_line(max(arguments.threads)), "", f"{sizes} Clock: {arguments.clock}.", ""]
    found, rows = {}, []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gpt2.gguf"
        if find_spec("xllamacpp") is None:
            lines += ["llama.cpp is not here: pip install 'vidro[gguf]'", ""]
        else:
            write_q8(file, fp32)
        for threads in arguments.threads:
            speeds = measure(fp32, int8, file, threads, arguments)
            found[str(threads)] = speeds
            rows += compared(speeds, threads)
    heads = ["tokens/s, median (quarters)", "fp32", "int8", "llama.cpp Q8_0", "int8 / fp32", "int8 / llama.cpp"]
    lines.append(table(heads, rows))
    report("int8", lines, data=found, json_path=arguments.json)


def measure(
    fp32: Transformer, int8: Transformer, file: Path, threads: int, arguments: argparse.Namespace
) -> dict[str, list[float]]:
    """Tokens a second of each contestant in each round; llama.cpp is one of them where `file` is there."""
    torch.set_num_threads(threads)
    clock, n_tokens = CLOCKS[arguments.clock], arguments.tokens
    contestants: dict[str, Callable[[], float]] = {}
    for name, model in (("fp32", fp32), ("int8", int8)):
        contestants[f"{name} reading"] = partial(reading, model, clock)
        contestants[f"{name} writing"] = partial(writing, model, cache_behind_prompt(model), clock, n_tokens)
    if file.exists():
        ask = llama(file, threads)
        contestants["llama.cpp reading"] = partial(llama_reading, ask, clock)
        contestants["llama.cpp writing"] = partial(llama_writing, ask, clock, n_tokens)
    for contestant in contestants.values():
        contestant()  # memory is taken, kernels chosen
    return interleave(contestants, rounds=arguments.rounds)


def compared(speeds: dict[str, list[float]], threads: int) -> list[list[str]]:
    """Two rows of the table."""
    rows = []
    for what in ("writing", "reading"):
        ours = speeds[f"int8 {what}"]
        peers = [speeds.get(f"{peer} {what}") for peer in ("fp32", "llama.cpp")]
        cells = [spread(each) for each in (peers[0], ours, peers[1])]
        ratios = ["" if peer is None else f"{ratio(ours, peer):.2f}" for peer in peers]
        rows.append([f"{what}, {threads} thread{'s' * (threads > 1)}", *cells, *ratios])
    return rows


def spread(values: list[float] | None) -> str:
    """The median, and between which two numbers half of all lie.

    >>> spread([1.0, 2.0, 3.0, 4.0, 5.0])
    '3.0 (1.5-4.5)'
    """
    if values is None:
        return ""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{middle:.1f} ({low:.1f}-{high:.1f})"


def reading(model: Transformer, clock: Clock) -> float:
    """Tokens a second, up to the logits behind the prompt."""
    started = clock()
    cache = cache_behind_prompt(model)
    step(model, cache, PROMPT[-1:], [True])
    return len(PROMPT) / (clock() - started)


def writing(model: Transformer, cache: KVCache, clock: Clock, n_tokens: int) -> float:
    """Tokens a second behind the prompt, whose last token is still to be read."""
    cache.truncate(0, len(PROMPT) - 1)
    started, token = clock(), PROMPT[-1]
    for _ in range(n_tokens):
        token = int(step(model, cache, [token], [True]).argmax())
    return n_tokens / (clock() - started)


def cache_behind_prompt(model: Transformer) -> KVCache:
    """What the model keeps of the prompt but its last token."""
    cache = KVCache(GPT2, 1, CAPACITY, torch.device("cpu"), torch.float32, fixed=False)
    prefill(model, cache, PROMPT[:-1])
    return cache


def write_q8(file: Path, model: Transformer) -> None:
    """The model as an export writes it; the tokens' names do not matter here."""
    from vidro.checkpoint.gguf.vocabulary import vocabulary
    from vidro.checkpoint.gguf.write import write_gguf
    from vidro.checkpoint.weights import Lazy
    from vidro.text.train import build_bytes

    state = Lazy({name: partial(torch.Tensor.detach, each) for name, each in model.state_dict().items()})
    write_gguf(file, GPT2, state, vocabulary(build_bytes(), GPT2.vocab_size), "q8_0", "gpt2")


def llama(file: Path, threads: int) -> Callable[..., dict[str, Any]]:
    """A function that asks llama.cpp, in this process, with its own settings but for the threads; returns its times."""
    xllamacpp: Any = import_module("xllamacpp")  # it has types for only a part of itself
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.n_parallel = str(file), CAPACITY, 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.n_gpu_layers, settings.verbosity = 0, 0
    server = xllamacpp.Server(settings)

    def ask(n_tokens: int, *, again: bool) -> dict[str, Any]:
        reply = server.handle_completions(
            {
                "prompt": PROMPT, "n_predict": n_tokens, "cache_prompt": again, "ignore_eos": True,
                "samplers": ["top_k"], "top_k": 1,
            }
        )  # fmt: skip
        times = reply["timings"]
        assert (times["prompt_n"], times["predicted_n"]) == (1 if again else len(PROMPT), n_tokens), reply
        return times

    return ask


def llama_reading(ask: Callable[..., dict[str, Any]], clock: Clock) -> float:
    """Tokens a second, up to the first token; on the clock as llama.cpp tells it, without asking and answering."""
    started = clock()
    times = ask(1, again=False)
    return len(PROMPT) / (times["prompt_ms"] / 1000 if clock is CLOCKS["wall"] else clock() - started)


def llama_writing(ask: Callable[..., dict[str, Any]], clock: Clock, n_tokens: int) -> float:
    """Tokens a second behind the prompt, which the server still knows, but for its last token."""
    started = clock()
    times = ask(n_tokens, again=True)
    spent_s = (times["prompt_ms"] + times["predicted_ms"]) / 1000
    return n_tokens / (spent_s if clock is CLOCKS["wall"] else clock() - started)


if __name__ == "__main__":
    main()
