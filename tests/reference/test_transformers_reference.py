"""Equal to Transformers with the same random weights, in both directions; and to minGPT's recorded activations."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidro.checkpoint.huggingface import from_hf_tensors, read_model, write_model
from vidro.config.schema import ModelConfig, RopeScaling
from vidro.model.attention import Attention
from vidro.model.trace import Trace
from vidro.model.transformer import Transformer
from vidro.text.train import build_bytes

transformers = pytest.importorskip("transformers")


def shape(family: str, **changes: Any) -> ModelConfig:
    sizes: dict[str, Any] = {
        "family": family, "vocab_size": 320, "context_length": 40, "d_model": 48, "n_layers": 2, "n_heads": 4,
        "n_kv_heads": 4, "d_head": 12, "d_ff": 72, "norm_eps": 1e-5,
    }  # fmt: skip
    return ModelConfig(**{**sizes, **changes})


SCALED = RopeScaling(factor=4.0, original_context_length=16)
CASES = {
    "gpt2 tied": shape("gpt2", tie_embeddings=True),
    "gpt2 untied": shape("gpt2", d_ff=192),
    "llama tied": shape("llama", tie_embeddings=True),
    "llama untied, other theta": shape("llama", rope_theta=500.0),
    "llama grouped": shape("llama", n_kv_heads=2),
    "llama one key/value head": shape("llama", n_kv_heads=1, d_model=52),
    "llama odd heads": shape("llama", n_heads=9, n_kv_heads=3, d_head=6, d_model=54),
    "llama stretched": shape("llama", n_kv_heads=2, rope_scaling=SCALED),
    "qwen3 head width of its own": shape("qwen3", n_heads=3, n_kv_heads=3, d_head=32),
    "qwen3 grouped, tied": shape("qwen3", n_kv_heads=2, d_head=20, tie_embeddings=True),
}
cases = pytest.mark.parametrize("config", CASES.values(), ids=CASES.keys())


def shaken(model: torch.nn.Module, seed: int = 0) -> None:
    """Random weights everywhere, norms and biases included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.15)


def assert_same_logits(ours: Transformer, theirs: Any) -> None:
    ids = torch.randint(320, (3, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mine, yours = ours.eval()(ids), theirs.eval()(ids).logits
    assert yours.std() > 0.1, "logits that hardly differ would prove nothing"
    assert ((mine - yours).abs().max() / yours.abs().max()).item() < 1e-5


@cases
def test_transformers_opens_what_we_write(config: ModelConfig, tmp_path: Path) -> None:
    ours = Transformer(config)
    shaken(ours)
    tokenizer = build_bytes()
    write_model(tmp_path, ours, tokenizer)
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.eos_token_id == theirs.generation_config.eos_token_id == tokenizer.eot_id
    assert_same_logits(ours, theirs)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "Olá, “world”!\n\n  42 <|endoftext|"
    assert their_tokenizer(text)["input_ids"] == tokenizer.encode(text)
    assert their_tokenizer.pad_token_id == tokenizer.pad_id


@cases
def test_we_open_what_transformers_writes(config: ModelConfig, tmp_path: Path) -> None:
    write_model(tmp_path / "seed", Transformer(config))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "seed")
    shaken(theirs, seed=2)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = read_model(tmp_path / "theirs")
    assert ours.config == config
    assert_same_logits(ours, theirs)


@cases
def test_the_same_greedy_continuation(config: ModelConfig, tmp_path: Path) -> None:
    ours = Transformer(config).eval()
    shaken(ours, seed=3)
    write_model(tmp_path, ours)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([[5, 17, 200]])
    wanted = theirs.generate(ids, max_new_tokens=20, do_sample=False, pad_token_id=0)
    with torch.no_grad():
        for _ in range(20):
            ids = torch.cat((ids, ours(ids)[:, -1:].argmax(-1)), dim=1)
    assert ids.tolist() == wanted.tolist()


def test_half_size_weights_open_as_they_are(tmp_path: Path) -> None:
    ours = Transformer(CASES["qwen3 grouped, tied"])
    shaken(ours)
    write_model(tmp_path, ours, dtype=torch.bfloat16)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert theirs.dtype == torch.bfloat16
    assert_same_logits(read_model(tmp_path), theirs.float())


# minGPT's sorter of digits: trained elsewhere, recorded elsewhere


@pytest.fixture(scope="module")
def sorter(shared_data: Path) -> tuple[Transformer, dict[str, Any]]:
    folder = shared_data / "weights" / "gpt-nano-sort"
    if not folder.is_dir():
        pytest.skip("the sorter's weights are not on this machine")
    stored = json.loads((folder / "gpt-nano-sort-model.json").read_text(encoding="utf-8"))
    sizes = stored.pop("config")
    config = ModelConfig(
        family="gpt2", vocab_size=3, context_length=11, d_model=48, n_layers=3, n_heads=3, n_kv_heads=3, d_head=16,
        d_ff=192, norm_eps=1e-5,
    )  # fmt: skip
    assert (sizes["n_layer"], sizes["n_head"], sizes["n_embd"]) == (3, 3, 48)
    tensors = {name: unpacked(entry) for name, entry in stored.items()}
    for name, tensor in tensors.items():  # minGPT keeps [out, in], Transformers' GPT-2 [in, out]
        if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            tensors[name] = tensor.T
    model = Transformer(config).eval()
    model.load_state_dict(from_hf_tensors(tensors, config))
    partials = json.loads((folder / "gpt-nano-sort-t0-partials.json").read_text(encoding="utf-8"))
    return model, partials


def unpacked(entry: dict[str, Any]) -> torch.Tensor:
    kind = np.dtype(entry["dtype"].removeprefix("torch.")).newbyteorder("<")
    return torch.from_numpy(np.frombuffer(base64.b64decode(entry["data"]), kind).copy()).reshape(entry["shape"])


def test_recorded_activations(sorter: tuple[Transformer, dict[str, Any]]) -> None:
    model, partials = sorter
    trace = Trace()
    with torch.no_grad():
        logits = model(unpacked(partials["idx"]).long(), trace=trace)
    attention = model.blocks[0].attention
    assert isinstance(attention, Attention)
    assert trace.final is not None
    assert trace.token_embedding is not None
    got = {
        "tok_emb": trace.token_embedding, "pos_emb": trace.position_embedding, "attSm": trace.attention[0],
        "block0": trace.residual[0], "block1": trace.residual[1], "block2": trace.residual[2],
        "ln_f": trace.final, "lm_head": logits, "probs": logits.softmax(-1),
    }  # fmt: skip
    for name, tensor in got.items():
        torch.testing.assert_close(
            tensor, unpacked(partials[name]), atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )
    assert (logits - unpacked(partials["lm_head"])).abs().max() < 5e-6


def test_it_sorts(sorter: tuple[Transformer, dict[str, Any]]) -> None:
    model, _ = sorter
    digits = torch.randint(3, (200, 6), generator=torch.Generator().manual_seed(0))
    ids = digits
    with torch.no_grad():
        for _ in range(6):
            ids = torch.cat((ids, model(ids[:, :11])[:, -1:].argmax(-1)), dim=1)
    assert torch.equal(ids[:, 6:], digits.sort(dim=1).values)
