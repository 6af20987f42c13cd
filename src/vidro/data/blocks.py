"""From a file on the disk to blocks of bytes, and from blocks of bytes to text: gzip, Zstandard, encodings.

Everything streams, so a file larger than memory is no trouble. A compressed file that ends too early gives all that
can be read before it complains. Not here: what the text means (`documents`, `jsonl`).
"""

from __future__ import annotations

import codecs
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import zstandard

from vidro.core.errors import DataError
from vidro.data.report import ReadReport

BLOCK_BYTES = 1 << 20
_MAGIC = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}
_MARKS = [
    (codecs.BOM_UTF8, "utf-8", "bom"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16"),
]


@runtime_checkable
class Readable(Protocol):
    """Something that bytes can be read from, such as standard input."""

    def read(self, n: int = -1, /) -> bytes: ...


class TornArchive(Exception):
    """A compressed file that ends too early or is damaged; all readable blocks came before."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_blocks(path: Path, compression: str | None = None) -> Iterator[bytes]:
    """The file's bytes, unpacked, in blocks of about a megabyte.

    `compression` is ".gz", ".zst" or None. Raises DataError when the file cannot be opened or is not what its name
    says, TornArchive when it ends too early.
    """
    try:
        with path.open("rb") as stream:
            if compression is None:
                while block := stream.read(BLOCK_BYTES):
                    yield block
                return
            _check_magic(stream, path, compression)
            yield from _joined(_unpacked(stream, compression))
    except OSError as problem:
        raise unreadable(path, problem) from None


def unreadable(path: Path, problem: OSError) -> DataError:
    """The one line for a file that the system will not open."""
    if isinstance(problem, FileNotFoundError):
        return DataError("there is no such file or folder", where=path)
    if isinstance(problem, PermissionError):
        return DataError("no permission to read this file", where=path, hint="Its owner can allow it.")
    return DataError(f"the file cannot be read ({problem.strerror or problem})", where=path)


def _check_magic(stream: io.BufferedReader, path: Path, compression: str) -> None:
    head = stream.read(4)
    stream.seek(0)
    if not head:
        raise DataError("the file is empty", where=path, hint="Choose a text with words in it.")
    if not head.startswith(_MAGIC[compression]):
        name = {".gz": "gzip", ".zst": "Zstandard"}[compression]
        hint = f"If it is not packed, take {compression} off its name."
        raise DataError(f"this is not a {name} file, though its name ends in {compression}", where=path, hint=hint)


def _unpacked(stream: io.BufferedReader, compression: str) -> Iterator[bytes]:
    """Each piece that the decompressor gives; several members or frames in a row are one stream."""
    fresh: Callable[[], Any]
    if compression == ".gz":
        fresh = lambda: zlib.decompressobj(wbits=31)  # noqa: E731
    else:
        fresh = lambda: zstandard.ZstdDecompressor().decompressobj()  # noqa: E731
    member = fresh()
    try:
        while packed := stream.read(BLOCK_BYTES // 4):
            while packed:
                if member.eof:
                    packed = packed.lstrip(b"\0")  # padding between gzip members is allowed
                    if not packed:
                        break
                    member = fresh()
                yield member.decompress(packed)
                packed = member.unused_data if member.eof else b""
    except (zlib.error, zstandard.ZstdError) as problem:
        raise TornArchive(f"damaged ({str(problem).strip()})") from None
    if not member.eof:
        raise TornArchive("cut short")


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Small pieces gathered into blocks of at least a megabyte; what was gathered before a tear is still given."""
    held: list[bytes] = []
    size = 0
    try:
        for piece in pieces:
            held.append(piece)
            size += len(piece)
            if size >= BLOCK_BYTES:
                yield b"".join(held)
                held, size = [], 0
    except TornArchive as torn:
        if size:
            yield b"".join(held)
        raise torn from None
    if size:
        yield b"".join(held)


def decode_blocks(blocks: Iterable[bytes], *, where: object, encoding: str | None, report: ReadReport) -> Iterator[str]:
    """Text of a stream of bytes: UTF-8, or `encoding`, or what a byte-order mark announces (counted); LF line ends.

    Raises DataError for a zero byte (binary file) and for bytes outside the encoding, with their offset.
    """
    decoder: codecs.IncrementalDecoder | None = None
    name, offset = "", 0
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    for block in blocks:
        if decoder is None:
            name, mark = _choose_encoding(block, encoding, where, report)
            decoder = codecs.getincrementaldecoder(name)("strict")
            block, offset = block[mark:], mark
        if not name.startswith(("utf-16", "utf-32")) and (zero := block.find(b"\0")) >= 0:
            raise _binary(where, offset + zero)
        pending = len(decoder.getstate()[0])
        yield _newlines(_decode(decoder, block, False, name, where, offset - pending), newlines, report)
        offset += len(block)
    if decoder is not None:
        pending = len(decoder.getstate()[0])
        last = _decode(decoder, b"", True, name, where, offset - pending)
        yield newlines.decode(last, final=True)


def decode_bytes(data: bytes, *, where: object, encoding: str | None, report: ReadReport) -> str:
    """`decode_blocks` for bytes that are all there."""
    return "".join(decode_blocks([data] if data else [], where=where, encoding=encoding, report=report))


def _newlines(text: str, newlines: io.IncrementalNewlineDecoder, report: ReadReport) -> str:
    if "\r" in text:
        windows = text.count("\r\n")
        report.count("crlf", windows)
        report.count("cr", max(0, text.count("\r") - windows - text.endswith("\r")))
    report.count("lf", text.count("\n") - text.count("\r\n"))
    return newlines.decode(text)


def _choose_encoding(block: bytes, wish: str | None, where: object, report: ReadReport) -> tuple[str, int]:
    """The codec and how many bytes of byte-order mark to jump over."""
    if wish is not None:
        name = _codec(wish)
        mark = len(codecs.BOM_UTF8) if name == "utf-8" and block.startswith(codecs.BOM_UTF8) else 0
        if mark:
            report.count("bom")
        return name, mark
    for mark, name, what in _MARKS:
        if block.startswith(mark):
            report.count(what)
            return name, len(mark)
    return "utf-8", 0


def check_encoding(encoding: str | None) -> None:
    """Raise DataError when `encoding` is given and Python knows no text encoding of that name."""
    if encoding is not None:
        _codec(encoding)


def _codec(wish: str) -> str:
    """Python's name of the encoding. Raises DataError when there is none, or it is no text encoding."""
    try:
        found = codecs.lookup(wish)
        "".encode(wish)
    except (LookupError, ValueError):
        raise DataError(
            f"there is no text encoding called {wish!r}", where="encoding", hint="Try utf-8, latin-1 or cp1252."
        ) from None
    return found.name


def _decode(
    decoder: codecs.IncrementalDecoder, block: bytes, final: bool, name: str, where: object, offset: int
) -> str:
    try:
        return decoder.decode(block, final)
    except UnicodeDecodeError as problem:
        byte = problem.object[problem.start]
        what = f"this is not {name.upper()} text: byte 0x{byte:02X} at byte offset {offset + problem.start:,}"
        hint = "If you know its encoding, give it, for example --encoding cp1252 (Windows) or --encoding latin-1."
        raise DataError(what, where=where, hint=hint) from None
    except UnicodeError as problem:  # UTF-16 without its mark, say
        hint = f"Try --encoding {name}-le or {name}-be." if name in ("utf-16", "utf-32") else None
        raise DataError(f"this is not {name.upper()} text: {problem}", where=where, hint=hint) from None


def _binary(where: object, offset: int) -> DataError:
    hint = "Vidro reads text: .txt .md .html .epub .jsonl and folders of them; .docx .pdf .parquet with extras."
    return DataError(f"this is a binary file, not text (a zero byte at byte offset {offset:,})", where=where, hint=hint)
