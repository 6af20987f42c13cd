"""Text while the ids arrive, without ever showing half a character.

A token of a byte-level vocabulary may end in the middle of a character (é is two bytes, 👍 four); its text is held back
until the rest comes. What has been handed out plus what `flush` gives is exactly ``tokenizer.decode(all_ids)``: bytes
that turn out not to be UTF-8 become U+FFFD in the same places.
Not here: cutting at stop strings (`infer/session`).
"""

from __future__ import annotations

import codecs

from vidro.text.tokenizer import Tokenizer


class StreamDecoder:
    """Decodes one sequence, token by token.

    >>> from vidro.text.train import build_bytes
    >>> decoder = StreamDecoder(build_bytes())
    >>> [decoder.push(byte) for byte in "aé".encode()] + [decoder.flush()]
    ['a', '', 'é', '']
    """

    def __init__(self, tokenizer: Tokenizer, *, skip_special: bool = False) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._ids: list[int] = []
        self._n_given = 0

    def push(self, number: int) -> str:
        """The text that became certain with this id: often a whole token, sometimes nothing yet.

        Raises TokenizerError for an id that is not in the vocabulary.
        """
        data = self._tokenizer.shown_bytes(number)
        if self._skip_special and self._tokenizer.is_special(number):
            return ""
        if self._tokenizer.table.joins:
            return self._utf8.decode(data)
        # SentencePiece and the like: a token's text depends on its neighbours, so all of it is decoded each time. A
        # run of single bytes is certain only when it has ended.
        self._ids.append(number)
        return "" if number in self._tokenizer.table.raw else self._new_text()

    def flush(self) -> str:
        """What was held back, after the last id; the decoder then starts afresh."""
        rest = self._utf8.decode(b"", final=True) if self._tokenizer.table.joins else self._new_text()
        self._utf8.reset()
        self._ids, self._n_given = [], 0
        return rest

    def _new_text(self) -> str:
        text = self._tokenizer.decode(self._ids)
        start, self._n_given = self._n_given, len(text)
        return text[start:]
