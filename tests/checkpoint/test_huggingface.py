"""Model directories: what is written, what is read back, and every way in which a directory can be wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vidro.checkpoint.huggingface import from_hf_config, read_model, to_hf_config, write_model, write_weights
from vidro.config.presets import PRESETS
from vidro.config.schema import ModelConfig, RopeScaling
from vidro.core.errors import CheckpointError, ModelError
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes

GPT2 = ModelConfig(
    family="gpt2", vocab_size=320, context_length=12, d_model=24, n_layers=2, n_heads=3, n_kv_heads=3, d_head=8,
    d_ff=40, dropout=0.25, norm_eps=1e-5,
)  # fmt: skip
LLAMA = replace(GPT2, family="llama", n_heads=4, n_kv_heads=2, d_head=6, rope_scaling=RopeScaling(), rope_theta=5e5)
QWEN3 = replace(LLAMA, family="qwen3", rope_scaling=None, dropout=0.0)
every = pytest.mark.parametrize("config", [GPT2, LLAMA, QWEN3], ids=lambda config: config.family)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_bytes()


def random_model(config: ModelConfig) -> Transformer:
    model = Transformer(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


def settings(directory: Path, name: str = "config.json") -> dict[str, Any]:
    return json.loads((directory / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("tied", [False, True])
def test_config_there_and_back(name: str, tied: bool) -> None:
    config = replace(PRESETS[name], tie_embeddings=tied)
    assert from_hf_config(json.loads(json.dumps(to_hf_config(config)))) == config


@every
@pytest.mark.parametrize("tied", [False, True])
def test_written_and_read_back_is_the_same(
    config: ModelConfig, tied: bool, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = random_model(replace(config, tie_embeddings=tied))
    write_model(tmp_path, model, tokenizer)
    back = read_model(tmp_path)
    assert back.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), back.parameters(), strict=True))
    assert (back.head.weight is back.token_embedding.weight) == tied
    ids = torch.arange(10)[None]
    assert torch.equal(back.eval()(ids), model.eval()(ids))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


@every
def test_what_others_misread_is_said_in_every_way(config: ModelConfig, tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_model(tmp_path, random_model(config), tokenizer)
    written = settings(tmp_path)
    assert written["tie_word_embeddings"] is False
    assert written["torch_dtype"] == written["dtype"] == "float32"
    assert (written["bos_token_id"], written["eos_token_id"]) == (tokenizer.eot_id, tokenizer.eot_id)
    assert written["pad_token_id"] == tokenizer.pad_id != written["eos_token_id"]
    assert settings(tmp_path, "generation_config.json") == {
        key: written[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")
    }
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    if config.family != "gpt2":
        assert written["head_dim"] == config.d_head
        assert written["rope_theta"] == written["rope_parameters"]["rope_theta"] == config.rope_theta
    if config.rope_scaling is not None:
        old, new = written["rope_scaling"], written["rope_parameters"]
        assert old == {key: value for key, value in new.items() if key != "rope_theta"}
        assert old["rope_type"] == "llama3"


def test_a_pad_that_is_the_end_is_not_written(tmp_path: Path, tokenizer: Tokenizer) -> None:
    class Same:
        vocab_size, start_id, eot_id, pad_id = 320, 5, 5, 5

        def save(self, directory: Path) -> None: ...

    write_model(tmp_path, random_model(GPT2), Same())  # pyright: ignore[reportArgumentType]
    assert settings(tmp_path)["pad_token_id"] is None
    assert settings(tmp_path, "generation_config.json") == {"bos_token_id": 5, "eos_token_id": 5}


def test_half_size_weights(tmp_path: Path) -> None:
    model = random_model(QWEN3)
    write_model(tmp_path, model, dtype=torch.bfloat16)
    assert settings(tmp_path)["torch_dtype"] == "bfloat16"
    assert {t.dtype for t in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    assert read_model(tmp_path, dtype=None).head.weight.dtype == torch.bfloat16
    back = read_model(tmp_path)
    assert back.head.weight.dtype == torch.float32
    assert torch.equal(back.head.weight, model.head.weight.bfloat16().float())
    assert model.head.weight.dtype == torch.float32


def test_old_and_defaulted_keys() -> None:
    """Files of Transformers 4: no rope_parameters, no head_dim, `type` for `rope_type`, null for what is default."""
    values = to_hf_config(LLAMA)
    for key in ("rope_parameters", "dtype", "resid_pdrop", "architectures"):
        del values[key]
    values["rope_scaling"]["type"] = values["rope_scaling"].pop("rope_type")
    values["rope_theta"] = 500000
    assert from_hf_config(values) == replace(LLAMA, dropout=0.0)
    values |= {"head_dim": None, "num_key_value_heads": None, "rope_scaling": None}
    plain = from_hf_config(values)
    assert (plain.d_head, plain.n_kv_heads, plain.rope_scaling) == (6, 4, None)
    gpt2 = {"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
    assert from_hf_config({**gpt2, "n_inner": None}) == PRESETS["gpt2"]


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (
            LLAMA,
            {"model_type": "mistral"},
            "the architecture 'mistral' is not supported. Supported: gpt2, llama, qwen3.",
        ),
        (
            GPT2,
            {"architectures": ["GPT2ForTokenClassification"]},
            "GPT2ForTokenClassification is not a language model",
        ),
        (GPT2, {"activation_function": "relu"}, "activation_function = 'relu' is not supported"),
        (GPT2, {"activation_function": "gelu"}, "activation_function = 'gelu' is not supported"),
        (LLAMA, {"hidden_act": "gelu"}, "hidden_act = 'gelu' is not supported. Supported: silu."),
        (LLAMA, {"attention_bias": True}, "attention_bias = True is not supported"),
        (QWEN3, {"use_sliding_window": True}, "use_sliding_window = True is not supported"),
        (QWEN3, {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types = 'sliding_attention'"),
        (
            QWEN3,
            {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}},
            "the rotary scaling 'yarn' is not supported. Supported: default, llama3.",
        ),
        (
            LLAMA,
            {"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}},
            "the rotary scaling 'linear'",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(config: ModelConfig, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as error:
        from_hf_config({**to_hf_config(config), **change})
    assert str(error.value).startswith("config.json: " + message)


def test_damaged_settings(tmp_path: Path) -> None:
    values = to_hf_config(LLAMA)
    del values["hidden_size"]
    with pytest.raises(CheckpointError, match=r"^config\.json: hidden_size is missing$"):
        from_hf_config(values)
    with pytest.raises(CheckpointError, match="these sizes do not make a model"):
        from_hf_config({**to_hf_config(LLAMA), "num_key_value_heads": 3})
    for wrong in ("wide", 0, None, [24], 24.5):
        with pytest.raises(CheckpointError, match="these sizes do not make a model"):
            from_hf_config({**to_hf_config(LLAMA), "hidden_size": wrong})
    with pytest.raises(CheckpointError, match="these sizes do not make a model"):
        from_hf_config({**to_hf_config(GPT2), "n_head": 0})
    with pytest.raises(CheckpointError, match="this is not a JSON object"):
        from_hf_config([1])
    with pytest.raises(CheckpointError, match="there is no such file"):
        read_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "ll', encoding="utf-8")
    with pytest.raises(CheckpointError, match="this is not valid JSON"):
        read_model(tmp_path)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    write_model(tmp_path, random_model(LLAMA))
    return tmp_path


def test_missing_weights(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: there is no such file\. A model directory needs"):
        read_model(saved)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_weights_cut_short(saved: Path, share: float) -> None:
    path = saved / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError) as error:
        read_model(saved)
    assert "the weights cannot be read" in str(error.value)
    assert str(error.value).endswith("The file is cut short or altered.")
    assert "\n" not in str(error.value)


def test_tensors_that_do_not_fit(saved: Path) -> None:
    path = saved / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "model.norm.weight": torch.ones(25)}, path)
    with pytest.raises(CheckpointError) as error:
        read_model(saved)
    assert str(error.value) == (
        f"{saved}: the tensor final_norm.weight has the shape [25], and config.json asks for [24]"
    )
    save_file({**tensors, "model.norm.weight": torch.ones(24, dtype=torch.int32)}, path)
    with pytest.raises(CheckpointError, match=r"final_norm\.weight holds torch\.int32, not floats"):
        read_model(saved)
    save_file({name: t for name, t in tensors.items() if name != "lm_head.weight"}, path)
    with pytest.raises(CheckpointError, match=r"the tensor lm_head\.weight is missing"):
        read_model(saved)


def test_embeddings_must_be_as_many_as_the_settings_say(saved: Path) -> None:
    values = settings(saved)
    (saved / "config.json").write_text(json.dumps({**values, "vocab_size": 321}), encoding="utf-8")
    with pytest.raises(
        CheckpointError, match=r"token_embedding\.weight has the shape \[320, 24\].*asks for \[321, 24\]"
    ):
        read_model(saved)


def test_a_tokenizer_larger_than_the_model_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    small = replace(GPT2, vocab_size=tokenizer.vocab_size - 1)
    with pytest.raises(ModelError) as error:
        write_model(tmp_path, random_model(small), tokenizer)
    assert str(error.value) == (
        f"the tokenizer has {tokenizer.vocab_size} tokens, but the model knows {tokenizer.vocab_size - 1}. "
        "They do not belong together."
    )
    assert not list(tmp_path.iterdir())


def test_weights_in_several_files(saved: Path) -> None:
    tensors = load_file(saved / "model.safetensors")
    names = sorted(tensors)
    wanted = read_model(saved)
    pieces = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, part in pieces.items():
        save_file({name: tensors[name] for name in part}, saved / file)
    index = {"weight_map": {name: file for file, part in pieces.items() for name in part}}
    (saved / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (saved / "model.safetensors").unlink()
    back = read_model(saved)
    assert all(torch.equal(a, b) for a, b in zip(wanted.parameters(), back.parameters(), strict=True))
    (saved / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00002\.safetensors: there is no such file"):
        read_model(saved)


def test_a_failed_write_leaves_the_old_weights(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (saved / "model.safetensors").read_bytes()

    def torn(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("vidro.checkpoint.huggingface.save_tensors", torn)
    with pytest.raises(KeyboardInterrupt):
        write_weights(saved, random_model(LLAMA))
    assert (saved / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in saved.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]


def test_reading_draws_no_random_numbers_and_holds_no_file(saved: Path) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    model = read_model(saved)
    assert torch.equal(torch.get_rng_state(), state)
    (saved / "model.safetensors").write_bytes(b"")  # the weights are copies: the file may change under them
    assert model.head.weight.isfinite().all()
    assert not any(p.is_meta for p in [*model.parameters(), *model.buffers()])
    assert all(p.requires_grad for p in model.parameters())
