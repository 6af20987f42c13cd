"""What a vocabulary is like: its size, how many characters a token holds, its longest tokens, its first merges.

Made for `vidro tokenizer show` and `vidro quickstart`; printing is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidro.text.decoding import printable
from vidro.text.fast import merge_pairs
from vidro.text.layout import from_letters
from vidro.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class TokenizerReport:
    """A vocabulary in numbers and examples; tokens are as `Tokenizer.token_text` shows them."""

    kind: str
    vocab_size: int
    n_special: int
    lossless: bool
    fingerprint: str
    notes: list[str]
    longest: list[str]
    first_merges: list[tuple[str, str]]
    n_merges: int
    sample: list[tuple[int, str]]
    sample_chars: int
    sample_bytes: int

    @property
    def chars_per_token(self) -> float | None:
        """Characters of the sample per token; None without a sample."""
        return self.sample_chars / len(self.sample) if self.sample else None

    @property
    def bytes_per_token(self) -> float | None:
        """UTF-8 bytes of the sample per token; None without a sample."""
        return self.sample_bytes / len(self.sample) if self.sample else None


def describe(tokenizer: Tokenizer, sample_text: str = "", *, n_examples: int = 20) -> TokenizerReport:
    """The report, with so many examples each; raises TokenizerError where `sample_text` cannot be encoded."""
    numbers = sorted(tokenizer.table.bytes_of, key=lambda number: (-len(tokenizer.token_bytes(number)), number))
    merges = merge_pairs(tokenizer.model) if tokenizer.model["type"] == "BPE" else []
    return TokenizerReport(
        kind=tokenizer.kind,
        vocab_size=tokenizer.vocab_size,
        n_special=len(tokenizer.special_ids),
        lossless=tokenizer.lossless,
        fingerprint=tokenizer.fingerprint,
        notes=list(tokenizer.notes),
        longest=[tokenizer.token_text(number) for number in numbers[:n_examples] if tokenizer.token_bytes(number)],
        first_merges=[(_shown(left), _shown(right)) for left, right in merges[:n_examples]],
        n_merges=len(merges),
        sample=[(number, tokenizer.token_text(number)) for number in tokenizer.encode(sample_text)],
        sample_chars=len(sample_text),
        sample_bytes=len(sample_text.encode()),
    )


def _shown(letters: str) -> str:
    data = from_letters(letters)
    return letters if data is None else printable(data)
