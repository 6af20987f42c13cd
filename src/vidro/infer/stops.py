"""Stop strings in a stream of text pieces: found even when they are cut over many pieces, and never shown.

Not here: what makes the pieces (`session`). Read next: `session`.
"""

from __future__ import annotations

from vidro.core.errors import UsageError


class StopStrings:
    """Lets text through until a stop string comes, holding back only what may still become one.

    >>> watch = StopStrings(["\\nYou:"])
    >>> [watch.push(piece) for piece in ["Good day.", "\\nYo", "u", ": hello"]]
    ['Good day.', '', '', '']
    >>> watch.hit
    '\\nYou:'
    """

    def __init__(self, stops: tuple[str, ...] | list[str]) -> None:
        if any(stop == "" for stop in stops):
            raise UsageError("an empty text would stop at once", where="stop", hint="Give the text to stop at.")
        self.stops = tuple(stops)
        self.hit: str | None = None
        self._held = ""

    def push(self, piece: str) -> str:
        """The text that is safe to show after `piece` has come; empty for ever once a stop string was found."""
        if self.hit is not None:
            return ""
        text = self._held + piece
        # The first to be complete wins, the longer of two that end together: how the text was cut does not matter.
        found = min(
            ((text.find(stop) + len(stop), -len(stop), stop) for stop in self.stops if stop in text), default=None
        )
        if found is not None:
            end, _, self.hit = found
            self._held = ""
            return text[: end - len(self.hit)]
        safe = len(text) - self._longest_beginning(text)
        self._held = text[safe:]
        return text[:safe]

    def flush(self) -> str:
        """What was held back, when no more text comes."""
        held, self._held = self._held, ""
        return held

    def _longest_beginning(self, text: str) -> int:
        """Length of the longest end of `text` that is the beginning of a stop string."""
        longest = 0
        for stop in self.stops:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest
