"""Damaged and hostile model directories: one line each, and nothing outside the directory is read.

Every altered file is either read as a model or refused by a VidroError of one line; never another exception, a hang, or
memory that the file does not have. `VIDRO_MUTATIONS=10000` asks for more of them than the 500 of each kind here.
"""

from __future__ import annotations

import json
import os
import random
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from vidro.checkpoint.foreign import directory, source
from vidro.checkpoint.foreign.write import write_foreign
from vidro.checkpoint.huggingface import write_model
from vidro.config.schema import ModelConfig
from vidro.core.errors import CheckpointError, ModelError, StorageError, TokenizerError, UsageError, VidroError
from vidro.model.transformer import Transformer
from vidro.text.train import build_bytes

N_MUTATIONS = int(os.environ.get("VIDRO_MUTATIONS", "500"))
MOST_GROWTH_KB = 400_000
LLAMA = ModelConfig(
    family="llama", vocab_size=320, context_length=32, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, d_head=8,
    d_ff=24,
)  # fmt: skip
GPT2 = ModelConfig(
    family="gpt2", vocab_size=320, context_length=32, d_model=16, n_layers=1, n_heads=2, n_kv_heads=2, d_head=8,
    d_ff=24, labels=("ham", "spam"),
)  # fmt: skip
TOKENIZER = build_bytes()
INTERESTING = (
    0, -1, 1, 2**15, 2**31, 2**32, 2**63, 2**64, 10**30, -(10**30), 1e308, 0.5, True, None, "", "x", "../x", [], {},
    [1], {"a": 1}, [[]], "\0",
)  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A whole directory in two shards."""
    path = tmp_path / "model"
    path.mkdir()
    write_model(path, Transformer(LLAMA), TOKENIZER)
    tensors = load_file(path / "model.safetensors")
    names = sorted(tensors)
    pieces = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for file, part in pieces.items():
        save_file({name: tensors[name] for name in part}, path / file)
    index = {"metadata": {}, "weight_map": {name: file for file, part in pieces.items() for name in part}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    (path / "model.safetensors").unlink()
    return path


def outcome(path: Path) -> str:
    """ "read", or the line with which it was refused; every tensor is asked for."""
    try:
        found = directory.read(path, tokenizer=TOKENIZER)
        for name in found.state:
            found.state[name].sum()
        (path.parent / "out").mkdir(exist_ok=True)
        write_foreign(path.parent / "out", found)
    except VidroError as problem:
        line = str(problem)
        assert "\n" not in line
        assert len(line) < 1000
        return line
    return "read"


def check_all(path: Path, file: Path, versions: Any) -> dict[str, int]:
    """Write each version of a file and look at what becomes of it; how many were read and refused."""
    before_kb, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    counts = {"read": 0, "refused": 0}
    for number, data in enumerate(versions):
        file.write_bytes(data)
        began = time.monotonic()
        try:
            counts["read" if outcome(path) == "read" else "refused"] += 1
        except Exception as problem:
            raise AssertionError(f"version {number}: {problem!r}") from problem
        assert time.monotonic() - began < 20, f"version {number} hung"
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    assert grown_kb < MOST_GROWTH_KB, f"{grown_kb} kB more, {time.monotonic() - started:.0f} s"
    return counts


def altered_bytes(data: bytes, n: int, seed: int, where: int) -> Any:
    """Versions of a file with a few bytes altered, mostly among the first `where`; cut short; or with bytes put in."""
    dice = random.Random(seed)
    for _ in range(n):
        new = bytearray(data)
        kind = dice.random()
        if kind < 0.1:
            yield bytes(new[: dice.randrange(len(new))])
            continue
        if kind < 0.2:
            at = dice.randrange(where)
            new[at:at] = dice.randbytes(dice.randrange(1, 9))
        for _ in range(dice.choice((1, 1, 2, 8))):
            at = dice.randrange(min(where, len(new))) if dice.random() < 0.9 else dice.randrange(len(new))
            new[at] = dice.choice(
                (0, 255, 0x30 + dice.randrange(10), dice.randrange(256), new[at] ^ (1 << dice.randrange(8)))
            )
        yield bytes(new)


def altered_header(data: bytes, n: int, seed: int) -> Any:
    """Versions of a safetensors file whose table says something else about one tensor: offsets, shapes …"""
    dice = random.Random(seed)
    size = int.from_bytes(data[:8], "little")
    for _ in range(n):
        table = json.loads(data[8 : 8 + size])
        table = altered_value(table, dice)
        header = json.dumps(table).encode()
        said = len(header) if dice.random() < 0.9 else dice.choice((0, 1, 2**20, 2**40, 2**63, 2**64 - 1))
        yield said.to_bytes(8, "little") + header + data[8 + size :]


def altered_value(value: Any, dice: random.Random) -> Any:
    """One number, text or branch of a JSON value is another."""
    if isinstance(value, dict) and value and dice.random() < 0.93:
        key = dice.choice(sorted(value))
        if dice.random() < 0.1:
            return {name: each for name, each in value.items() if name != key}
        return {**value, key: altered_value(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.9:
        at = dice.randrange(len(value))
        return [*value[:at], altered_value(value[at], dice), *value[at + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and dice.random() < 0.5:
        return value + dice.choice((-1, 1, 4, 7, 2**31, -(2**40), value, 10**18))
    return dice.choice(INTERESTING)


def test_altered_weights(model: Path) -> None:
    file = model / "model-00001-of-00002.safetensors"
    data = file.read_bytes()
    where = 8 + int.from_bytes(data[:8], "little")
    half = N_MUTATIONS // 2
    found = check_all(model, file, altered_bytes(data, half, 1, where))
    also = check_all(model, file, altered_header(data, N_MUTATIONS - half, 2))
    assert found["refused"] > half / 2
    assert also["refused"] > half / 2


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_altered_settings(name: str, model: Path) -> None:
    file = model / name
    data = file.read_bytes()
    dice = random.Random(name)
    values = (json.dumps(altered_value(json.loads(data), dice)).encode() for _ in range(N_MUTATIONS // 5))
    check_all(model, file, values)
    check_all(model, file, altered_bytes(data, N_MUTATIONS // 5, 3, len(data)))
    for whole in (b"", b"[]", b"null", b"1" * 5000, b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe{}", b"{}"):
        file.write_bytes(whole)
        assert outcome(model) != "read"


def test_altered_settings_of_a_classifier(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    write_model(path, Transformer(GPT2), TOKENIZER)
    file, dice = path / "config.json", random.Random(4)
    data = json.loads(file.read_bytes())
    check_all(path, file, (json.dumps(altered_value(data, dice)).encode() for _ in range(N_MUTATIONS // 5)))


# -- index files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "a/../../secret.safetensors", "sub/x.safetensors", "..", "",
             "secret\x00.safetensors", "C:secret.safetensors", "..\\secret.safetensors", "model.bin"],
)  # fmt: skip
def test_an_index_that_leaves_its_directory(name: str, model: Path) -> None:
    (model.parent / "secret.safetensors").write_bytes((model / "model-00001-of-00002.safetensors").read_bytes())
    change_index(model, "lm_head.weight", name)
    assert "which is not a file of this directory. Nothing outside was read" in outcome(model)


def test_a_link_that_leaves_its_directory(model: Path) -> None:
    shard = model / "model-00001-of-00002.safetensors"
    shard.rename(model.parent / "secret.safetensors")
    shard.symlink_to("../secret.safetensors")
    assert "'model-00001-of-00002.safetensors', which is not a file of this directory" in outcome(model)


def test_shards_that_do_not_fit_their_index(model: Path) -> None:
    first, second = (model / f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    stray = model / "model-00003-of-00003.safetensors"
    stray.write_bytes(second.read_bytes())
    assert "it does not name the shard model-00003-of-00003.safetensors" in outcome(model)
    stray.unlink()
    tensors = load_file(first)
    save_file({**load_file(second), "lm_head.weight": tensors["lm_head.weight"]}, second)
    assert "the tensor lm_head.weight is in model-00001-of-00002.safetensors too" in outcome(model)
    second.unlink()
    assert "model-00002-of-00002.safetensors: there is no such file" in outcome(model)


def change_index(model: Path, tensor: str, file: str) -> None:
    path = model / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"][tensor] = file
    path.write_text(json.dumps(index))


# -- everything else ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mistral"}, "the architecture 'mistral' is not supported"),
        ({"model_type": ["llama"]}, "the architecture ['llama'] is not supported"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "the rotary scaling 'yarn' is not supported"),
        ({"architectures": ["LlamaForTokenClassification"]}, "LlamaForTokenClassification is not a language model"),
        ({"num_hidden_layers": 10**9}, "asks for 1,000,000,000 blocks"),
        ({"max_position_embeddings": 10**12}, "more than is supported"),
        ({"vocab_size": 10**15}, "asks for [1000000000000000, 16]"),
        ({"tie_word_embeddings": True}, "a head of its own, but config.json ties it"),
    ],
)
def test_what_cannot_be_computed(change: dict[str, Any], message: str, model: Path) -> None:
    values = {**json.loads((model / "config.json").read_text()), **change}
    (model / "config.json").write_text(json.dumps(values))
    line = outcome(model).replace("the settings ask for", "asks for")
    assert message in line


def test_tokenizers_that_are_missing_or_do_not_fit(model: Path) -> None:
    (model / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": 7}}')
    with pytest.raises(TokenizerError, match=r"tokenizer\.json cannot be used"):
        directory.read(model)
    (model / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"there is no tokenizer in this directory. Name one: --tokenizer FILE"):
        directory.read(model)
    (model / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02")
    with pytest.raises(TokenizerError, match="a SentencePiece model cannot be read"):
        directory.read(model)
    values = {**json.loads((model / "config.json").read_text()), "vocab_size": 300}
    (model / "config.json").write_text(json.dumps(values))
    with pytest.raises(TokenizerError, match="the tokenizer has 320 tokens, but the model knows 300"):
        directory.read(model, tokenizer=TOKENIZER)


def test_pickles_are_refused_with_what_to_do(model: Path) -> None:
    for file in model.glob("model*"):
        file.unlink()
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(CheckpointError, match=r"only there as a pickle .* --from-pickle opens it"):
        directory.read(model)
    kind = source.recognise(model)
    with pytest.raises(UsageError, match=r"this is a pickle, which may run code when it is opened. --from-pickle"):
        source.read(source.Source(str(model), kind))


def test_a_full_disk_is_one_line(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **keywords: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vidro.checkpoint.weights.write_streamed", full)
    (tmp_path / "run").mkdir()
    with pytest.raises(StorageError, match="no space left on the disk"):
        write_foreign(tmp_path / "run", directory.read(model))
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_bias_that_cannot_be_said(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "model"
    path.mkdir()
    write_model(path, Transformer(GPT2), TOKENIZER)
    tensors = load_file(path / "model.safetensors")
    save_file({**tensors, "score.weight": torch.zeros(2, 16), "score.bias": torch.ones(2)}, path / "model.safetensors")
    with pytest.raises(ModelError, match="a bias that this model cannot express"):
        directory.read(path)
