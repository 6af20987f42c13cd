"""From a source to tokens ready for training: read, split, tokenize, keep in the cache.

`prepare` is what `pretrain` calls, `tokenize_source` is `vidro data prepare`. Both make shards by `tokenizing`; tokens
that exist already are used again when source, tokenizer, split and way of reading are the same, and the sizes fit.
A folder of token shards (`data prepare`'s, Dolma's, datatrove's) can be given instead of text. Read next: `windows`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock

from vidro.config.schema import DataOptions
from vidro.core.errors import DataError, UsageError
from vidro.core.files import sha256_file, storage_errors
from vidro.data.documents import Reading, read_file
from vidro.data.foreign import foreign_files, is_shards, open_foreign
from vidro.data.report import Progress, ReadReport
from vidro.data.shard_files import SUFFIX, VERSION, check_sizes, checksums_fit, manifest_path, read_manifest
from vidro.data.shards import TokenShards
from vidro.data.sources import InputFile, Source, find_inputs
from vidro.data.split import TRAIN_SHARE, Split, SplitRule, cut_rule, hash_rule
from vidro.data.survey import TextSource, digest, open_source
from vidro.data.tokenizing import Tokenized, check_numbers, tokenize_files
from vidro.text.tokenizer import Tokenizer

MOST_VERIFIED_BYTES = 4 << 30


@dataclass(frozen=True)
class Prepared:
    """Tokens of both sides and the texts behind them. Bytes are UTF-8 bytes of text.

    `source_sha256` is the checksum of the source file, or of all files' checksums.
    """

    train: TokenShards
    val: TokenShards
    train_bytes: int
    val_bytes: int
    n_documents: int
    source_sha256: str
    name: str
    notes: list[str] = field(default_factory=list)
    _train_texts: Callable[[], Iterator[str]] = field(default=lambda: iter(()), repr=False)
    _val_texts: Callable[[], Iterator[str]] = field(default=lambda: iter(()), repr=False)

    def train_texts(self) -> Iterator[str]:
        """The training texts one by one, read anew from where they lie."""
        return self._train_texts()

    def val_texts(self) -> Iterator[str]:
        """The validation texts one by one, read anew from where they lie."""
        return self._val_texts()


def read_split(source: Source, options: DataOptions, *, cache_dir: Path | None = None) -> Split:
    """Both sides of the source as lists of texts in memory. Raises DataError."""
    return open_source(source, options, cache_dir=cache_dir).split()


def prepare(
    source: Source | TextSource,
    tokenizer: Tokenizer,
    *,
    cache_dir: Path,
    options: DataOptions = DataOptions(),  # noqa: B008 (frozen)
    processes: int = 1,
    progress: Progress | None = None,
) -> Prepared:
    """Tokens of `source`, each document followed by one end-of-text id; made once, then taken from the cache.

    Raises DataError for text that cannot be read and shards that do not fit, TokenizerError for text that the
    tokenizer cannot encode.
    """
    if not isinstance(source, TextSource):
        if is_shards(source):
            return _from_shards(Path(str(source)), tokenizer, cache_dir=cache_dir, options=options)
        source = open_source(source, options, cache_dir=cache_dir)
    result = source.result
    key = digest([
        VERSION, [(item.kind, item.sha256) for item in source.files], [(i.kind, i.sha256) for i in source.val_files],
        asdict(source.reading), result.rule.to_dict(), tokenizer.fingerprint, tokenizer.eot_id,
    ])  # fmt: skip
    folder = cache_dir / "tokens" / key[:32]
    total = result.train_bytes + result.val_bytes
    told = None if progress is None else lambda done, _: progress(done, total)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        main, extra = _tokenize(source, tokenizer, folder, processes, told)
    return Prepared(
        train=_open(main, "train", tokenizer),
        val=_open(extra, "val", tokenizer),
        train_bytes=result.train_bytes,
        val_bytes=result.val_bytes,
        n_documents=result.n_documents,
        source_sha256=source.source_sha256,
        name=source.name,
        notes=[*source.notes, *main.notes],
        _train_texts=source.train_texts,
        _val_texts=source.val_texts,
    )


def tokenize_source(
    source: Source,
    out_dir: Path,
    tokenizer: Tokenizer,
    *,
    options: DataOptions = DataOptions(),  # noqa: B008 (frozen)
    processes: int = 1,
    shard: tuple[int, int] = (0, 1),
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Tokenized:
    """Shards of a source in a folder of the user's choice, with the tokenizer beside them (`data prepare`).

    Documents go to the validation side by their hash; a source that is one document is cut instead, and with
    ``options.val`` nothing is set apart (that text is given when training). Raises DataError.
    """
    check_numbers(processes, shard)
    report = ReadReport()
    reading = Reading(options.encoding, options.skip_bad)
    files = find_inputs(source, report=report, cache_dir=cache_dir)
    if options.val is not None:
        find_inputs(options.val, report=ReadReport(), cache_dir=cache_dir)  # only to say now that it is not there
    rule = SplitRule("train") if options.val is not None else _rule_of(files, reading)
    _put_beside(tokenizer, out_dir)
    made = tokenize_files(
        files, out_dir, tokenizer, rule=rule, reading=reading, processes=processes, shard=shard, progress=progress
    )
    report.merge(made.report)
    made.notes += report.notes
    strangers = {*out_dir.rglob(f"*{SUFFIX}")} - {manifest_path(stem) for stem in made.stems}
    if strangers:
        made.notes.append(f"{out_dir} also holds tokens of other files, not named now ({len(strangers):,}).")
    return made


def _put_beside(tokenizer: Tokenizer, folder: Path) -> None:
    """Save the tokenizer in the folder of its tokens. Raises DataError when another one is there already."""
    if (folder / "tokenizer.json").exists():
        if Tokenizer.load(folder).fingerprint == tokenizer.fingerprint:
            return
        hint = "Choose another folder, or remove this one."
        raise DataError("there are tokens of another tokenizer here", where=folder, hint=hint)
    tokenizer.save(folder)


def _rule_of(files: Sequence[InputFile], reading: Reading) -> SplitRule:
    """The split of a source that may be too large to read twice: only whether it is one document is looked at."""
    if len(files) > 1:
        return hash_rule()
    first_two = list(itertools.islice(read_file(files[0], reading, ReadReport()), 2))
    return cut_rule(first_two[0].text) if len(first_two) == 1 else hash_rule()


def _tokenize(
    source: TextSource, tokenizer: Tokenizer, folder: Path, processes: int, progress: Progress | None
) -> tuple[Tokenized, Tokenized]:
    """The shards that hold the training side, and those that hold the validation side (often the same)."""
    notes = _tidy(folder)
    main = tokenize_files(
        source.files, folder / "text", tokenizer,
        rule=source.result.rule, reading=source.reading, processes=processes, progress=progress,
    )  # fmt: skip
    main.notes[:0] = notes
    if not source.val_files:
        return main, main
    extra = tokenize_files(
        source.val_files, folder / "val", tokenizer, rule=SplitRule("val"), reading=source.reading, processes=processes
    )
    main.notes += extra.notes
    return main, extra


def _tidy(folder: Path) -> list[str]:
    """Make shards of the cache whose checksums are wrong count as missing, and say so.

    What a killed process left half written goes too: nobody else writes here, as the folder is locked.
    """
    for path in folder.rglob(".*.tmp"):
        path.unlink()
    notes = []
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        stem = path.with_name(path.name.removesuffix(SUFFIX))
        with contextlib.suppress(DataError):  # what is cut short is found and said by `tokenize_files`
            manifest = read_manifest(path)
            check_sizes(stem, manifest)
            if not checksums_fit(stem, manifest):
                path.unlink()
                notes.append(f"{stem.name}: its cached tokens had been altered; they were made again.")
    return notes


def _open(made: Tokenized, side: str, tokenizer: Tokenizer) -> TokenShards:
    return TokenShards.of_stems(made.stems, side=side, tokenizer_fingerprint=tokenizer.fingerprint)


# A folder of tokens instead of text


def _from_shards(path: Path, tokenizer: Tokenizer, *, cache_dir: Path, options: DataOptions) -> Prepared:
    """Tokens that exist already. Validation: ``--val``, else the shards' own side, else the last tenth."""
    _check_reading(path, options)
    train, val, sha256, notes = _open_folder(path, tokenizer)
    val_texts = None
    if options.val is not None:
        val, val_texts, val_notes = _val_alone(options, tokenizer, cache_dir)
        notes += val_notes
    elif not len(val):
        train, val = train.divide(TRAIN_SHARE)
        notes.append("No validation text was set apart when these tokens were made, so the last tenth is used.")
    if not len(train) or not len(val):
        raise DataError("there are too few tokens to train and validate", where=path)
    return Prepared(
        train=train,
        val=val,
        train_bytes=_text_bytes(train, tokenizer),
        val_bytes=_text_bytes(val, tokenizer),
        n_documents=train.n_documents + val.n_documents,
        source_sha256=sha256,
        name=path.name,
        notes=notes,
        _train_texts=lambda: (tokenizer.decode(ids.tolist()) for ids in train.documents()),
        _val_texts=val_texts or (lambda: (tokenizer.decode(ids.tolist()) for ids in val.documents())),
    )


def _check_reading(path: Path, options: DataOptions) -> None:
    """Raise UsageError for settings about reading text where there is no text to read."""
    if options.val is not None:
        return
    for name, said in (("encoding", options.encoding is not None), ("skip-bad", options.skip_bad)):
        if said:
            raise UsageError(f"{path} holds tokens, so no text is read", where=name, hint="Leave it out.")


def _open_folder(path: Path, tokenizer: Tokenizer) -> tuple[TokenShards, TokenShards, str, list[str]]:
    """Both sides of the shards, a checksum of where they come from, and remarks."""
    manifests = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else []
    if manifests:
        sides = [
            TokenShards.open(path, side=side, tokenizer_fingerprint=tokenizer.fingerprint) for side in ("train", "val")
        ]
        for side in sides:
            if side.n_tokens * side.dtype.itemsize <= MOST_VERIFIED_BYTES:
                side.verify()
        sources = [read_manifest(found).get("source", {}).get("sha256") for found in manifests]
        return sides[0], sides[1], digest(sources), []
    files = foreign_files(path)
    train = open_foreign(files, vocab_size=tokenizer.vocab_size, eot_id=tokenizer.eot_id)
    note = "These tokens do not say which tokenizer made them: only that their ids fit was checked."
    return train, TokenShards([], n_text_bytes=0), digest([sha256_file(file) for file in files]), [note]


def _val_alone(
    options: DataOptions, tokenizer: Tokenizer, cache_dir: Path
) -> tuple[TokenShards, Callable[[], Iterator[str]], list[str]]:
    """Tokens and texts of ``--val`` where the training side is tokens already, and remarks."""
    reading, report = Reading(options.encoding, options.skip_bad), ReadReport()
    files = find_inputs(str(options.val), report=report, cache_dir=cache_dir)
    checksums = [(item.kind, sha256_file(item.path)) for item in files]
    folder = cache_dir / "tokens" / digest([VERSION, checksums, asdict(reading), tokenizer.fingerprint])[:32]
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        made = tokenize_files(files, folder, tokenizer, rule=SplitRule("val"), reading=reading)
    report.merge(made.report)
    texts = functools.partial(_texts_of, files, reading)
    return _open(made, "val", tokenizer), texts, [*report.notes, *made.notes]


def _texts_of(files: Sequence[InputFile], reading: Reading) -> Iterator[str]:
    return (document.text for item in files for document in read_file(item, reading, ReadReport()))


def _text_bytes(shards: TokenShards, tokenizer: Tokenizer) -> int:
    """Bytes of text behind the tokens: as written down, else the sum of what each token stands for."""
    if shards.n_text_bytes is not None:
        return shards.n_text_bytes
    lengths = tokenizer.token_byte_lengths().astype(np.int64)
    step = 1 << 22
    return sum(int(lengths[shards[start : start + step]].sum()) for start in range(0, len(shards), step))
