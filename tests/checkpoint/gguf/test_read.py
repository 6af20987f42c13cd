from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.checkpoint.gguf.raw_gguf import ARRAY, STRING, Raw, text, tiny_llama

from vidro.checkpoint.gguf.read import open_gguf
from vidro.core.errors import CheckpointError


def saved(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    return path


def refusal(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_gguf(saved(tmp_path, data))
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("version", [2, 3])
def test_settings_and_numbers_come_out_as_they_went_in(version: int, tmp_path: Path) -> None:
    raw = tiny_llama()
    raw.version = version
    raw.tensors["half"] = np.arange(6, dtype=np.float16).reshape(2, 3)
    file = open_gguf(saved(tmp_path, raw.bytes()))
    assert file.version == version
    for name, expected in raw.values.items():
        found = file.values[name]
        assert (found.tolist() if isinstance(found, np.ndarray) else found) == pytest.approx(expected) or (
            found == expected
        )
    weights = file.weights()
    assert list(weights) == list(raw.tensors)
    for name, expected in raw.tensors.items():
        assert weights[name].dtype == (torch.float16 if name == "half" else torch.float32)
        assert np.array_equal(weights[name].numpy(), expected)


def test_an_alignment_of_its_own(tmp_path: Path) -> None:
    raw = tiny_llama()
    raw.alignment, raw.values["general.alignment"] = 64, 64
    weights = open_gguf(saved(tmp_path, raw.bytes())).weights()
    assert np.array_equal(weights["output_norm.weight"].numpy(), raw.tensors["output_norm.weight"])


def test_bfloat16_and_blocks(tmp_path: Path) -> None:
    raw = Raw({}, {"b": np.array([0x3FC0, 0xC000], dtype=np.uint16)}, kinds={"b": 30})
    assert open_gguf(saved(tmp_path, raw.bytes())).weights()["b"].tolist() == [1.5, -2.0]
    scale = np.array([0.5], dtype=np.float16).tobytes()
    for kind, data, expected in (
        (8, scale + np.arange(-16, 16, dtype=np.int8).tobytes(), [n / 2 for n in range(-16, 16)]),
        (2, scale + bytes([0x80 + n for n in range(16)]), [(n - 8) / 2 for n in range(16)] + [0.0] * 16),
    ):
        head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("q") + struct.pack("<IQQIQ", 2, 32, 1, kind, 0)
        tensor = open_gguf(saved(tmp_path, head + bytes(-len(head) % 32) + data)).weights()["q"]
        assert tensor.shape == (1, 32)
        assert tensor.flatten().tolist() == expected


def test_a_type_that_is_not_read_is_named_with_a_way_out(tmp_path: Path) -> None:
    zeros = np.zeros((1, 256), dtype=np.float32)
    raw = Raw({}, {"good": zeros, "w": zeros}, kinds={"w": 12})
    file = open_gguf(saved(tmp_path, raw.bytes()))
    for ask in (file.check_types, lambda: file.weights()["w"]):
        with pytest.raises(CheckpointError, match=r"w is stored as Q4_K.*F16.*llama-quantize --allow-requantize"):
            ask()


def change(place: str, new: bytes) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        at = {"version": 4, "tensors": 8, "settings": 16, "name": 24}[place]
        return data[:at] + new + data[at + len(new) :]

    return changed


HUGE = struct.pack("<Q", 2**63 + 5)
DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "this is not a GGUF file"),
    "another file": (lambda data: b"PK\x03\x04" + data[4:], "this is not a GGUF file"),
    "version 1": (change("version", struct.pack("<I", 1)), "its version is 1. Versions 2 and 3"),
    "big-endian": (change("version", struct.pack(">I", 3)), "it is big-endian"),
    "tensors without end": (change("tensors", HUGE), "tensors are more than the file can hold"),
    "settings without end": (change("settings", HUGE), "settings are more than the file can hold"),
    "a name without end": (change("name", HUGE), "the name of a setting is 9,223,"),
    "cut in the settings": (lambda data: data[:400], "would go past the end of the file"),
    "cut in the numbers": (lambda data: data[:-64], "blk.1.ffn_down.weight would go past the end of the file"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    spoil, expected = DAMAGED[name]
    assert expected in refusal(tmp_path, spoil(tiny_llama().bytes()))


def one_setting(data: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + data + bytes(64)


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    endless = text("a") + struct.pack("<IIQ", ARRAY, STRING, 2**61)
    assert "items of a are more than the file can hold" in refusal(tmp_path, one_setting(endless))
    nested = text("a") + struct.pack("<IIQ", ARRAY, ARRAY, 1)
    assert "a is a list of the type 9" in refusal(tmp_path, one_setting(nested))
    assert "the unknown type 77" in refusal(tmp_path, one_setting(text("a") + struct.pack("<I", 77)))
    assert "neither true nor false" in refusal(tmp_path, one_setting(text("a") + struct.pack("<IB", 7, 2)))
    latin = struct.pack("<Q", 2) + b"\xe9\xe9"
    assert "not UTF-8" in refusal(tmp_path, one_setting(latin))
    breaking = refusal(tmp_path, one_setting(text("a\nb\x1b[2J") + struct.pack("<I", 77)))
    assert "'a\\nb\\x1b[2J'" in breaking
    twice = b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + 2 * (text("a") + struct.pack("<IB", 7, 1)) + bytes(64)
    assert "the setting a is there twice" in refusal(tmp_path, twice)


@pytest.mark.parametrize("alignment", [0, 3, 48, 2**20])
def test_an_alignment_that_cannot_be(alignment: int, tmp_path: Path) -> None:
    raw = tiny_llama()
    raw.values["general.alignment"] = alignment
    assert "general.alignment is not a power of two" in refusal(tmp_path, raw.bytes())


def tensor(sizes: tuple[int, ...], kind: int = 0, offset: int = 0, n_sizes: int | None = None) -> bytes:
    said = len(sizes) if n_sizes is None else n_sizes
    return text("w") + struct.pack(f"<I{len(sizes)}QIQ", said, *sizes, kind, offset)


def test_tensors_that_cannot_be(tmp_path: Path) -> None:
    def one(*infos: bytes) -> str:
        return refusal(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, len(infos), 0) + b"".join(infos) + bytes(256))

    assert "w has 5 dimensions" in one(tensor((1,) * 5))
    assert "w has 0 dimensions" in one(tensor((4, 4), n_sizes=0))
    assert "impossible sizes" in one(tensor((4, 0)))
    assert "impossible sizes for Q8_0" in one(tensor((33, 2), kind=8))
    assert "past the end" in one(tensor((2**32, 2**32)))  # the product is 0 in 64 bits
    assert "past the end" in one(tensor((4,), offset=2**64 - 32))
    assert "not aligned" in one(tensor((4,), offset=8))
    assert "unknown type 5" in one(tensor((4,), kind=5))
    assert "w is there twice" in one(tensor((4,)), tensor((4,), offset=32))
    other = text("v") + struct.pack("<IQIQ", 1, 4, 0, 32)
    assert "the tensors w and v lie on top of each other" in one(tensor((16,)), other)


def test_a_file_that_shrinks_afterwards(tmp_path: Path) -> None:
    path = saved(tmp_path, tiny_llama().bytes())
    weights = open_gguf(path).weights()
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CheckpointError, match="became shorter"):
        weights["blk.1.ffn_down.weight"]


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such file"):
        open_gguf(tmp_path / "none.gguf")
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_gguf(tmp_path)
