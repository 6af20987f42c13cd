"""How close do N processes of Vidro come to N independent processes that only encode?

The peer: each process is given its own share of the documents as a file of its own, evenly dealt, and does nothing but
unpack, parse and call the quickest encoder (tiktoken, the same ids); it writes nothing and waits for nobody. Ours:
`tokenize_files` on the one original file: reading, splitting off validation documents, encoding in N processes,
checksums, shards on the disk. Both start their processes inside the measured time, and both get the same text
`--copies` times. A second row has ours on several files, where each process takes whole files.

    python benchmarks/tokenize_novels.py english-novels.jsonl.gz
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from common import interleave, machine_line, ratio, report, run, table
from vidro.data.documents import Reading, ReadReport, read_documents
from vidro.data.sources import find_inputs
from vidro.data.split import hash_rule, utf8_length
from vidro.data.tokenizing import tokenize_files
from vidro.text.foreign import load_any
from vidro.text.patterns import known_pattern
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import train_bpe

PEER, ONE_FILE, MANY_FILES = "independent encoders", "vidro, one file", "vidro, several files"
FILES_PER_PROCESS = 4
TRAINED_ON_BYTES = 20_000_000


def main() -> None:
    options = arguments()
    if options.contestant is not None:
        measure(options.contestant, options.work, options.processes)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("text", type=Path, nargs="?", help="a file of many documents, such as english-novels.jsonl.gz")
    parser.add_argument("--tokenizer", help="default: a BPE of 4,096 tokens, trained on the text before measuring")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--copies", type=int, default=3, help="how often each contestant gets the text (default 3)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.text is None and options.contestant is None:
        parser.error("the text is missing")
    return options


def compare(options: argparse.Namespace, work: Path) -> None:
    """Deal the text out, then let the contestants take turns, each in a process of its own."""
    n_bytes = deal(options, work)
    names = (PEER, ONE_FILE, MANY_FILES)
    others: dict[str, dict[str, list[float]]] = {key: {name: [] for name in names} for key in ("cpu_s", "peak_bytes")}

    def turn(name: str) -> float:
        command = [sys.executable, __file__, "--contestant", name, "--work", work, "--processes", options.processes]
        found = json.loads(run([str(part) for part in command], threads=1).stdout.splitlines()[-1])
        for key, values in others.items():
            values[name].append(found[key])
        return found["seconds"]

    seconds = interleave({name: lambda name=name: turn(name) for name in names}, rounds=options.rounds)
    rows = [
        [
            name,
            f"{statistics.median(seconds[name]):.2f}",
            f"{n_bytes / statistics.median(seconds[name]) / 1e6:.1f}",
            f"{1 / ratio(seconds[name], seconds[PEER]):.3f}",
            f"{statistics.median(others['cpu_s'][name]):.2f}",
            f"{statistics.median(others['peak_bytes'][name]) / 1e6:.0f}",
        ]
        for name in names
    ]
    lines = [
        machine_line(1),
        "",
        f"{n_bytes / 1e6:.1f} MB of text ({options.copies} × {options.text.name}), {options.processes} processes, "
        f"{options.rounds} rounds, medians.",
        "",
        table(["", "s", "MB/s", "share of the encoders' speed", "CPU s", "peak MB, all processes"], rows),
    ]
    data = {"seconds": seconds, **{key: dict(values) for key, values in others.items()}, "n_bytes": n_bytes}
    report("Tokenizing", lines, data=data, json_path=options.json)


def deal(options: argparse.Namespace, work: Path) -> int:
    """Write what each contestant reads, and the tokenizer; returns the bytes of text that each has to encode."""
    documents = list(read_documents(options.text))
    make_tokenizer(options, [document.text for document in documents]).save(work / "tokenizer")
    sizes = [utf8_length(document.text) for document in documents]
    lines = [json.dumps({"id": document.id, "text": document.text}, ensure_ascii=False) for document in documents]
    many = FILES_PER_PROCESS * options.processes
    for kind, n_files in ((PEER, options.processes), (ONE_FILE, 1), (MANY_FILES, many)):
        shares: list[list[int]] = [[] for _ in range(n_files)]
        filled = [0] * n_files
        for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
            share = filled.index(min(filled))  # the largest document first, always to the emptiest share
            shares[share].append(number)
            filled[share] += sizes[number]
        for index, share in enumerate(shares):
            packed = gzip.compress("".join(f"{lines[number]}\n" for number in sorted(share)).encode(), 6)
            for copy in range(options.copies):
                path = work / kind / f"{copy}-{index}.jsonl.gz"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(packed)
    return options.copies * sum(sizes)


def make_tokenizer(options: argparse.Namespace, texts: list[str]) -> Tokenizer:
    if options.tokenizer is not None:
        return load_any(options.tokenizer)
    return train_bpe(texts, 4096, sample_bytes=TRAINED_ON_BYTES)


def measure(name: str, work: Path, processes: int) -> None:
    """One contestant, once: prints wall-clock and CPU seconds and the peak memory of all its processes together."""
    tokenizer = Tokenizer.load(work / "tokenizer")
    inputs = find_inputs(work / name, report=ReadReport())
    with tempfile.TemporaryDirectory(dir=work) as out, watched_memory() as peak:
        started, cpu_before = time.perf_counter(), cpu_seconds()
        if name == PEER:
            encode_independently([item.path for item in inputs], tokenizer, processes)
        else:
            tokenize_files(inputs, Path(out), tokenizer, rule=hash_rule(), reading=Reading(), processes=processes)
        seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu_before
    print(json.dumps({"seconds": seconds, "cpu_s": cpu, "peak_bytes": max(peak)}))


def cpu_seconds() -> float:
    """CPU time of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


@contextlib.contextmanager
def watched_memory() -> Iterator[list[int]]:
    """Collects, four times a second, the resident memory of this process and its children together."""
    ended, seen, me = threading.Event(), [0], psutil.Process()

    def look() -> None:
        while not ended.wait(0.25):
            with contextlib.suppress(psutil.NoSuchProcess):
                seen.append(sum(each.memory_info().rss for each in [me, *me.children(recursive=True)]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def encode_independently(files: list[Path], tokenizer: Tokenizer, processes: int) -> None:
    spec = json.loads(tokenizer.to_json())
    pattern = known_pattern(spec["pre_tokenizer"])
    special = set(tokenizer.special_ids.values())
    ranks = {tokenizer.token_bytes(number): number for number in range(tokenizer.vocab_size) if number not in special}
    context = multiprocessing.get_context("spawn")
    shares = [[path for path in files if path.name.endswith(f"-{n}.jsonl.gz")] for n in range(processes)]
    workers = [context.Process(target=encode_all, args=(share, ranks, pattern)) for share in shares]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode != 0:
            raise SystemExit("an encoder failed")


def encode_all(paths: list[Path], ranks: dict[bytes, int], pattern: str) -> None:
    """An independent encoder: unpack, parse, encode, forget."""
    import tiktoken

    # Without any special token tiktoken looks for the empty name at every character.
    never = {"\0never\0": max(ranks.values()) + 1}
    encoder = tiktoken.Encoding("raw", pat_str=pattern, mergeable_ranks=ranks, special_tokens=never)
    for path in paths:
        with gzip.open(path) as lines:
            for line in lines:
                encoder.encode_to_numpy(json.loads(line)["text"], disallowed_special=())


if __name__ == "__main__":
    main()
