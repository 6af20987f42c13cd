"""Hostile and damaged .pth files: one line each, nothing of them is run, nothing grows beyond them.

Most are refused by the look at the file before any process is started for it. The restricted process is then tried
with what would get past that look.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.faults.pickles import Calls, evil, tensor_program, write_pth

from vidro.checkpoint.foreign.archive import check_pickle, check_table, check_weights
from vidro.checkpoint.foreign.pickled import _restricted
from vidro.checkpoint.foreign.unpickle import Refused, unpickle_weights
from vidro.core.errors import CheckpointError

GOOD = tensor_program(6, (2, 3), (3, 1))
RECORD = {"data/0": bytes(24)}
LONG_RUN = int(os.environ.get("VIDRO_MUTATIONS", "500"))


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        check_weights(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


def test_a_good_file_passes(tmp_path: Path) -> None:
    assert check_weights(write_pth(tmp_path / "x.pth", GOOD, RECORD)) > 500


# Pickles that do something


def touch(path: Path) -> str:
    return f"{sys.executable} -c \"open({str(path)!r}, 'w')\""


def test_code_is_never_run(tmp_path: Path) -> None:
    sign = tmp_path / "it-was-run"
    for function, arguments, name in (
        (os.system, (touch(sign),), "posix.system" if os.name == "posix" else "nt.system"),
        (subprocess.Popen, ([sys.executable, "-c", ""],), "commands.Popen"),  # how the old protocol calls it
        (exec, (f"open({str(sign)!r}, 'w')",), "builtins.exec"),
        (eval, ("1",), "builtins.eval"),
        (getattr, (1, "real"), "builtins.getattr"),
        (__import__, ("os",), "builtins.__import__"),
    ):
        line = refused(write_pth(tmp_path / "x.pth", evil(function, *arguments), RECORD))
        assert f"wants {name.replace('builtins', '__builtin__')} to be called" in line, line
        assert line.endswith("Nothing of it was run. Ask whoever made it for safetensors.")
    pickle.loads(evil(os.system, touch(sign)))
    assert sign.exists(), "the same bytes, opened as Python opens them, do run: the test can fail"


def test_a_whole_model_is_refused_with_how_to_convert(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
    line = refused(tmp_path / "x.pth")
    assert line.startswith(
        "it is a whole pickled object (torch.nn.modules.linear.Linear), not weights. Where the model"
    )
    assert 'torch.save(model.state_dict(), "model.pth")' in line
    in_a_notebook = b"\x80\x02c__main__\nGPTModel\nq\x00)\x81."
    assert "a whole pickled object (__main__.GPTModel)" in refused(write_pth(tmp_path / "x.pth", in_a_notebook))
    torch.save({"model": {"w": torch.ones(1)}, "path": Path("x")}, tmp_path / "x.pth")
    assert "it holds a pathlib." in refused(tmp_path / "x.pth")


PROGRAMS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "its pickle cannot be read (pickle exhausted before seeing STOP)"),
    "no end": (GOOD[:-1], "its pickle cannot be read"),
    "a name put together": (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "its pickle holds STACK_GLOBAL"),
    "an old call": (b"(S'ls'\nios\nsystem\n.", "its pickle holds STRING"),
    "a code of the registry": (b"\x80\x02\x82\x01.", "its pickle holds EXT1"),
    "a new object": (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "its pickle holds NEWOBJ"),
    "a text of four gigabytes": (b"\x80\x02X\xff\xff\xff\xff.", "its pickle cannot be read"),
    "a number of two gigabytes": (b"\x80\x02\x8b\xff\xff\xff\x7f.", "its pickle cannot be read"),
    "a name in other letters": ("\x80\x02cos\nsÿstem\n.".encode("latin-1"), "its pickle"),
    "a name over two lines": (b"\x80\x02cos\r\nsystem\n.", "beside plain weights"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_instructions_that_no_weights_need(name: str, tmp_path: Path) -> None:
    program, expected = PROGRAMS[name]
    assert expected in refused(write_pth(tmp_path / "x.pth", program, RECORD))


def test_a_billion_laughs_and_a_giant_take_no_memory(tmp_path: Path) -> None:
    laughs: list[Any] = ["ha"] * 10
    for _ in range(60):
        laughs = [laughs] * 10
    path = write_pth(tmp_path / "x.pth", pickle.dumps({"w": laughs}, protocol=2))
    size = check_weights(path)  # nothing in it acts, and what is opened is looked at two levels deep only
    with pytest.raises(Refused, match="there are no weights in it"):
        unpickle_weights(path, tmp_path, size)
    giant = write_pth(path, tensor_program(6, (10**6, 10**6), (0, 0)), RECORD)
    with pytest.raises(Refused, match="is said to be larger than the file"):
        unpickle_weights(giant, tmp_path, check_weights(giant))
    assert [each.name for each in tmp_path.iterdir()] == ["x.pth"]


# Archives


def test_forms_that_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"w": torch.ones(1)}, path, _use_new_zipfile_serialization=False)
    assert "it has the form of PyTorch before 1.6. Where the model was made: torch.save(torch.load(" in refused(path)
    path.write_bytes(bytes(257) + b"ustar" + bytes(800))
    assert "the form of PyTorch before 1.6" in refused(path)
    path.write_bytes(pickle.dumps({"w": 1}))
    assert "a bare pickle, not written by torch.save" in refused(path)
    path.write_bytes(b"")
    assert "the file is empty" in refused(path)
    path.write_bytes(b"GGUF" + bytes(100))
    assert "it was not written by torch.save" in refused(path)
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), path)
    assert "a TorchScript program" in refused(path)


def test_zips_that_torch_never_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    assert "is compressed or locked" in refused(
        write_pth(path, GOOD, {"data/0": bytes(10**7)}, form=zipfile.ZIP_DEFLATED)
    ), "a bomb"
    for name in ("../../evil", "data/../../evil", "data//0", "data/./0", "C:\\evil"):
        assert "never writes" in refused(write_pth(path, GOOD, {**RECORD, name: b"x"})), name
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("/etc/passwd", b"x")
    assert "no folder of their own" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/version", b"3")
    assert "no data.pkl in it" in refused(path)
    assert "big-endian" in refused(_with_order(path, b"big"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", GOOD)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("model/data.pkl", evil(os.system, "true"))
    assert "a name twice" in refused(path)


def _with_order(path: Path, order: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", GOOD)
        archive.writestr("model/byteorder", order)
    return path


def test_a_directory_of_millions_is_not_read(tmp_path: Path) -> None:
    path = write_pth(tmp_path / "x.pth", GOOD, RECORD)
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x05\x06")
    data[at + 12 : at + 16] = struct.pack("<I", 0x7FFF_FFFF)
    path.write_bytes(data)
    assert "its directory names" in refused(path)


def test_two_records_at_one_place(tmp_path: Path) -> None:
    path = write_pth(tmp_path / "x.pth", GOOD, {**RECORD, "data/1": bytes(24)})
    with zipfile.ZipFile(path) as archive:
        places = [archive.getinfo(f"model/data/{number}").header_offset for number in range(2)]
    data = path.read_bytes()
    directory = data.rfind(b"model/data/1") - 46
    forged = data[: directory + 42] + struct.pack("<I", places[0]) + data[directory + 46 :]
    path.write_bytes(forged)
    assert "does not lie where its directory says" in refused(path)


def test_a_flipped_bit_in_the_weights_is_seen(tmp_path: Path) -> None:
    path = write_pth(tmp_path / "x.pth", GOOD, {"data/0": b"0123456789" * 20})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"0123456789", b"0123456788", 1))
    assert "the record 'model/data/0' does not have its checksum" in refused(path)


def mutate(data: bytearray, chance: random.Random) -> None:
    """One change: a bit, a number, bytes cut out, bytes doubled, the rest torn off."""
    at, what = chance.randrange(len(data)), chance.randrange(5)
    if what == 0:
        data[at] ^= 1 << chance.randrange(8)
    elif what == 1:
        data[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", bytes(4), b"\xff\xff\xff\x7f"))
    elif what == 2:
        del data[at : at + chance.randrange(1, 60)]
    elif what == 3:
        data[at:at] = data[at : at + chance.randrange(1, 60)]
    else:
        del data[at:]
    if not data:
        data += b"P"


def line_of(check: Callable[..., object], *arguments: object) -> str:
    """The one line of a refusal; nothing where it passes."""
    try:
        check(*arguments)
    except CheckpointError as problem:
        return str(problem) if "\n" not in str(problem) else pytest.fail(str(problem))
    return ""


def test_mutated_files_give_one_line_each(tmp_path: Path) -> None:
    """Bytes changed, cut out, doubled and torn off at random, in the archive's bookkeeping above all."""
    source = tmp_path / "good.pth"
    state = {f"trf_blocks.{n}.att.W_query.weight": torch.full((3, 3), float(n)) for n in range(6)}
    torch.save({"model": state, "model_args": {"n_head": 3}}, source)
    good, path, chance = source.read_bytes(), tmp_path / "x.pth", random.Random(20)
    n_refused = 0
    for _ in range(LONG_RUN):
        data = bytearray(good)
        for _ in range(chance.choice((1, 1, 2, 8))):
            mutate(data, chance)
        path.write_bytes(data)
        n_refused += bool(line_of(check_weights, path))
    assert n_refused > 0.8 * LONG_RUN, "nearly every change must be seen (not those between the records)"


def test_mutated_pickles_are_understood_or_refused() -> None:
    """As above, for a pickle whose checksum is right: what passes holds only what weights need."""
    program, chance = tensor_program(6, (2, 3), (3, 1)), random.Random(21)
    passed = 0
    for _ in range(LONG_RUN):
        data = bytearray(program)
        for _ in range(chance.choice((1, 2, 6))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        passed += not line_of(check_pickle, bytes(data), Path("x.pth"))
    assert 0 < passed < LONG_RUN


def test_tables_hold_characters_only(tmp_path: Path) -> None:
    path = tmp_path / "meta.pkl"
    path.write_bytes(pickle.dumps({"itos": {0: "a"}, "stoi": {"a": 0}, "vocab_size": 1}))
    check_table(path)
    for data in (evil(os.system, "true"), pickle.dumps(Path("x")), pickle.dumps({"x": Calls(exec, "")}, protocol=4)):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="does more than list characters"):
            check_table(path)


# The restricted process, given what would have been refused before


def restricted(kind: str, path: Path, folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        _restricted(kind, path, folder, path.stat().st_size)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_process_runs_no_code(tmp_path: Path) -> None:
    sign, folder = tmp_path / "it-was-run", tmp_path / "folder"
    folder.mkdir()
    attack = write_pth(tmp_path / "evil.pth", evil(os.system, touch(sign)))
    assert "it holds more than plain weights" in restricted("weights", attack, folder)
    table = tmp_path / "meta.pkl"
    table.write_bytes(evil(os.system, touch(sign)))
    assert "asks for posix.system" in restricted("table", table, folder)
    assert not sign.exists()
    assert sorted(path.name for path in folder.iterdir()) == ["found.json"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system's part of the walls is Linux's")
def test_the_walls_of_the_process(tmp_path: Path) -> None:
    """What a file could do if it did outwit the unpickler: nothing outside its folder, and no more than its size."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    program = f"""
import json, os, socket, subprocess, sys
from pathlib import Path
from vidro.checkpoint.foreign.unpickle import Refused, forbid, leave_the_network, limit
alone = leave_the_network()
def tried(action):
    try:
        action()
    except (Refused, MemoryError, OSError) as problem:
        return type(problem).__name__
    return "done"
server = socket.create_server(("127.0.0.1", 0))
reached = tried(lambda: socket.create_connection(("192.0.2.1", 80), 1))
ready = socket.socket()
limit(10_000_000)
result = {{"memory": tried(lambda: bytearray(10**9))}}
forbid(Path({str(inside)!r}))
result |= {{
    "write": tried(lambda: open({str(outside)!r}, "w")),
    "write by number": tried(lambda: os.open({str(outside)!r}, os.O_CREAT | os.O_WRONLY)),
    "append": tried(lambda: Path({str(outside)!r}).open("ab")),
    "climb": tried(lambda: open({str(inside)!r} + "/../outside", "w")),
    "remove": tried(lambda: os.remove({str(__file__)!r})),
    "system": tried(lambda: os.system("true")),
    "process": tried(lambda: subprocess.run(["true"])),
    "fork": tried(os.fork),
    "connect": tried(lambda: ready.connect(("127.0.0.1", 1))),
    "socket": tried(socket.socket),
    "read": tried(lambda: open({str(__file__)!r})),
    "write inside": tried(lambda: open({str(inside / "x")!r}, "w")),
    "too much": tried(lambda: Path({str(inside / "x")!r}).write_bytes(bytes(90_000_000))),
}}
print(json.dumps([alone, reached, result]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    alone, reached, result = json.loads(done.stdout)
    assert not alone or reached == "OSError", "a network of its own leads nowhere"
    assert result.pop("memory") == "MemoryError"
    assert result.pop("too much") == "OSError"
    assert [result.pop(name) for name in ("read", "write inside")] == ["done", "done"]
    assert set(result.values()) == {"Refused"}, result
    assert not outside.exists()
