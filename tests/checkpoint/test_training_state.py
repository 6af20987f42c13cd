from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vidro.checkpoint.training_state import (
    checkpoint_steps,
    load_checkpoint,
    newest_complete,
    save_checkpoint,
    verify_checkpoint,
)
from vidro.core.errors import CheckpointError


def save(directory: Path, step: int, value: float = 1.0) -> Path:
    return save_checkpoint(
        directory,
        step,
        config={"model_type": "qwen3"},
        model={"w": torch.full((4, 4), value)},
        optimizer={"mean.w": torch.zeros(4), "rng.cpu": torch.get_rng_state()},
        state={"loop": {"step": step, "loss": 0.1 + 0.2}},
    )


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(save(tmp_path, 7, 1 / 3))
    assert torch.equal(checkpoint.model["w"], torch.full((4, 4), 1 / 3))
    assert torch.equal(checkpoint.optimizer["rng.cpu"], torch.get_rng_state())
    assert checkpoint.state["loop"] == {"step": 7, "loss": 0.1 + 0.2}
    assert [path.name for path in tmp_path.iterdir()] == ["step-7"]


def test_the_same_step_again_takes_the_place_of_the_old(tmp_path: Path) -> None:
    save(tmp_path, 3, 1.0)
    save(tmp_path, 3, 2.0)
    assert load_checkpoint(tmp_path / "step-3").model["w"][0, 0] == 2.0


def test_what_a_kill_left_half_written_is_not_a_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / ".step-2.tmp").mkdir()
    (tmp_path / ".step-2.tmp" / "model.safetensors").write_bytes(b"half")
    assert checkpoint_steps(tmp_path) == [1]
    save(tmp_path, 2)  # and it is no obstacle
    assert checkpoint_steps(tmp_path) == [1, 2]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "config.json"])
@pytest.mark.parametrize("damage", ["cut", "altered", "missing"])
def test_any_damage_is_named_and_an_earlier_one_is_used(tmp_path: Path, name: str, damage: str) -> None:
    save(tmp_path, 1)
    file = save(tmp_path, 2) / name
    data = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(data[:-1])
    elif damage == "altered":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    else:
        file.unlink()
    words = {"cut": "bytes instead of", "altered": "does not match its checksum", "missing": "is missing"}
    with pytest.raises(CheckpointError, match=f"step-2: {name}.*{words[damage]}"):
        verify_checkpoint(tmp_path / "step-2")
    path, notes = newest_complete(tmp_path)
    assert path == tmp_path / "step-1"
    assert len(notes) == 1
    assert "falling back to an earlier checkpoint" in notes[0]


def test_a_missing_or_torn_manifest_does_not_count(tmp_path: Path) -> None:
    manifest = save(tmp_path, 1) / "manifest.json"
    manifest.write_text(manifest.read_text()[:-20])
    assert newest_complete(tmp_path)[0] is None
    manifest.unlink()
    assert newest_complete(tmp_path)[0] is None


def test_a_newer_format_is_a_clear_error(tmp_path: Path) -> None:
    manifest = save(tmp_path, 1) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 1', '"format_version": 99'))
    with pytest.raises(CheckpointError, match=r"written by a newer Vidro. Update Vidro."):
        verify_checkpoint(tmp_path / "step-1")


def test_only_up_to_a_step(tmp_path: Path) -> None:
    for step in (5, 10, 20):
        save(tmp_path, step)
    assert newest_complete(tmp_path, at_most=12)[0] == tmp_path / "step-10"
