"""Exercise for shards: token files that are whole or not there, windows from the middle, an order without a list."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.shards import write_documents

STUB = '''\
"""Exercise shards: texts larger than memory. Check it with: vidro learn check shards FILE"""


def make(source, folder, encode, end):
    """Tokens of a file of documents (gzip; a line is JSON with a field "text"), written into `folder`.

    SOURCENAME.tokens: encode(text) of each document and then the id `end`; two bytes an id, the low byte first.
    SOURCENAME.ends: after each document the number of tokens so far; eight bytes each, the low byte first.
    False, and nothing is encoded, if both are there, whole, and made from these bytes of `source`; else True.
    You may keep further files beside them. source and folder are pathlib.Path.
    """
    raise NotImplementedError


def window(paths, start, length):
    """A list of `length` ids from number `start` on; the token files `paths` count as one long row.

    Nothing but these is to be read: think of files larger than memory.
    """
    raise NotImplementedError


def shuffled(i, n, seed, epoch):
    """The block (0 to n - 1) at place `i` of a random order of n blocks. Keep no list: n may be 10 ** 12."""
    raise NotImplementedError
'''

TEXTS = ["a cat", "two dogs", "ö", "no"]
END = 700


def encode(text: str) -> list[int]:
    """Ids of which some do not fit into one byte."""
    return [3 * ord(letter) for letter in text]


def ids_of(texts: list[str]) -> list[int]:
    """What the token file of these documents holds."""
    return [number for text in texts for number in [*encode(text), END]]


@dataclass
class Bench:
    """A folder with one file of documents, and the reader's `make` on it."""

    source: Path
    folder: Path
    call: Callable[..., object]

    def make(self, encoder: Callable[[str], list[int]] = encode) -> object:
        """Call it; what it gives."""
        return self.call(self.source, self.folder, encoder, END)

    def read(self, kind: str) -> bytes:
        """The bytes of one of its files; none if it is not there."""
        path = self.folder / f"{self.source.name}.{kind}"
        return path.read_bytes() if path.exists() else b""


@contextlib.contextmanager
def bench(solution: Solution, texts: list[str] = TEXTS) -> Iterator[Bench]:
    """One for the time of a step."""
    with tempfile.TemporaryDirectory() as name:
        source, folder = Path(name) / "some.jsonl.gz", Path(name) / "tokens"
        folder.mkdir()
        write_documents(source, texts, "some")
        yield Bench(source, folder, solution.get("make"))


def tokens_are_written(solution: Solution) -> None:
    """The bytes of all ids."""
    with bench(solution) as here:
        here.make()
        found = here.read("tokens")
    wanted = ids_of(TEXTS)
    if not found:
        raise Wrong("there is no file some.jsonl.gz.tokens, or nothing is in it")
    for size in (1, 4, 8):
        if len(found) == size * len(wanted):
            raise Wrong("each id takes two bytes", found=size, hint='numpy.array(ids, dtype="<u2").tobytes()')
    if found == np.array(wanted, dtype=">u2").tobytes():
        raise Wrong("the high byte stands first", hint='In numpy the low byte first is written "<u2".')
    if len(found) % 2:
        raise Wrong("the file has an odd number of bytes", found=len(found))
    read = np.frombuffer(found, dtype="<u2").tolist()
    if read == [number for number in wanted if number != END]:
        raise Wrong("the end of a document is not to be seen", hint="After each document stands the id `end`.")
    if read != wanted:
        raise Wrong("the ids in the file are not those of the documents", found=read[:12], expected=wanted[:12])


def ends_are_written(solution: Solution) -> None:
    """Where each document ends."""
    with bench(solution) as here:
        here.make()
        found = here.read("ends")
    lengths = [len(text) + 1 for text in TEXTS]
    wanted = np.cumsum(lengths).tolist()
    if len(found) != 8 * len(wanted):
        raise Wrong("eight bytes for each document are expected in .ends", found=len(found), expected=8 * len(wanted))
    read = np.frombuffer(found, dtype="<u8").tolist()
    known = {
        "these are lengths, not places: add up": lengths,
        "these are the places where documents begin": [0, *wanted[:-1]],
        "the id `end` belongs to its document": [place - number - 1 for number, place in enumerate(wanted)],
    }
    for what, places in known.items():
        if read == places:
            raise Wrong(what, found=read, expected=wanted)
    if read != wanted:
        raise Wrong("the places are others", found=read, expected=wanted)


def what_is_there_is_left_alone(solution: Solution) -> None:
    """The second call encodes nothing."""
    calls = 0

    def counting(text: str) -> list[int]:
        nonlocal calls
        calls += 1
        return encode(text)

    with bench(solution) as here:
        if (first := here.make(counting)) is not True:
            raise Wrong("make gives True when it has made a shard", found=first)
        made, calls = calls, 0
        second = here.make(counting)
        if calls:
            raise Wrong("the shard was there, and its documents were encoded again", found=f"{calls} of {made}")
        if second is not False:
            raise Wrong("make gives False when the shard was there", found=second)
        write_documents(here.source, TEXTS[::-1], "other")
        here.make(counting)
        if here.read("tokens") != np.array(ids_of(TEXTS[::-1]), dtype="<u2").tobytes():
            raise Wrong("the documents had changed, and their old tokens are still there",
                        hint="Write down of which bytes the tokens were made: a checksum.")  # fmt: skip


class Stopped(Exception):
    """The machine was switched off."""


def stops_after(n: int) -> Callable[[str], list[int]]:
    """An encoder that fails after `n` documents."""
    left = iter(range(n))

    def encoder(text: str) -> list[int]:
        if next(left, None) is None:
            raise Stopped
        return encode(text)

    return encoder


def half_a_shard_is_none(solution: Solution) -> None:
    """Whatever a call that was stopped left behind, of these documents or of others."""
    more = [f"{text} more" for text in TEXTS * 400]
    for made_before in (False, True):
        with bench(solution, more) as here:
            old = here.source.read_bytes()
            if made_before:
                here.make()
                write_documents(here.source, more[::-1], "other")
            with contextlib.suppress(Stopped):
                here.make(stops_after(1_000))
            if made_before:
                here.source.write_bytes(old)
            here.make()
            if here.read("tokens") != np.array(ids_of(more), dtype="<u2").tobytes():
                what = "it was stopped half-way, and the next call takes what is there for a whole shard"
                if made_before:
                    what = "an old shard was half written over, and what says that it is whole is still there"
                raise Wrong(what, hint="What says that a shard is whole is taken away first and written last.")


@contextlib.contextmanager
def token_files(rows: list[list[int]]) -> Iterator[list[Path]]:
    """Files with these ids."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.tokens" for number in range(len(rows))]
        for path, ids in zip(paths, rows, strict=True):
            path.write_bytes(np.array(ids, dtype="<u2").tobytes())
        yield paths


def windows_are_read(solution: Solution) -> None:
    """Inside one file, across two, across a short one."""
    ids = [(7 * place) % 60_000 + 300 for place in range(40)]
    with token_files([ids[:20], ids[20:23], ids[23:]]) as paths:
        for start, length in ((0, 5), (6, 4), (17, 3), (20, 3), (30, 10), (18, 4), (19, 6), (0, 40)):
            found = list(solution.get("window")(paths, start, length))
            wanted = ids[start : start + length]
            if found == wanted:
                continue
            if start and found == ids[start // 2 : start // 2 + length]:
                raise Wrong("the window begins at byte number `start`", hint="Token k begins at byte 2·k.")
            if wanted[: len(found)] == found:
                raise Wrong(f"start {start}, length {length}: the window ends too early", found=len(found),
                            expected=length, hint="It goes on in the next file.")  # fmt: skip
            raise Wrong(f"start {start}, length {length}: other ids", found=found, expected=wanted)


def nothing_else_is_read(solution: Solution) -> None:
    """Measured by the memory that is taken on the way."""
    with token_files([list(range(50_000)) * 10]) as paths:
        window = solution.get("window")
        window(paths, 1, 8)  # what is imported on the first call does not count
        taken, _ = memory_of(lambda: window(paths, 250_000, 8))
        if taken > 200_000:
            raise Wrong("for 8 ids the whole file was read", found=f"{taken:,} bytes", expected="16",
                        hint="numpy.memmap, or seek.")  # fmt: skip


def memory_of(call: Callable[[], object]) -> tuple[int, object]:
    """The most bytes that Python and numpy held at once during a call, and what it gave."""
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        answer = call()
        return tracemalloc.get_traced_memory()[1] - before, answer
    finally:
        if not running:
            tracemalloc.stop()


def order_of(solution: Solution, n: int, seed: int = 0, epoch: int = 0) -> list[int]:
    """The reader's order of n blocks."""
    return [int(solution.get("shuffled")(i, n, seed, epoch)) for i in range(n)]


def each_block_comes_once(solution: Solution) -> None:
    """Numbers of blocks of all sorts; first such as two halves of bits fill, where nothing need go through again.

    What cannot be undone is found there; with other numbers it might go round for ever.
    """
    for n in (64, 16, 1, 2, 3, 7, 8, 9, 17, 100):
        found = order_of(solution, n)
        if outside := [block for block in found if not 0 <= block < n]:
            raise Wrong(f"of {n} blocks one outside them is read", found=outside[0],
                        hint="Send it through again until it is below n.")  # fmt: skip
        block, times = Counter(found).most_common(1)[0]
        if times > 1:
            raise Wrong(f"of {n} blocks, block {block} is read {times} times and another never",
                        hint="Each step of the function must be one that can be undone.")  # fmt: skip


def the_order_is_random(solution: Solution) -> None:
    """Another for each seed and epoch, the same for the same; neighbours do not stay together."""
    n = 100
    first = order_of(solution, n)
    if first != order_of(solution, n):
        raise Wrong("the same seed and epoch give another order the second time")
    for what, other in (("seed", order_of(solution, n, seed=1)), ("epoch", order_of(solution, n, epoch=1))):
        if other == first:
            raise Wrong(f"another {what} gives the same order")
        if len({(a - b) % n for a, b in zip(first, other, strict=True)}) == 1:
            raise Wrong(f"another {what} gives the same order, only moved on")
    steps = Counter((b - a) % n for a, b in itertools.pairwise(first))
    step, times = steps.most_common(1)[0]
    if times > n // 4:
        raise Wrong(f"the order can be seen through: {times} of 99 times the next block is {step} further on",
                    hint="More rounds, or a scrambling in which every bit counts.")  # fmt: skip


def no_list_is_kept(solution: Solution) -> None:
    """A large n takes no memory; a huge one no time."""
    n = 50_000
    taken, _ = memory_of(lambda: [solution.get("shuffled")(i, n, 0, 0) for i in (0, 1)])
    if taken > n:
        raise Wrong(
            f"for {n:,} blocks a list is kept", found=f"{taken:,} bytes", hint="Compute the place from i alone."
        )
    n = 10**12
    found = [int(solution.get("shuffled")(i, n, 0, 0)) for i in range(100)]
    if len(set(found)) < 100 or not all(0 <= block < n for block in found):
        raise Wrong("of 10 ** 12 blocks, the first hundred are not a hundred blocks")
    if max(found) < n // 2:
        raise Wrong("of 10 ** 12 blocks, the first hundred are all of the first half", found=max(found))


EXERCISE = Exercise(
    "shards",
    STUB,
    (
        Step("a file of documents becomes a file of tokens", tokens_are_written),
        Step("where documents end stands beside it", ends_are_written),
        Step("what is there is left alone, unless the documents changed", what_is_there_is_left_alone),
        Step("half a shard is never taken for a whole one", half_a_shard_is_none),
        Step("a window is read from any place, also across files", windows_are_read),
        Step("nothing but the window is read", nothing_else_is_read),
        Step("in an order each block comes once", each_block_comes_once),
        Step("the order is random, and that of the seed and the epoch", the_order_is_random),
        Step("the order needs no list", no_list_is_kept),
    ),
    solution="vidro.learn.shards",
)
