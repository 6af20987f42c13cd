"""Files to token shards, with any number of processes and machines.

The unit that counts is a pure function, one input file → one shard, which does nothing when the shard is there and
fits. So a run that was stopped is simply started again, and machines share the work by ``shard=(i, n)``: every n-th
file from the i-th on. With several processes either each takes whole files, or, when there are few files, one process
reads and all encode. Read before: `documents`, `split`, `shards`.
"""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vidro.core.errors import DataError, TokenizerError, UsageError
from vidro.core.files import read_json, sha256_file
from vidro.data.documents import Reading, read_units, unit_documents
from vidro.data.jsonl import LineChunk
from vidro.data.processes import in_order, process_pool
from vidro.data.report import Progress, ReadReport
from vidro.data.shard_files import ShardWriter, check_sizes, check_tokenizer, manifest_path, read_manifest, token_dtype
from vidro.data.sources import InputFile
from vidro.data.split import SplitRule, utf8_length
from vidro.text.tokenizer import Tokenizer

BATCH_CHARS = 1 << 20
WORTH_A_PROCESS_BYTES = 4_000_000  # less is encoded before other processes have started
_AHEAD = 2
_FILES_PER_PROCESS = 4

Array = np.ndarray[Any, np.dtype[Any]]
Texts = list[tuple[str, str]]  # (side, text)


@dataclass(frozen=True)
class Recipe:
    """What decides a shard's content beside its input file."""

    rule: SplitRule
    reading: Reading
    tokenizer_folder: str
    fingerprint: str
    eot_id: int
    vocab_size: int

    def facts(self) -> dict[str, Any]:
        """The part of the manifest that says how the tokens were made."""
        return {
            "tokenizer": self.fingerprint,
            "vocab_size": self.vocab_size,
            "eot_id": self.eot_id,
            "split": self.rule.to_dict(),
            "reading": {"encoding": self.reading.encoding, "skip_bad": self.reading.skip_bad},
        }


@dataclass
class Encoded:
    """What one piece of work became: (side, tokens, document ends, bytes of text) for each side that has any.

    `report` is what was read on the way: nothing for texts, which were read before.
    """

    sides: list[tuple[str, Array, Array, int]]
    report: ReadReport


Encoder = Callable[[Iterator[LineChunk | Texts]], Iterable[Encoded]]


@dataclass
class Tokenized:
    """The shards of some files: their stems in order, how many were made and how many were there already."""

    stems: list[Path] = field(default_factory=list)
    n_made: int = 0
    n_kept: int = 0
    report: ReadReport = field(default_factory=ReadReport)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One input file and the stem of its shard."""

    item: InputFile
    stem: Path


def tokenize_files(
    files: Sequence[InputFile],
    out_dir: Path,
    tokenizer: Tokenizer,
    *,
    rule: SplitRule,
    reading: Reading = Reading(),  # noqa: B008 (frozen)
    processes: int = 1,
    shard: tuple[int, int] = (0, 1),
    progress: Progress | None = None,
) -> Tokenized:
    """Make the shard of every `shard[1]`-th file from file `shard[0]` on (counted from 0), where it is not there yet.

    At most `processes` work at once, fewer where the files are so small that more would only cost time.
    Raises DataError for a file that cannot be read and for shards in `out_dir` made by another tokenizer or split,
    UsageError for an impossible `shard` or number of processes.
    """
    check_numbers(processes, shard)
    result = Tokenized()
    jobs = [Job(item, out_dir / name) for item, name in zip(files, unique_names(files), strict=True)]
    result.stems = [job.stem for job in jobs]
    with tempfile.TemporaryDirectory(prefix="vidro-") as folder:
        tokenizer.save(Path(folder))
        recipe = Recipe(rule, reading, folder, tokenizer.fingerprint, tokenizer.eot_id, tokenizer.vocab_size)
        missing = [job for job in jobs[shard[0] :: shard[1]] if not _is_there(job, recipe, result)]
        done_bytes = 0
        for step in _make(missing, recipe, tokenizer, processes):
            result.n_made += step.finished
            result.report.merge(step.report)
            done_bytes += step.n_text_bytes
            if progress is not None:
                progress(done_bytes, None)
    return result


def unique_names(files: Sequence[InputFile]) -> list[str]:
    """A relative name for each file's shard: its own name, numbered where two are called the same."""
    counts = Counter(item.name for item in files)
    return [item.name if counts[item.name] == 1 else f"{n:05d}-{item.name}" for n, item in enumerate(files)]


def check_numbers(processes: int, shard: tuple[int, int]) -> None:
    """Raise UsageError for numbers of processes and shards that cannot be."""
    if processes < 1:
        raise UsageError(f"{processes} is not possible", where="processes", hint="It must be at least 1.")
    if not 0 <= shard[0] < shard[1]:
        raise UsageError(f"{shard[0]}/{shard[1]} is not possible", where="shard", hint="Shards are 0/4, 1/4, 2/4, 3/4.")


def _is_there(job: Job, recipe: Recipe, result: Tokenized) -> bool:
    """Whether the job's shard exists, is whole and was made from this very file; says so when it was not.

    Raises DataError when it was made by another tokenizer, split or way of reading.
    """
    path = manifest_path(job.stem)
    if not path.exists():
        return False
    try:
        record = read_json(path, error=DataError)
    except DataError:
        record = None
    if not isinstance(record, dict) or "sides" not in record:
        result.notes.append(f"{job.item.name}: the record of its tokens was damaged; they were made again.")
        return False
    manifest = read_manifest(path)
    check_tokenizer(manifest, recipe.fingerprint, where=path)
    for name, wanted in recipe.facts().items():
        if manifest.get(name) != wanted:
            hint = "Choose another folder, or remove this one."
            raise DataError(f"these tokens were made with another setting of {name}", where=path, hint=hint)
    if manifest.get("source", {}).get("sha256") != _sha256(job.item):
        result.notes.append(f"{job.item.name} has changed since its tokens were made; they were made again.")
        return False
    try:
        check_sizes(job.stem, manifest)
    except DataError as problem:
        result.notes.append(f"{job.item.name}: {problem.what}; they were made again.")
        return False
    result.n_kept += 1
    return True


def _sha256(item: InputFile) -> str:
    return item.sha256 or sha256_file(item.path)


# One file → one shard


@dataclass(frozen=True)
class Step:
    """One step of making shards: bytes of text encoded, what reading reported, and whether a shard was finished."""

    n_text_bytes: int
    report: ReadReport
    finished: bool = False


def _make(jobs: Sequence[Job], recipe: Recipe, tokenizer: Tokenizer, processes: int) -> Iterator[Step]:
    """All the jobs, in any number of processes."""
    sizes = [job.item.path.stat().st_size for job in jobs]
    if processes == 1 or sum(sizes) < WORTH_A_PROCESS_BYTES:
        for job in jobs:
            yield from tokenize_file(job, recipe, _encoder_here(job, recipe, tokenizer))
        return
    with process_pool(processes) as pool:
        if len(jobs) >= _FILES_PER_PROCESS * processes and max(sizes) * processes <= sum(sizes):
            largest_first = [job for _, job in sorted(zip(sizes, jobs, strict=True), key=lambda pair: -pair[0])]
            calls = ((_whole_file, (job, recipe)) for job in largest_first)
            yield from in_order(pool, calls, ahead=processes * _AHEAD)
        else:
            for job in jobs:
                yield from tokenize_file(job, recipe, _encoder_in_pool(job, recipe, pool, processes))


def tokenize_file(job: Job, recipe: Recipe, encode: Encoder) -> Iterator[Step]:
    """Read one file, `encode` it piece by piece, write its shard; memory does not grow with the file."""
    report = ReadReport()
    with ShardWriter(job.stem, recipe.rule.parts, recipe.vocab_size) as writer:
        for piece in encode(work_of(job.item, recipe, report)):
            for side, tokens, ends, n_text_bytes in piece.sides:
                writer.append(side, tokens, ends, n_text_bytes)
            yield Step(sum(n_text_bytes for *_, n_text_bytes in piece.sides), piece.report)
        source = {"name": job.item.name, "bytes": job.item.path.stat().st_size, "sha256": _sha256(job.item)}
        writer.finish({**recipe.facts(), "source": source})
    yield Step(0, report, finished=True)


def work_of(item: InputFile, recipe: Recipe, report: ReadReport) -> Iterator[LineChunk | Texts]:
    """A file in pieces that can be encoded anywhere: lines of JSON as they are, other texts cleaned and divided."""
    texts: Texts = []
    size = 0
    for unit in read_units(item, recipe.reading, report):
        if isinstance(unit, LineChunk):
            yield unit
            continue
        for document in unit_documents(unit, item, recipe.reading, report):
            texts.extend(recipe.rule.divide(document.text))
            size += len(document.text)
        if size >= BATCH_CHARS:
            yield texts
            texts, size = [], 0
    if texts:
        yield texts


def encode_work(item: InputFile, work: LineChunk | Texts, recipe: Recipe, tokenizer: Tokenizer) -> Encoded:
    """Tokens of one piece of work, one end-of-text id after each document. A pure function."""
    report = ReadReport()
    if isinstance(work, LineChunk):
        documents = unit_documents(work, item, recipe.reading, report)
        work = [pair for document in documents for pair in recipe.rule.divide(document.text)]
    sides = []
    for side in recipe.rule.parts:
        texts = [text for where, text in work if where == side]
        if texts:
            tokens, ends = _join(_encode(tokenizer, texts, item), recipe)
            sides.append((side, tokens, ends, sum(utf8_length(text) for text in texts)))
    return Encoded(sides, report)


def _encode(tokenizer: Tokenizer, texts: list[str], item: InputFile) -> list[Array]:
    try:
        return tokenizer.encode_batch(texts)
    except TokenizerError as problem:
        raise TokenizerError(problem.what, where=item.path, hint=problem.hint) from None


def _join(arrays: list[Array], recipe: Recipe) -> tuple[Array, Array]:
    """All documents in one array, each followed by the end-of-text id; and where each ends."""
    ends = np.cumsum([len(ids) + 1 for ids in arrays])
    tokens = np.empty(ends[-1], dtype=token_dtype(recipe.vocab_size))
    for ids, end in zip(arrays, ends.tolist(), strict=True):
        tokens[end - 1 - len(ids) : end - 1] = ids
    tokens[ends - 1] = recipe.eot_id
    return tokens, ends


def _encoder_here(job: Job, recipe: Recipe, tokenizer: Tokenizer) -> Encoder:
    return lambda work: (encode_work(job.item, piece, recipe, tokenizer) for piece in work)


def _encoder_in_pool(job: Job, recipe: Recipe, pool: Executor, processes: int) -> Encoder:
    def encode(work: Iterator[LineChunk | Texts]) -> Iterator[Encoded]:
        calls = ((_one_piece, (job.item, piece, recipe)) for piece in work)
        return in_order(pool, calls, ahead=processes * _AHEAD)

    return encode


# In the other processes


@functools.cache
def _loaded(folder: str) -> Tokenizer:
    """The tokenizer, loaded once in each process."""
    return Tokenizer.load(Path(folder))


def _one_piece(item: InputFile, work: LineChunk | Texts, recipe: Recipe) -> Encoded:
    return encode_work(item, work, recipe, _loaded(recipe.tokenizer_folder))


def _whole_file(job: Job, recipe: Recipe) -> Step:
    report, n_text_bytes = ReadReport(), 0
    for step in tokenize_file(job, recipe, _encoder_here(job, recipe, _loaded(recipe.tokenizer_folder))):
        report.merge(step.report)
        n_text_bytes += step.n_text_bytes
    return Step(n_text_bytes, report, finished=True)
