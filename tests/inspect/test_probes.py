from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vidro.config.schema import ModelConfig
from vidro.core.errors import RunError
from vidro.inspect import probes as module
from vidro.inspect.probe_files import read_probes, record_path, recorded_steps
from vidro.inspect.probes import ProbeRecorder, is_probe_step, kept_layers, probe
from vidro.inspect.sentences import Sentence
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes

TEXT = " ".join(f"On day {n} the hens went out. A fox saw {n + 5} of them from the hill." for n in range(30))


@pytest.fixture(scope="module")
def in_bytes() -> Tokenizer:
    return build_bytes()


def small_model(family: str = "qwen3", vocab_size: int = 320) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(
        ModelConfig(
            family=family, vocab_size=vocab_size, context_length=48, d_model=16, n_layers=2, n_heads=2, n_kv_heads=2,
            d_head=8, d_ff=24,
        )
    )  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def sentence(*ids: int) -> Sentence:
    return Sentence("", ids, tuple(str(token) for token in ids))


def test_the_steps_are_about_thirty_and_evenly_spaced_in_the_logarithm() -> None:
    steps = [step for step in range(20_000) if is_probe_step(step)] + [20_000]
    assert len(steps) == 30
    assert (steps[0], steps[-1]) == (0, 20_000)
    ratios = np.diff(np.log2(steps[8:-1]))
    assert ratios == pytest.approx(0.5, abs=0.07)


def test_the_steps_are_the_powers_of_the_root_of_two() -> None:
    powers = {round(2 ** (power / 2)) for power in range(29)}
    assert {step for step in range(20_000) if is_probe_step(step)} == {0, *powers}


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_the_last_stage_of_the_lens_is_the_model(family: str) -> None:
    model, ids = small_model(family), [319, 5, 17, 200, 44]
    arrays = probe(model, [sentence(*ids)], layers=[0, 1])
    with torch.no_grad():
        log_p = torch.log_softmax(model(torch.tensor([ids]))[0], dim=-1)
    best = log_p.topk(10)
    assert arrays["lens_ids"][0, -1].tolist() == best.indices.tolist()
    assert arrays["lens_logprobs"][0, -1] == pytest.approx(best.values.numpy(), abs=0.02)  # fp16
    losses = [-log_p[place, token].item() for place, token in enumerate(ids[1:])]
    assert arrays["token_loss_nats"][0, 1:] == pytest.approx(losses, rel=1e-4)
    assert np.isnan(arrays["token_loss_nats"][0, 0])
    ranks = [int((log_p[place] > log_p[place, token]).sum()) for place, token in enumerate(ids[1:])]
    assert arrays["lens_target_ranks"][0, -1, :-1].tolist() == ranks
    assert -arrays["lens_target_logprobs"][0, -1, :-1] == pytest.approx(losses, abs=0.02)


@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
def test_the_first_stage_is_the_embedding(family: str) -> None:
    model, ids = small_model(family), [319, 5, 17]
    arrays = probe(model, [sentence(*ids)], layers=[0, 1])
    with torch.no_grad():
        x = model.token_embedding(torch.tensor(ids))
        if model.position_embedding is not None:
            x = x + model.position_embedding.weight[:3]
        log_p = torch.log_softmax(model.head(model.final_norm(x)), dim=-1)
    assert arrays["lens_ids"][0, 0].tolist() == log_p.topk(10).indices.tolist()


def test_attention_rows_sum_to_one_and_never_look_ahead() -> None:
    arrays = probe(small_model(), [sentence(319, *range(12))], layers=[0, 1])
    attention = arrays["attention"]
    assert attention.shape == (1, 2, 2, 13, 13)
    assert attention.dtype == np.uint8
    assert np.abs(attention.sum(axis=-1).astype(int) - 255).max() <= 7  # rounding of 13 numbers
    assert not np.triu(attention, k=1).any()
    assert (attention[..., 0, 0] == 255).all()


def test_places_past_the_end_of_a_sentence_are_marked_and_change_nothing() -> None:
    model, short, long = small_model(), sentence(319, 4, 5), sentence(319, 9, 8, 7, 6, 5)
    both, alone = probe(model, [short, long], layers=[0, 1]), probe(model, [short], layers=[0, 1])
    for name, value in alone.items():
        inside = both[name][:1, ..., :3, :3] if name == "attention" else both[name][:1, ..., :3]
        inside = both[name][:1, :, :3] if name.startswith("lens") else inside
        np.testing.assert_allclose(inside.astype(float), value.astype(float), atol=1e-2)
    assert not both["attention"][0, :, :, 3:].any()
    assert (both["lens_ids"][0, :, 3:] == -1).all()
    assert (both["lens_target_ranks"][0, :, 2:] == -1).all()
    assert np.isnan(both["token_loss_nats"][0, 3:]).all()
    assert np.isnan(both["lens_logprobs"][0, :, 3:].astype(float)).all()


def test_a_record_is_written_and_read_back(tmp_path: Path, in_bytes: Tokenizer) -> None:
    recorder = ProbeRecorder(tmp_path / "probes", in_bytes, [TEXT], context_length=48)
    model = small_model(vocab_size=in_bytes.vocab_size).train()
    assert not (tmp_path / "probes").exists()
    for step in (0, 1, 123):
        recorder.record(model, step)
    assert model.training
    read = read_probes(tmp_path / "probes")
    assert read.steps == (0, 1, 123)
    assert record_path(read.directory, 123).name == "step-000123.safetensors"
    arrays = read.arrays(123)
    assert arrays["attention"].shape == (3, 2, 2, 32, 32)
    assert arrays["lens_ids"].shape == arrays["lens_logprobs"].shape == (3, 3, 32, 10)
    assert arrays["token_loss_nats"].shape == (3, 32)
    assert [len(s["ids"]) for s in read.header["sentences"]] == [32, 32, 32]
    assert read.header["tokenizer"] == in_bytes.fingerprint


def test_recording_a_step_again_writes_equal_bytes(tmp_path: Path, in_bytes: Tokenizer) -> None:
    model = small_model(vocab_size=in_bytes.vocab_size)
    written = []
    for _ in range(2):
        ProbeRecorder(tmp_path, in_bytes, [TEXT], context_length=48).record(model, 8)
        written.append([path.read_bytes() for path in sorted(tmp_path.iterdir())])
    assert written[0] == written[1]


def test_a_resumed_run_drops_later_records(tmp_path: Path, in_bytes: Tokenizer) -> None:
    recorder = ProbeRecorder(tmp_path, in_bytes, [TEXT], context_length=48)
    for step in (1, 64, 91):
        recorder.record(small_model(vocab_size=in_bytes.vocab_size), step)
    recorder.drop_after(64)
    assert recorded_steps(tmp_path) == [1, 64]
    recorder.drop_after(0)
    assert recorded_steps(tmp_path) == []
    assert recorded_steps(tmp_path / "never") == []


def test_what_is_due(tmp_path: Path, in_bytes: Tokenizer) -> None:
    recorder = ProbeRecorder(tmp_path, in_bytes, [TEXT], context_length=48)
    assert [step for step in range(12) if recorder.due(step)] == [0, 1, 2, 3, 4, 6, 8, 11]
    silent = ProbeRecorder(tmp_path / "none", in_bytes, [], context_length=48)
    silent.record(small_model(), 1)
    assert not silent.due(1)
    assert not (tmp_path / "none").exists()


def test_probes_of_another_run_are_not_mixed(tmp_path: Path, in_bytes: Tokenizer) -> None:
    model = small_model(vocab_size=in_bytes.vocab_size)
    ProbeRecorder(tmp_path, in_bytes, [TEXT], context_length=48).record(model, 1)
    with pytest.raises(RunError, match=r"the probes here are of other sentences or another model\. Remove"):
        ProbeRecorder(tmp_path, in_bytes, [TEXT[::-1]], context_length=48).record(model, 2)
    assert recorded_steps(tmp_path) == [1]


def test_damage_is_said(tmp_path: Path, in_bytes: Tokenizer) -> None:
    with pytest.raises(RunError, match=r"probes\.json: there is no such file"):
        read_probes(tmp_path)
    ProbeRecorder(tmp_path, in_bytes, [TEXT], context_length=48).record(small_model(vocab_size=in_bytes.vocab_size), 1)
    with pytest.raises(RunError, match=r"there is no probe of step 2\. There are: 1\."):
        read_probes(tmp_path).arrays(2)
    record = record_path(tmp_path, 1)
    record.write_bytes(record.read_bytes()[:500])
    with pytest.raises(RunError, match=r"step-000001\.safetensors: this probe cannot be read"):
        read_probes(tmp_path).arrays(1)
    header = json.loads((tmp_path / "probes.json").read_text())
    (tmp_path / "probes.json").write_text(json.dumps({**header, "format_version": 2}))
    with pytest.raises(RunError, match=r"these probes have format 2, this Vidro knows 1\. Update Vidro"):
        read_probes(tmp_path)


@pytest.mark.parametrize(
    ("n_layers", "n_heads", "expected"),
    [(4, 6, [0, 1, 2, 3]), (12, 12, list(range(12))), (48, 25, [0, 8, 16, 24, 31, 39, 47]), (3, 200, [2])],
)
def test_large_models_keep_evenly_spaced_layers(n_layers: int, n_heads: int, expected: list[int]) -> None:
    kept = kept_layers(n_layers, n_heads)
    assert kept == expected


def test_the_largest_record_stays_small() -> None:
    p, t, maps, stages = 3, 32, module.MOST_MAPS, 13
    n_bytes = p * maps * t * t + p * stages * t * (10 * 6 + 6) + p * t * 4
    assert n_bytes < 700_000
