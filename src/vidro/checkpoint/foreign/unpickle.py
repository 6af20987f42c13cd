"""The one place where something is unpickled, as a program of its own: ``python -m … KIND FILE FOLDER`` (law 7).

KIND weights: a file of ``torch.save``; into FOLDER go ``model.safetensors`` (the model's tensors as they are) and
``found.json`` (shapes of constants, settings). KIND table: a pickled table of characters; only ``found.json``.

The process cannot do much, should a file outwit the unpickler. Before it opens the file it gives up the network and new
processes, may write nowhere but into FOLDER, and has memory, time and bytes to write by the size of the file.
Networks and memory are bounded where the system can (Linux), the rest everywhere. Not here: what is
refused beforehand (`archive`), the parent (`pickled`).
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

FOUND, WEIGHTS = "found.json", "model.safetensors"
MIB = 2**20

_HOLDERS = ("model_state_dict", "model", "state_dict", "model_state", "module", "weights")
"""Where checkpoints keep the model beside other things, the usual first."""
_FORMS = {
    "float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_FORBIDDEN = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile",
    "os.kill", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink",
    "os.truncate", "os.putenv", "shutil.", "pickle.find_class", "ctypes.dlopen", "webbrowser.", "urllib.", "ftplib.",
    "http.", "pty.",
)  # fmt: skip


class Refused(Exception):
    """The file is not what it should be; the message is for the person."""


def leave_the_network() -> bool:
    """Move this process into a network of its own, which leads nowhere; False where the system has no such thing."""
    if not sys.platform.startswith("linux"):
        return False
    new_user, new_network = 0x1000_0000, 0x4000_0000
    flags = new_network if os.geteuid() == 0 else new_user | new_network
    return ctypes.CDLL(None).unshare(flags) == 0


def limit(size_bytes: int) -> None:
    """Bound what this process may take from now on: memory, processor time, bytes written."""
    if sys.platform == "win32":
        return
    import resource

    def at_most(which: int, value: int) -> None:
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))

    used = resource.getrusage(resource.RUSAGE_SELF)
    at_most(resource.RLIMIT_CORE, 0)
    at_most(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 60 + size_bytes // (20 * MIB))
    at_most(resource.RLIMIT_FSIZE, size_bytes + 64 * MIB)
    if sys.platform.startswith("linux"):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        # The file once as a mapping, one tensor of it once more, and room to read the pickle.
        at_most(resource.RLIMIT_AS, pages * os.sysconf("SC_PAGESIZE") + 2 * size_bytes + 256 * MIB)


def forbid(folder: Path) -> None:
    """From now on refuse, from inside Python, whatever reading a file does not need. Cannot be undone."""
    inside = str(folder.resolve()) + os.sep

    def guard(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_FORBIDDEN):
            raise Refused(f"it tried to use {event} while it was opened; that was stopped")
        if event == "open" and _writes(arguments) and not _absolute(arguments[0]).startswith(inside):
            raise Refused("it tried to write a file while it was opened; that was stopped")

    sys.addaudithook(guard)


def _absolute(path: Any) -> str:
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (resolving would look at the disk, inside the guard)


def _writes(arguments: tuple[Any, ...]) -> bool:
    path, mode, flags = arguments
    if not isinstance(path, str | bytes | os.PathLike):
        return False  # a descriptor that is open already
    changing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    return any(letter in (mode or "") for letter in "wax+") or bool((flags or 0) & changing)


def unpickle_weights(source: Path, folder: Path, size_bytes: int) -> dict[str, Any]:
    """Write the model's tensors; what goes into ``found.json``."""
    import torch

    from vidro.checkpoint.names import NOT_WEIGHTS

    loaded = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    holder, state = find_state(loaded)
    tensors: dict[str, Tensor] = {}
    constants: dict[str, list[int]] = {}
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            raise Refused(f"the weight {name[:80]!r} is no tensor but a {type(tensor).__name__}")
        if name.endswith(NOT_WEIGHTS):
            constants[name] = list(tensor.shape)
        else:
            tensors[name] = tensor.detach()
    same = write_safetensors(tensors, folder / WEIGHTS, size_bytes)
    return {"holder": holder, "same": same, "constants": constants, "settings": settings(loaded, state)}


def find_state(loaded: Any) -> tuple[str | None, Mapping[str, Any]]:
    """(under which key, the model's tensors by name): the file itself, or what a checkpoint keeps beside others."""
    from torch import Tensor

    def is_state(value: Any) -> bool:
        return isinstance(value, Mapping) and any(isinstance(each, Tensor) and each.dim() for each in value.values())

    if not isinstance(loaded, Mapping):
        raise Refused(f"it holds a {type(loaded).__name__}, not tensors with names")
    holders = [key for key in _HOLDERS if is_state(loaded.get(key))]
    others = [key for key, value in loaded.items() if is_state(value) and "optim" not in str(key)]
    if holders or len(others) == 1:
        key = (holders or others)[0]
        state = loaded[key]
    elif is_state(loaded):
        key, state = None, loaded
    elif others:
        raise Refused(f"it holds several models ({', '.join(str(key)[:40] for key in others[:5])})")
    else:
        raise Refused("there are no weights in it")
    if not all(isinstance(name, str) and 0 < len(name) < 500 and name.isprintable() for name in state):
        raise Refused("its tensors have no proper names")
    return key, state


def settings(loaded: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and short texts that stand beside the model, at most two levels deep: ``model_args.n_head`` …"""
    found: dict[str, Any] = {}
    if loaded is state:
        return found
    for key, value in list(loaded.items())[:200]:
        inner = list(value.items())[:200] if isinstance(value, Mapping) and value is not state else [("", value)]
        for name, each in inner:
            plain = isinstance(each, bool | float) or (isinstance(each, int) and abs(each) < 2**53)
            if plain or (isinstance(each, str) and len(each) < 200):
                found[f"{str(key)[:80]}.{str(name)[:80]}".rstrip(".")] = each
    return found


def write_safetensors(tensors: Mapping[str, Tensor], path: Path, size_bytes: int) -> dict[str, str]:
    """Write one tensor after the other, so that none but one is ever in memory twice (the library copies all first).

    Tensors that are the same numbers under two names are written once; returns second names by first ones.
    """
    import torch

    places: dict[Any, str] = {}
    same: dict[str, str] = {}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].element_size()):  # each at a round address
        form = _FORMS.get(str(tensor.dtype).removeprefix("torch."))
        if form is None or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise Refused(f"the tensor {name!r} is of a kind that is not read ({tensor.dtype}, {tensor.layout})")
        n_bytes = tensor.numel() * tensor.element_size()
        place = (tensor.data_ptr() if n_bytes else name, tuple(tensor.shape), tuple(tensor.stride()), form)
        if place in places:
            same[name] = places[place]
            continue
        places[place] = name
        header[name] = {"dtype": form, "shape": list(tensor.shape), "data_offsets": [end, end + n_bytes]}
        end += n_bytes
        if n_bytes > tensor.untyped_storage().nbytes() or end > size_bytes:
            raise Refused(f"the tensor {name!r} is said to be larger than the file")
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as stream:
        stream.write(len(raw).to_bytes(8, "little") + raw)
        for name in places.values():
            stream.write(as_bytes(tensors[name]))
    return same


def as_bytes(tensor: Tensor) -> Any:
    """The tensor's numbers, row by row; a view where they lie so."""
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()


class _DataOnly(pickle.Unpickler):
    """Knows no classes and no functions."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise Refused(f"it asks for {module_name}.{global_name}")


def unpickle_table(source: Path) -> dict[str, Any]:
    """The characters of nanoGPT's meta.pkl in the order of their ids."""
    with source.open("rb") as stream:
        loaded = _DataOnly(stream).load()
    names = loaded.get("itos") if isinstance(loaded, dict) else None
    if not isinstance(names, dict | list) or not 0 < len(names) < 1_000_000:
        raise Refused("there is no table of characters (itos) in it")
    numbered = dict(enumerate(names)) if isinstance(names, list) else names
    if set(numbered) != set(range(len(numbered))) or not all(isinstance(each, str) for each in numbered.values()):
        raise Refused("its table does not number characters from 0 up")
    return {"characters": [numbered[number] for number in range(len(numbered))]}


def main(kind: str, source: Path, folder: Path) -> dict[str, Any]:
    """Do it under all restrictions; an ``error`` instead of a result where the file is not what it should be."""
    size_bytes = source.stat().st_size
    sys.dont_write_bytecode = True  # what is imported late must not write beside itself
    leave_the_network()
    if kind == "weights":
        import torch

        import vidro.checkpoint.names  # noqa: F401 (now, while imports are cheap)

        torch.set_num_threads(1)
    limit(size_bytes)
    forbid(folder)
    try:
        return unpickle_weights(source, folder, size_bytes) if kind == "weights" else unpickle_table(source)
    except Refused as problem:
        return {"error": str(problem)}
    except MemoryError:
        return {"error": "opening it takes far more memory than its size"}
    except pickle.UnpicklingError:
        return {"error": "it holds more than plain weights"}
    except OSError as problem:
        return {"error": problem.strerror or str(problem), "errno": problem.errno}
    except Exception as problem:  # a library's, about a file that may hold anything
        first = next((line.strip() for line in str(problem).splitlines() if line.strip()), type(problem).__name__)
        return {"error": f"it cannot be opened ({first.split('. ')[0][:160]})"}


if __name__ == "__main__":
    kind_, source_, folder_ = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    result = json.dumps(main(kind_, source_, folder_))
    (folder_ / FOUND).write_text(result, encoding="utf-8")
