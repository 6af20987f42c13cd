"""The name table: complete, and its two directions are exact inverses."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vidro.checkpoint.names import BLOCK, COLUMNS, TABLE, Cell, cells, from_foreign, in_halves, in_pairs, to_foreign
from vidro.config.schema import FAMILIES, ModelConfig
from vidro.core.errors import CheckpointError
from vidro.model.transformer import Transformer


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    family = draw(st.sampled_from(FAMILIES))
    kv_heads = draw(st.integers(1, 3))
    heads = kv_heads * (1 if family == "gpt2" else draw(st.integers(1, 3)))
    d_head = 2 * draw(st.integers(1, 3))
    return ModelConfig(
        family=family,
        vocab_size=draw(st.integers(1, 9)),
        context_length=draw(st.integers(1, 5)),
        d_model=heads * d_head if family == "gpt2" else draw(st.integers(1, 8)),
        n_layers=draw(st.integers(1, 12)),
        n_heads=heads,
        n_kv_heads=kv_heads,
        d_head=d_head,
        d_ff=draw(st.integers(1, 7)),
        tie_embeddings=draw(st.booleans()),
    )


def numbered_state(config: ModelConfig) -> dict[str, torch.Tensor]:
    """A state in which every number is different, so that nothing can be swapped unseen."""
    with torch.device("meta"):
        model = Transformer(config)
    state, first = {}, 0
    for name, tensor in model.state_dict().items():
        state[name] = torch.arange(first, first + tensor.numel(), dtype=torch.float32).reshape(tensor.shape)
        first += tensor.numel()
    if config.tie_embeddings:
        state["head.weight"] = state["token_embedding.weight"]
    return state


@settings(deadline=None, max_examples=60)
@given(configs(), st.sampled_from(sorted(COLUMNS)))
def test_there_and_back_is_exact(config: ModelConfig, form: str) -> None:
    assume(config.family in COLUMNS[form])
    state = numbered_state(config)
    foreign = to_foreign(state, config, form)
    back = from_foreign(foreign, config, form)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    again = to_foreign(back, config, form)
    assert again.keys() == foreign.keys()
    assert all(torch.equal(again[name], foreign[name]) for name in foreign)
    stored = {tensor.data_ptr() for name, tensor in foreign.items() if tensor.numel()}
    assert len(stored) == len(foreign), "no two stored tensors may share memory"


def tiny(family: str, *, tied: bool = False) -> ModelConfig:
    return ModelConfig(
        family=family, vocab_size=7, context_length=5, d_model=6, n_layers=2, n_heads=3, n_kv_heads=3, d_head=2,
        d_ff=4, tie_embeddings=tied,
    )  # fmt: skip


def test_gpt2_lies_fused_and_transposed() -> None:
    state = numbered_state(tiny("gpt2"))
    foreign = to_foreign(state, tiny("gpt2"))
    fused = foreign["transformer.h.1.attn.c_attn.weight"]
    assert fused.shape == (6, 18)  # [in, out]
    for i, part in enumerate("qkv"):
        assert torch.equal(fused[:, 6 * i : 6 * i + 6], state[f"blocks.1.attention.{part}_proj.weight"].T)
    assert foreign["transformer.h.0.mlp.c_fc.weight"].shape == (6, 4)


def test_every_line_of_the_table_is_used_and_parsed() -> None:
    used = {ours for family in FAMILIES for ours, _ in cells(tiny(family))}
    assert used == {row[0] for row in TABLE} | {f"blocks.{n}.{row[0]}" for n in (0, 1) for row in BLOCK}
    assert Cell.parse("a.b T 1/3") == Cell("a.b", True, False, 1, 3)
    assert Cell.parse("a.b P") == Cell("a.b", False, True, 0, 1)


def test_rotary_rows_lie_in_pairs_in_gguf_and_only_for_llama() -> None:
    llama, qwen3 = tiny("llama"), tiny("qwen3")
    rows = torch.arange(8.0)[:, None]  # two heads of four
    assert in_pairs(rows, 4).flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert torch.equal(in_halves(in_pairs(rows, 4), 4), rows)
    assert {cell.name for _, cell in cells(llama, "gguf") if cell.paired} >= {
        "blk.0.attn_q.weight",
        "blk.1.attn_k.weight",
    }
    assert not any(cell.paired for _, cell in cells(qwen3, "gguf"))


def test_nanogpts_matrices_are_gpt2s_the_other_way() -> None:
    config = tiny("gpt2")
    state = numbered_state(config)
    hf, linear = to_foreign(state, config), to_foreign(state, config, "nanogpt")
    assert torch.equal(hf["transformer.h.0.attn.c_attn.weight"].T, linear["transformer.h.0.attn.c_attn.weight"])


def test_old_gpt2_files() -> None:
    """No ``transformer.`` in front, and the causal mask kept among the weights."""
    config = tiny("gpt2", tied=True)
    foreign = {name.removeprefix("transformer."): t for name, t in to_foreign(numbered_state(config), config).items()}
    foreign["h.0.attn.bias"] = torch.ones(1, 1, 5, 5)
    foreign["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    back = from_foreign(foreign, config)
    assert all(torch.equal(back[name], tensor) for name, tensor in numbered_state(config).items())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_beside_a_tie_must_be_the_embedding(family: str) -> None:
    config = tiny(family, tied=True)
    state = numbered_state(config)
    foreign = to_foreign(state, config)
    assert "lm_head.weight" not in foreign
    assert torch.equal(
        from_foreign({**foreign, "lm_head.weight": state["head.weight"].clone()}, config)["head.weight"],
        state["head.weight"],
    )
    with pytest.raises(CheckpointError) as error:
        from_foreign({**foreign, "lm_head.weight": state["head.weight"] + 1}, config, where="here")
    assert str(error.value) == (
        "here: the file has a head of its own, but config.json ties it. "
        "Set tie_word_embeddings to false in config.json if the head is meant."
    )


def test_missing_and_unknown_tensors_are_named() -> None:
    config = tiny("llama")
    foreign = to_foreign(numbered_state(config), config)
    without = {name: tensor for name, tensor in foreign.items() if "k_proj" not in name}
    with pytest.raises(CheckpointError) as error:
        from_foreign(without, config, where="here")
    assert str(error.value) == (
        "here: the tensor model.layers.0.self_attn.k_proj.weight (and 1 more) is missing. Does config.json match?"
    )
    with pytest.raises(CheckpointError, match=r"the tensor model\.layers\.2\.x is not known to this kind of model"):
        from_foreign({**foreign, "model.layers.2.x": torch.ones(1)}, config)
    gpt2 = to_foreign(numbered_state(tiny("gpt2")), tiny("gpt2"))
    gpt2["transformer.h.0.attn.c_attn.bias"] = torch.ones(17)
    with pytest.raises(CheckpointError, match=r"c_attn\.bias cannot be cut into 3"):
        from_foreign(gpt2, tiny("gpt2"))
