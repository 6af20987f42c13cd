"""The reader's own .pth: what is found in it and beside it, and what must be said. Equal logits: tests/reference."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vidro.checkpoint.foreign import characters
from vidro.checkpoint.foreign.layouts import recognise, state_of
from vidro.checkpoint.foreign.pickled import _vocabulary, read
from vidro.checkpoint.foreign.unpickle import Refused, find_state, settings, write_safetensors
from vidro.checkpoint.names import to_foreign
from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.core.errors import VidroError
from vidro.infer.session import Session
from vidro.model.transformer import Transformer

WHERE = Path("model.pth")
TEXT = sorted("\n !',.abcdefghijklmnopqrstuvwxyzABCDEFGHIJ")


def config(**changes: Any) -> ModelConfig:
    sizes: dict[str, Any] = {
        "family": "gpt2", "vocab_size": len(TEXT), "context_length": 16, "d_model": 48, "n_layers": 2, "n_heads": 4,
        "n_kv_heads": 4, "d_head": 12, "d_ff": 192, "norm_eps": 1e-5,
    }  # fmt: skip
    return ModelConfig(**{**sizes, **changes})


def foreign(form: str, **changes: Any) -> dict[str, Tensor]:
    """A random model's state under foreign names, biases and norms included."""
    shape = config(**changes)
    generator = torch.Generator().manual_seed(5)
    ours = {
        name: torch.randn(tensor.shape, generator=generator) * 0.2 + ("norm" in name and "weight" in name)
        for name, tensor in Transformer(shape).state_dict().items()
    }
    if shape.tie_embeddings:
        ours["head.weight"] = ours["token_embedding.weight"]
    state = {name: tensor.contiguous() for name, tensor in to_foreign(ours, shape, form).items()}
    if form == "nanogpt" and shape.tie_embeddings:
        state["lm_head.weight"] = state["transformer.wte.weight"]
    return state


# Files, through the restricted process


def test_a_model_of_characters_and_its_table(tmp_path: Path) -> None:
    state = foreign("nanogpt", tie_embeddings=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "data" / "poems").mkdir(parents=True)
    kept = {"model": state, "model_args": {"n_head": 4}, "config": {"dataset": "poems"}, "best_val_loss": 1.5}
    torch.save(kept, tmp_path / "out" / "ckpt.pt")
    table = {"vocab_size": len(TEXT), "itos": dict(enumerate(TEXT)), "stoi": {each: n for n, each in enumerate(TEXT)}}
    (tmp_path / "data" / "poems" / "meta.pkl").write_bytes(pickle.dumps(table))
    said: list[str] = []
    found = read(tmp_path / "out" / "ckpt.pt", say=said.append)
    assert "a process of its own" in said[0]
    assert found.tokenizer is not None
    assert found.tokenizer.kind == "chars"
    assert found.tokenizer.encode("ab\n") == [TEXT.index(each) for each in "ab\n"]
    assert found.config.vocab_size == found.tokenizer.vocab_size == 64

    bare = Transformer(config(tie_embeddings=True))
    layout = recognise(state, {}, n_heads=4, where=WHERE)
    bare.load_state_dict(state_of(layout, WHERE))
    grown = Transformer(found.config)
    grown.load_state_dict(found.state)
    ids = torch.randint(len(TEXT), (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = bare.eval()(ids), grown.eval()(ids)
        started = grown(torch.tensor([[found.tokenizer.eot_id]]))[0, 0]
        newline = bare(torch.tensor([[0]]))[0, 0]
    torch.testing.assert_close(after[..., : len(TEXT)], before, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(started[: len(TEXT)], newline, rtol=1e-4, atol=1e-4)
    assert after[..., len(TEXT) :].max() < -90
    options = SamplingOptions(max_tokens=8, temperature=1.0, seed=1)
    (made,) = Session(grown, found.tokenizer).generate(["ab"], options)
    assert len(made.text) == 8
    assert set(made.text) <= set(TEXT)


def test_the_little_sorter_sorts(shared_data: Path, tmp_path: Path) -> None:
    stored = json.loads((shared_data / "weights" / "gpt-nano-sort" / "gpt-nano-sort-model.json").read_text())
    heads = stored.pop("config")["n_head"]
    state = {
        name: torch.from_numpy(np.frombuffer(base64.b64decode(each["data"]), "<f4").reshape(each["shape"]).copy())
        for name, each in stored.items()
    }
    torch.save(state, tmp_path / "sort.pth")
    found = read(tmp_path / "sort.pth", n_heads=heads)
    assert (found.form, found.tokenizer, found.config.tie_embeddings) == ("a pickled model of minGPT", None, False)
    model = Transformer(found.config)
    model.load_state_dict(found.state)
    digits = torch.randint(3, (200, 6), generator=torch.Generator().manual_seed(0))
    line = digits
    with torch.no_grad():
        for _ in range(6):
            line = torch.cat([line, model.eval()(line)[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert (line[:, 6:] == digits.sort(1).values).all(1).sum() == 200


def test_a_pickled_directory_of_transformers(tmp_path: Path) -> None:
    shape = ModelConfig(
        family="llama", vocab_size=40, context_length=8, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_head=8,
        d_ff=24, norm_eps=1e-5,
    )  # fmt: skip
    from vidro.checkpoint.huggingface import to_hf_config

    model = Transformer(shape)
    torch.save(to_foreign(model.state_dict(), shape), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(to_hf_config(shape)))
    found = read(tmp_path / "pytorch_model.bin")
    assert found.config == shape
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.state[name], tensor), name
    with pytest.raises(VidroError, match=r"n-heads: the config.json beside the file says it"):
        read(tmp_path / "pytorch_model.bin", n_heads=4)


# Beside the weights


def test_gpt2_s_vocabulary_is_looked_for_where_the_book_keeps_it(shared_data: Path, tmp_path: Path) -> None:
    assert _vocabulary(tmp_path, tmp_path / "cache", gpt2=True)[0] is None
    place = tmp_path / "gpt2" / "124M"
    place.mkdir(parents=True)
    for name in ("encoder.json", "vocab.bpe"):
        (place / name).symlink_to(shared_data / "tokenizers" / "gpt2" / name)
    found, where = _vocabulary(tmp_path, None, gpt2=True)
    assert found is not None
    assert (found.kind, where) == ("gpt2", place)
    assert _vocabulary(tmp_path, None, gpt2=False)[0] is None, "only where the model has that many tokens"


def test_a_narrow_model_gets_no_end_mark() -> None:
    head = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    with pytest.raises(VidroError, match="40 characters in a width of 16 leave no room for an end-of-text mark"):
        characters.never_row(head, torch.ones(16), torch.zeros(16))
    moved, row = characters.never_row(head, torch.ones(16), torch.ones(16))  # a shift that does it as it is
    assert torch.equal(moved, torch.ones(16).double())
    assert (row.sum() - characters.NEVER).abs() < 1e-9


@pytest.mark.parametrize("listed", [["a", "bc"], ["a", "a"], ["a", ""]])
def test_a_table_of_more_than_characters(listed: list[str]) -> None:
    with pytest.raises(VidroError, match="more than single characters"):
        characters.tokenizer_of(listed, WHERE)


# What names and shapes say


def wrong(state: dict[str, Tensor], n_heads: int | None = 4, **found: Any) -> str:
    with pytest.raises(VidroError) as caught:
        state_of(recognise(state, found, n_heads=n_heads, where=WHERE), WHERE)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_how_many_heads() -> None:
    book = foreign("book")
    assert recognise(book, {"cfg.n_heads": 6}, n_heads=None, where=WHERE).config.n_heads == 6
    assert "does not stand in the weights. Say --n-heads" in wrong(book, None)
    assert "n-heads: 5 heads do not divide the width 48" in wrong(book, 5)
    assert "the file itself says 6, not 4" in wrong(book, 4, **{"model_args.n_head": 6})
    wide = foreign("book", d_model=768, n_heads=12, n_kv_heads=12, d_head=64, n_layers=1, d_ff=64)
    layout = recognise(wide, {}, n_heads=None, where=WHERE)
    assert layout.config.n_heads == 12
    assert layout.notes[0].startswith("12 heads, as GPT-2 has at this width")


def test_gpt2_of_transformers_lies_the_other_way() -> None:
    state = foreign("hf")
    layout = recognise(state, {}, n_heads=4, where=WHERE)
    assert (layout.form, layout.config) == ("hf", config())
    bare = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
    assert recognise(bare, {}, n_heads=4, where=WHERE).config == config()


def test_a_head_that_equals_the_embedding_is_kept_once() -> None:
    state = foreign("book")
    state["out_head.weight"] = state["tok_emb.weight"].clone()
    layout = recognise(state, {}, n_heads=4, where=WHERE)
    assert layout.config.tie_embeddings
    assert "its head equals its embedding and is kept once" in layout.notes


def test_states_that_are_no_such_model() -> None:
    book = foreign("book")

    def without(*names: str, **more: Tensor) -> dict[str, Tensor]:
        return {**{name: each for name, each in book.items() if name not in names}, **more}

    others = [name for name in book if name.endswith(("W_key.bias", "W_value.bias"))]
    layers = [name for name in book if name.startswith("trf_blocks.0")]
    cases = {
        "those of no known model. Known: the book's GPTModel": {"fc.weight": torch.ones(3, 3)},
        "the tensor pos_emb.weight is missing": without("pos_emb.weight"),
        "the tensor out_head.weight is missing": without("out_head.weight"),
        "trf_blocks.1.ff.layers.2.weight is missing": without("trf_blocks.1.ff.layers.2.weight"),
        "not numbered from 0 without a gap": without(*layers),
        "the tensor extra.weight is not known": without(**{"extra.weight": torch.ones(2)}),
        "att.W_key.bias (and 3 more) is missing": without(*others),
        "thin LoRA matrices lie beside its weights": without(**{"trf_blocks.0.att.W_key.lora.A": torch.ones(2, 2)}),
        "another of the book's models": without(**{"trf_blocks.0.ff.fc1.weight": torch.ones(2, 2)}),
        "has the shape [48, 24], and the others ask for [48, 48]": {
            **book, "trf_blocks.1.att.W_key.weight": torch.ones(48, 24)
        },
        "holds torch.int64, not floats": {**book, "trf_blocks.1.att.W_key.weight": torch.ones(48, 48).long()},
        "the tensor tok_emb.weight is no matrix": {**book, "tok_emb.weight": torch.ones(3)},
        "a classifier needs two or more classes": {**book, "out_head.weight": torch.ones(1, 48)},
        "is not part of the model gpt.": {f"gpt.{name}": each for name, each in book.items()} | {"x.y": torch.ones(1)},
    }  # fmt: skip
    for expected, state in cases.items():
        assert expected in wrong(state), expected


# What the restricted process looks for


def test_where_checkpoints_keep_their_model() -> None:
    weights = {"a": torch.ones(2)}
    assert find_state(weights) == (None, weights)
    assert find_state({"model": weights, "optimizer": {"state": {}}})[0] == "model"
    assert find_state({"state_dict": weights, "epoch": 3})[0] == "state_dict"
    assert find_state({"mine": weights, "optim_state": {"m": torch.ones(2)}, "loss": torch.tensor(1.0)})[0] == "mine"
    for loaded, expected in (
        ([torch.ones(2)], "holds a list"),
        ({"epoch": 3, "loss": torch.tensor(1.0)}, "no weights"),
        ({"teacher": weights, "student": weights}, "several models"),
        ({"model": {"a\nb": torch.ones(2)}}, "no proper names"),
        ({"model": {3: torch.ones(2)}}, "no proper names"),
    ):
        with pytest.raises(Refused, match=expected):
            find_state(loaded)


def test_settings_are_numbers_and_short_texts() -> None:
    weights = {"a": torch.ones(2)}
    nested: Any = {"deep": {"deeper": {}}}
    loaded = {"model": weights, "cfg": {"n_heads": 4, "x": nested, "s": "t" * 900}, "step": 10, "big": 10**400}
    assert settings(loaded, weights) == {"cfg.n_heads": 4, "step": 10}


def test_tensors_are_written_as_they_are_and_once(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    table = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    tensors = {
        "flag": torch.tensor([True]), "table": table, "same": table, "turned": table.T, "row": table[2],
        "half": table.bfloat16(), "zero": torch.tensor(2.0), "empty": torch.ones(0, 3), "double": table.double(),
    }  # fmt: skip
    same = write_safetensors(tensors, tmp_path / "x.safetensors", 10_000)
    assert same == {"same": "table"}
    found = load_file(tmp_path / "x.safetensors")
    assert set(found) == set(tensors) - {"same"}
    for name, tensor in found.items():
        assert tensor.dtype == tensors[name].dtype
        assert torch.equal(tensor, tensors[name]), name
    with pytest.raises(Refused, match="larger than the file"):
        write_safetensors({"wide": table[:1, :1].expand(9, 9_000)}, tmp_path / "x.safetensors", 10**9)
    with pytest.raises(Refused, match="larger than the file"):
        write_safetensors({"a": table, "b": table.clone()}, tmp_path / "x.safetensors", 100)
    with pytest.raises(Refused, match="of a kind that is not read"):
        write_safetensors({"a": torch.ones(2, dtype=torch.complex64)}, tmp_path / "x.safetensors", 100)
