"""Reserved names and sizes."""

from __future__ import annotations

import pytest

from vidro.text.special import EOT, PAD, SPECIAL_TOKENS, closing_tokens, round_up
from vidro.text.tokenizer import Tokenizer


def test_the_sixteen_names_in_the_order_of_the_design() -> None:
    assert SPECIAL_TOKENS[:8] == (
        "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>",
    )  # fmt: skip
    assert len(set(SPECIAL_TOKENS)) == 16
    assert all(name.startswith("<|unused_") for name in SPECIAL_TOKENS[8:])


@pytest.mark.parametrize("n_content", [0, 1, 47, 48, 49, 112, 256, 4080])
def test_closing_tokens_end_at_a_multiple_of_64_with_as_few_fillers_as_possible(n_content: int) -> None:
    names = closing_tokens(n_content)
    assert (n_content + len(names)) % 64 == 0
    assert tuple(names[-16:]) == SPECIAL_TOKENS
    assert len(names) < 16 + 64
    assert len(set(names)) == len(names)
    assert round_up(n_content + 16) == n_content + len(names)


def test_every_home_made_tokenizer_reserves_its_last_sixteen_ids(homemade: dict[str, Tokenizer]) -> None:
    for kind, tokenizer in homemade.items():
        assert tokenizer.kind == kind.removesuffix("-unk")
        assert tokenizer.vocab_size % 64 == 0
        ids = [tokenizer.special_ids[name] for name in SPECIAL_TOKENS]
        assert ids == list(range(tokenizer.vocab_size - 16, tokenizer.vocab_size))
        assert tokenizer.eot_id == tokenizer.special_ids[EOT] == tokenizer.vocab_size - 16
        assert tokenizer.pad_id == tokenizer.special_ids[PAD] != tokenizer.eot_id
        assert tokenizer.special_ids.keys() >= {EOT, PAD}
