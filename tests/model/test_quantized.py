"""Eight-bit matrices: how exact they are, that rows leave each other alone, what they weigh, and what is refused."""

from __future__ import annotations

import re
import warnings
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidro.config.schema import ModelConfig
from vidro.core.errors import ModelError, UsageError
from vidro.infer.decode import decode
from vidro.model import quantized
from vidro.model.lora import LoRALinear, add_lora, lora_layers, merged_state
from vidro.model.quantized import Int8Linear, choose_engine, matrix_bytes, pack, quantize_int8
from vidro.model.transformer import Transformer

ENGINES = [name for name in quantized.ENGINES if name in torch.backends.quantized.supported_engines]
CONFIG = ModelConfig(
    family="gpt2", vocab_size=64, context_length=32, d_model=32, n_layers=2, n_heads=4, n_kv_heads=4, d_head=8,
    d_ff=64, tie_embeddings=True,
)  # fmt: skip


def matrix(rows: int = 96, columns: int = 256) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(1))


def loud_and_quiet() -> Tensor:
    """Eight rows, the first of them 1,000 times as loud as the others."""
    x = torch.randn(8, 256, generator=torch.Generator().manual_seed(2))
    x[0] *= 1000
    return x


def row_errors(found: Tensor, exact: Tensor) -> Tensor:
    """The relative error of each row."""
    return (found - exact).norm(dim=-1) / exact.norm(dim=-1)


def random_model(**changes: Any) -> Transformer:
    model = Transformer(replace(CONFIG, **changes)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0, 0.2, generator=generator)
    return model


# The arithmetic


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", [(256,), (1, 256), (3, 5, 256), (0, 256)])
def test_it_is_the_linear_layer_to_two_digits(engine: str, shape: tuple[int, ...]) -> None:
    weight, bias = matrix(), torch.linspace(-3, 3, 96)
    layer = Int8Linear(weight, bias, engine=engine)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    exact, found = nn.functional.linear(x, weight, bias), layer(x)
    assert found.shape == exact.shape
    assert found.numel() == 0 or float(row_errors(found - bias, exact - bias).max()) < 0.025


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loud_row_leaves_its_neighbours_alone(engine: str) -> None:
    x, weight = loud_and_quiet(), matrix()
    exact = x @ weight.T
    found = row_errors(Int8Linear(weight, engine=engine)(x), exact)
    assert float(found[1:].mean()) < 0.02
    assert float(found.max()) < 0.025
    plain = torch.ops.quantized.linear_dynamic(x, pack(weight, engine), reduce_range=engine == "fbgemm")
    assert float(row_errors(plain, exact)[1:].min()) > 0.2, "without the correction they are lost"


@pytest.mark.skipif("fbgemm" not in ENGINES, reason="this processor has no fbgemm")
def test_a_row_is_bit_for_bit_the_same_alone_and_in_company() -> None:
    x, layer = loud_and_quiet(), Int8Linear(matrix(), torch.linspace(-1, 1, 96), engine="fbgemm")
    together = layer(x)
    assert torch.equal(torch.cat([layer(row[None]) for row in x]), together)
    assert torch.equal(layer(x.flip(0)).flip(0), together)
    assert torch.equal(layer(x.repeat(20, 1))[:8], together)


@pytest.mark.parametrize("engine", ENGINES)
def test_zeros_stay_zeros_and_nan_stays_nan(engine: str) -> None:
    layer = Int8Linear(matrix(), engine=engine)
    assert torch.equal(layer(torch.zeros(2, 256)), torch.zeros(2, 96))
    silent = Int8Linear(torch.zeros(4, 256), engine=engine)
    assert torch.equal(silent(torch.ones(1, 256)), torch.zeros(1, 4))
    for broken in (float("nan"), float("inf")):
        x = torch.ones(1, 256)
        x[0, 7] = broken
        assert not bool(torch.isfinite(layer(x)).any())


@pytest.mark.parametrize("engine", ENGINES)
def test_each_weight_is_rounded_to_its_rows_own_scale(engine: str) -> None:
    weight = matrix() * torch.logspace(-4, 4, 96)[:, None]
    back = Int8Linear(weight, engine=engine).dequantized()
    step = weight.abs().amax(1, keepdim=True) / 127
    assert bool(((back - weight).abs() <= 0.501 * step).all())


# The model


@pytest.mark.parametrize("tied", [True, False])
def test_every_matrix_is_replaced_and_the_table_stays(tied: bool) -> None:
    model = random_model(tie_embeddings=tied)
    ids, table = torch.arange(32)[None], model.token_embedding.weight
    with torch.no_grad():
        before = model(ids)
    assert quantize_int8(model) is model
    assert not any(isinstance(layer, nn.Linear) for layer in model.modules())
    assert sum(isinstance(layer, Int8Linear) for layer in model.modules()) == 4 * CONFIG.n_layers + 1
    assert model.token_embedding.weight is table
    assert table.dtype == torch.float32
    with torch.no_grad():
        assert float(row_errors(model(ids)[0], before[0]).max()) < 0.06


def test_layers_that_read_the_same_numbers_become_one_and_no_output_changes() -> None:
    model = random_model(family="qwen3", n_kv_heads=2, tie_embeddings=False)
    block: Any = model.blocks[1]
    attention, feedforward = block.attention, block.feedforward
    alone = [Int8Linear(layer.weight) for layer in (attention.q_proj, attention.k_proj, attention.v_proj)]
    alone_too = [Int8Linear(layer.weight) for layer in (feedforward.gate, feedforward.up)]
    quantize_int8(model)
    assert sum(isinstance(layer, Int8Linear) for layer in model.modules()) == 4 * CONFIG.n_layers + 1
    for x in (torch.randn(1, 1, 32), torch.randn(2, 5, 32)):
        for joined, each in ((attention.qkv, alone), (feedforward.gate_up, alone_too)):
            found = joined(x)
            assert len(found) == len(each)
            assert all(torch.equal(part, layer(x)) for part, layer in zip(found, each, strict=True))


def test_no_two_forms_of_all_layers_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(tie_embeddings=False)
    weights = [weakref.ref(layer.weight) for layer in model.modules() if isinstance(layer, nn.Linear)]
    alive: list[int] = []

    def counting(weight: Tensor, engine: str) -> Any:
        alive.append(sum(each() is not None for each in weights))
        return pack(weight, engine)

    monkeypatch.setattr(quantized, "pack", counting)
    quantize_int8(model)
    assert alive == [13, 10, 7, 6, 5, 4, 3, 2, 1], "3 and 3 joined, then one after the other"
    assert not any(each() for each in weights)


def test_the_weights_are_really_smaller() -> None:
    model = random_model(d_model=128, d_ff=512, d_head=32, tie_embeddings=False)
    fp32, matrices = matrix_bytes(model), sum(4 * m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))
    quantize_int8(model)
    kept = [m.dequantized().numel() for m in model.modules() if isinstance(m, Int8Linear)]
    assert 4 * sum(kept) == matrices
    assert matrix_bytes(model) < fp32 - 0.69 * matrices
    assert sum(p.numel() for p in model.blocks.parameters()) == 2 * 2 * 2 * 128, "in the blocks only norms are fp32"


def test_thin_matrices_are_merged_first() -> None:
    model = random_model()
    add_lora(model, rank=2, alpha=4.0, targets=["q_proj", "down"], seed=1)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_b)
    plain = random_model()
    plain.load_state_dict(merged_state(model))
    ids = torch.arange(32)[None]
    with torch.no_grad():
        assert torch.equal(quantize_int8(model)(ids), quantize_int8(plain)(ids))
    assert not any(isinstance(layer, LoRALinear) for layer in model.modules())


def test_a_classifiers_head_is_quantised_too() -> None:
    model = quantize_int8(random_model(labels=("ham", "spam"), tie_embeddings=False))
    with torch.no_grad():
        assert model(torch.arange(5)[None]).shape == (1, 5, 2)


# What is refused, and what is left as it was


def test_a_gpu_is_refused() -> None:
    with torch.device("meta"):
        model = Transformer(CONFIG)
    with pytest.raises(UsageError, match="quantize: int8 runs on the CPU only, and the model is on meta"):
        quantize_int8(model)


def test_no_kernels_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantized, "ENGINES", ("kleidi",))
    with pytest.raises(UsageError, match="quantize: PyTorch has no int8 kernels for this processor"):
        choose_engine()


@pytest.mark.parametrize("name", ["blocks.1.feedforward.up", "blocks.0.attention.k_proj"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_broken_weight_is_named(number: float, name: str) -> None:
    model = random_model()
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight[3, 5] = number
    with pytest.raises(ModelError, match=f"{re.escape(name)}: a weight is not a number"):
        quantize_int8(model)


def test_it_is_not_saved() -> None:
    with pytest.raises(ModelError, match="an int8 model is not saved"):
        quantize_int8(random_model()).state_dict()


def test_nothing_is_warned_of_and_the_engine_is_put_back() -> None:
    before = torch.backends.quantized.engine
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = quantize_int8(random_model())
        with torch.no_grad():
            model(torch.arange(5)[None])
    assert torch.backends.quantized.engine == before
    assert list(decode(model, [[1, 2, 3]], quantized_options(), eot_id=None))


def quantized_options() -> Any:
    from vidro.config.schema import SamplingOptions

    return SamplingOptions(max_tokens=3, greedy=True)
