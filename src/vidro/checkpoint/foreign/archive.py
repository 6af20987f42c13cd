"""What ``torch.save`` wrote, looked at before anything opens it: a zip directory, and in it a pickle that is only read.

    model.pth  =  zip, nothing compressed:  NAME/data.pkl     how the tensors lie in the records
                                            NAME/data/0 …     their numbers, a record each

A pickle is a program. Its instructions are listed here, never run: only those that plain weights need are let through,
and each name it asks Python for must be one of those. Whatever else the file is (a whole pickled model, an old form,
a trap), it is refused in one line, before a process is started for it.
Not here: running what was let through (`unpickle`), meaning (`pickled`). Without torch.
"""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidro.core.errors import CheckpointError

SAVE_WEIGHTS = 'Where the model was made: torch.save(model.state_dict(), "model.pth").'
SAVE_AGAIN = 'Where the model was made: torch.save(torch.load("OLD", weights_only=True), "model.pth").'
_ALTERED = "The file is cut short or altered."
_ASK = "Nothing of it was run. Ask whoever made it for safetensors."

MOST_RECORDS = 100_000
MOST_PICKLE_BYTES = 32 * 2**20
MOST_INSTRUCTIONS = 5_000_000

_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # how the files of PyTorch before 1.6 begin
_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_DTYPES = (
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
)  # fmt: skip
NAMES = {
    "collections OrderedDict",
    "torch Size",
    "torch device",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter",
    "torch.storage UntypedStorage",
    *(f"torch {kind}Storage" for kind in _STORAGES),
    *(f"torch {kind}" for kind in _DTYPES),
}
"""What plain weights, settings and optimizer states ask Python for, as the instruction GLOBAL writes it."""

_DATA = {
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2",
    "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "SHORT_BINSTRING", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE",
    "EMPTY_SET", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS",
    "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT", "MEMOIZE",
}  # fmt: skip
"""Instructions that make numbers, texts, lists and dictionaries, and nothing else."""
_WEIGHTS = _DATA | {"GLOBAL", "REDUCE", "BUILD", "BINPERSID"}

_WHOLE = ("__main__", "torch.nn", "transformers", "lightning", "pytorch_lightning", "model", "gpt", "previous_chapters")
_ACTS = (
    "os", "posix", "nt", "sys", "subprocess", "builtins", "__builtin__", "socket", "shutil", "runpy", "pty", "ctypes",
    "commands", "importlib", "webbrowser", "pickle", "code", "platform", "pip", "urllib", "http", "asyncio",
    "multiprocessing", "threading", "operator", "functools", "types", "tempfile", "codecs", "pdb", "timeit", "cProfile",
    "profile", "trace", "doctest", "distutils", "site", "signal", "marshal", "io",
)  # fmt: skip
"""Modules of Python's own that a trap begins with; only the words of the refusal depend on them."""


def check_weights(path: Path) -> int:
    """Look at a file of ``torch.save`` and return its size in bytes. Raises CheckpointError in one line.

    Every record is read once, for its checksum.
    """
    size = path.stat().st_size
    _check_start(path, size)
    try:
        with path.open("rb") as stream:
            _check_end(stream, size, path)
            with zipfile.ZipFile(stream) as archive:
                pickle = _check_records(archive, stream, path)
    except (zipfile.BadZipFile, EOFError, struct.error, NotImplementedError, RuntimeError, ValueError) as problem:
        raise CheckpointError(f"it cannot be read ({problem})", where=path, hint=_ALTERED) from None
    check_pickle(pickle, path)
    return size


def check_table(path: Path) -> None:
    """Look at a plain pickle of texts and numbers (nanoGPT's meta.pkl). Raises CheckpointError in one line."""
    if path.stat().st_size > MOST_PICKLE_BYTES:
        raise CheckpointError("this is too large for a table of characters", where=path)
    for name, _ in _instructions(path.read_bytes(), path):
        if name not in _DATA:
            what = f"its pickle does more than list characters and numbers ({name})"
            raise CheckpointError(what, where=path, hint=_ASK)


def check_pickle(data: bytes, where: Path) -> None:
    """Let only the instructions through that plain weights need. Raises CheckpointError naming the first other one."""
    for name, argument in _instructions(data, where):
        if name == "GLOBAL" and argument not in NAMES:
            raise _refused_name(str(argument), where)
        if name not in _WEIGHTS:
            what = f"its pickle holds {name}, which no file of weights needs"
            raise CheckpointError(what, where=where, hint=f"{SAVE_WEIGHTS} Nothing of it was run.")


def _instructions(data: bytes, where: Path) -> Iterator[tuple[str, Any]]:
    try:
        for count, (instruction, argument, _) in enumerate(pickletools.genops(io.BytesIO(data))):
            if count > MOST_INSTRUCTIONS:
                raise CheckpointError("its pickle is longer than that of any model", where=where)
            yield instruction.name, argument
    except (ValueError, struct.error, IndexError, KeyError, OverflowError) as problem:
        first = str(problem).split("\n")[0][:120]
        raise CheckpointError(f"its pickle cannot be read ({first})", where=where, hint=_ALTERED) from None


def _refused_name(argument: str, where: Path) -> CheckpointError:
    module, _, name = argument.partition(" ")
    shown = ascii(f"{module}.{name}"[:80]).strip("'")
    if module.split(".")[0] in _ACTS:
        return CheckpointError(f"it wants {shown} to be called when it is opened, a trap", where=where, hint=_ASK)
    if module.startswith(_WHOLE):
        return CheckpointError(f"it is a whole pickled object ({shown}), not weights", where=where, hint=SAVE_WEIGHTS)
    return CheckpointError(f"it holds a {shown} beside plain weights", where=where, hint=SAVE_WEIGHTS)


def _check_start(path: Path, size: int) -> None:
    with path.open("rb") as stream:
        start = stream.read(512)
    if start.startswith(b"PK\x03\x04"):
        return
    if start.startswith(_LEGACY) or start[257:262] == b"ustar":
        raise CheckpointError("it has the form of PyTorch before 1.6", where=path, hint=SAVE_AGAIN)
    if size == 0:
        raise CheckpointError("the file is empty", where=path)
    if start[:1] == b"\x80":
        raise CheckpointError("it is a bare pickle, not written by torch.save", where=path, hint=SAVE_WEIGHTS)
    raise CheckpointError("it was not written by torch.save", where=path, hint=SAVE_WEIGHTS)


def _check_end(stream: io.BufferedReader, size: int, where: Path) -> None:
    """Bound the directory before a library reads all of it into memory."""
    stream.seek(max(0, size - 22 - 65_535))
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise CheckpointError("its end is missing", where=where, hint=_ALTERED)
    count, directory_bytes = struct.unpack("<HI", tail[at + 10 : at + 16])
    large = tail.rfind(b"PK\x06\x06", 0, at)
    if large >= 0 and at - large >= 56:
        count, directory_bytes = struct.unpack("<QQ", tail[large + 32 : large + 48])
    if count > MOST_RECORDS or directory_bytes > 1024 * MOST_RECORDS or directory_bytes > size:
        raise CheckpointError(f"its directory names {count:,} records", where=where, hint=_ALTERED)


def _check_records(archive: zipfile.ZipFile, stream: io.BufferedReader, where: Path) -> bytes:
    """The pickle, once every record is plain, inside, in one folder, alone at its place, and as its checksum says."""
    records = archive.infolist()
    names = {record.filename for record in records}
    roots = {name.split("/")[0] for name in names}
    if len(names) < len(records) or len(roots) != 1:
        raise CheckpointError("its records have no folder of their own, or a name twice", where=where, hint=_ALTERED)
    root = roots.pop()
    if f"{root}/constants.pkl" in names or any(name.startswith(f"{root}/code/") for name in names):
        raise CheckpointError("it is a TorchScript program, not weights", where=where, hint=SAVE_WEIGHTS)
    if f"{root}/data.pkl" not in names:
        raise CheckpointError("there is no data.pkl in it, so torch.save did not write it", where=where)
    end = 0
    for record in sorted(records, key=lambda each: each.header_offset):
        _check_record(record, where)
        if record.header_offset < end or not _is_at(stream, record):
            what = f"the record {record.filename!r} does not lie where its directory says"
            raise CheckpointError(what, where=where, hint=_ALTERED)
        end = record.header_offset + 30 + record.file_size
    if archive.getinfo(f"{root}/data.pkl").file_size > MOST_PICKLE_BYTES:
        raise CheckpointError("its pickle is longer than that of any model", where=where)
    damaged = archive.testzip()
    if damaged is not None:
        raise CheckpointError(f"the record {damaged!r} does not have its checksum", where=where, hint=_ALTERED)
    order = archive.read(f"{root}/byteorder") if f"{root}/byteorder" in names else b"little"
    if order != b"little":
        raise CheckpointError("its numbers are big-endian", where=where, hint="Save it again on an ordinary machine.")
    return archive.read(f"{root}/data.pkl")


def _check_record(record: zipfile.ZipInfo, where: Path) -> None:
    parts = record.filename.split("/")
    if len(parts) < 2 or any(part in ("", ".", "..") for part in parts) or "\\" in record.filename or ":" in parts[0]:
        raise CheckpointError(f"the record {record.filename!r} has a path that torch.save never writes", where=where)
    if record.compress_type != zipfile.ZIP_STORED or record.compress_size != record.file_size or record.flag_bits & 1:
        what = f"the record {record.filename!r} is compressed or locked, which torch.save never does"
        raise CheckpointError(what, where=where, hint=SAVE_WEIGHTS)


def _is_at(stream: io.BufferedReader, record: zipfile.ZipInfo) -> bool:
    """Whether the record's own header is there, with the same name and form as the directory says."""
    stream.seek(record.header_offset)
    head = stream.read(30)
    if len(head) < 30 or not head.startswith(b"PK\x03\x04"):
        return False
    form, name_bytes = struct.unpack("<H", head[8:10])[0], struct.unpack("<H", head[26:28])[0]
    return form == zipfile.ZIP_STORED and stream.read(name_bytes) == record.orig_filename.encode("utf-8")
