"""The names every home-made tokenizer reserves, and how a vocabulary is filled up to a round size.

Order of ids in a home-made tokenizer: first the tokens of the text, then fillers, then the sixteen reserved names, so
the reserved names are always the last sixteen ids and ``vocab_size`` is always a multiple of 64 (matrix kernels like
it, and 2 × 8 bits of alignment cost nothing). Byte-level BPE asks for exactly as many merges as fit, so it needs
fillers only for texts too small to give 48 merges; bytes (256 + 16), words and characters need up to 63. A filler is
a special token like the others: it never comes out of a text and `decode` shows its name.
Not here: who learns what they mean (prompt styles; chat).
"""

from __future__ import annotations

EOT = "<|endoftext|>"
PAD = "<|pad|>"
UNK = "<|unk|>"

SPECIAL_TOKENS: tuple[str, ...] = (
    EOT,
    PAD,
    "<|im_start|>",
    "<|im_end|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|end|>",
    *(f"<|unused_{number}|>" for number in range(8)),
)

VOCAB_MULTIPLE = 64


def round_up(n_tokens: int) -> int:
    """The next multiple of 64.

    >>> round_up(272), round_up(320)
    (320, 320)
    """
    return -(-n_tokens // VOCAB_MULTIPLE) * VOCAB_MULTIPLE


def closing_tokens(n_content: int) -> list[str]:
    """The names that follow `n_content` tokens of text: fillers up to a multiple of 64, then the reserved sixteen.

    >>> names = closing_tokens(256)
    >>> len(names), names[0], names[47], names[48], names[-1]
    (64, '<|filler_0|>', '<|filler_47|>', '<|endoftext|>', '<|unused_7|>')
    """
    n_filler = round_up(n_content + len(SPECIAL_TOKENS)) - n_content - len(SPECIAL_TOKENS)
    return [f"<|filler_{number}|>" for number in range(n_filler)] + list(SPECIAL_TOKENS)
