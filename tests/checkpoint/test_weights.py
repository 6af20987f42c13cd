"""Tensors read from their place in a file: turned while they are read, or not, they are the same to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vidro.checkpoint.names import from_foreign_lazily, to_foreign
from vidro.checkpoint.weights import ROWS_AT_ONCE, InFile, Lazy, open_file
from vidro.config.schema import ModelConfig
from vidro.core.errors import CheckpointError
from vidro.model.transformer import Transformer

CONFIG = ModelConfig(
    family="gpt2", vocab_size=37, context_length=8, d_model=24, n_layers=2, n_heads=2, n_kv_heads=2, d_head=12, d_ff=80
)  # fmt: skip


def in_file(path: Path, tensor: torch.Tensor) -> InFile:
    save_file({"before": torch.arange(3), "x": tensor}, path)
    maker = open_file(path).makers["x"]
    assert isinstance(maker, InFile)
    return maker


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("n_rows", [1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 5])
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_matrix_turned_while_it_is_read(tmp_path: Path, dtype: torch.dtype, n_rows: int, pieces: int) -> None:
    matrix = torch.randn(n_rows, 3 * 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    turned = in_file(tmp_path / "one.safetensors", matrix).turned(pieces)
    assert len(turned) == pieces
    for piece, expected in zip(turned, matrix.mT.chunk(pieces), strict=True):
        assert torch.equal(piece, expected)
        assert piece.dtype == dtype
        assert piece.is_contiguous()
        assert piece.untyped_storage().nbytes() == piece.nbytes


def test_a_file_that_is_cut_after_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    maker = in_file(path, torch.zeros(2 * ROWS_AT_ONCE, 8))
    path.write_bytes(path.read_bytes()[:-1])
    for read in (maker, lambda: maker.turned(1)):
        with pytest.raises(CheckpointError, match="ends early"):
            read()


def test_settled_tensors_are_those_that_are_not(tmp_path: Path) -> None:
    model = Transformer(CONFIG)
    theirs = {name: tensor.contiguous() for name, tensor in to_foreign(model.state_dict(), CONFIG).items()}
    save_file(theirs, tmp_path / "model.safetensors")

    def state(settled: bool) -> Lazy:
        return from_foreign_lazily(open_file(tmp_path / "model.safetensors"), CONFIG, settled=settled)

    views, whole = state(False), state(True)
    for name, tensor in model.state_dict().items():
        assert torch.equal(views[name], tensor), name
        assert torch.equal(whole[name], tensor), name
    matrix = whole["blocks.1.attention.q_proj.weight"]
    assert matrix.untyped_storage().nbytes() == matrix.nbytes
    again = whole["blocks.1.attention.q_proj.weight"]
    assert torch.equal(again, matrix)
    assert again.data_ptr() != matrix.data_ptr()
