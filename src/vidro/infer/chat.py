"""A chat without a terminal: lines in, streams of pieces and one-line messages out.

A base model knows no turns; it continues text. So what the person types is put behind everything so far, and the model
writes on. How turns become ids is a `Style`; models that were taught to answer bring their own. Where a conversation
no longer fits the context, its older half is forgotten, said once.

Not here: reading lines and printing (the command line), what the lines mean (`commands`), what to say about the
training text (`reading`). Read next: `commands`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from vidro.config.schema import SamplingOptions
from vidro.core.errors import TokenizerError, UsageError
from vidro.core.files import write_json_atomic
from vidro.infer.answering import Turns
from vidro.infer.commands import Change, Do, Tell, help_text, parse_line
from vidro.infer.decode import check_prompt
from vidro.infer.reading import unknown_words, unknown_words_line
from vidro.infer.session import Piece, Session
from vidro.model.sampling import check_conflicts, is_greedy
from vidro.text.tokenizer import Tokenizer

Pieces = Generator[Piece, None, None]
"""A reply as it comes; `close` it to stop waiting."""


@runtime_checkable
class Style(Protocol):
    """How the words of a person become ids behind what was said before."""

    def turn(self, words: str, before: list[int]) -> list[int]:
        """The ids to put behind `before`, up to where the model begins to write."""
        ...


class Continuation:
    """The style of a base model: new words begin a line of their own; no words let it write on.

    The first words, and those after a text that the model ended, begin a document.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._line_end = _first_encodable(tokenizer, ("\n", " ", ""))

    def turn(self, words: str, before: list[int]) -> list[int]:
        """See `Style`. Raises TokenizerError for a character that the vocabulary lacks."""
        ids = self.tokenizer.encode(words)
        if not before:
            return [self.tokenizer.start_id, *ids]
        if not words or before[-1] == self.tokenizer.eot_id:
            return ids
        ended = self.tokenizer.decode(before[-1:]).endswith("\n")
        return ids if ended else [*self._line_end, *ids]


@dataclass(frozen=True)
class Turn:
    """What was said once, and what came back."""

    words: str
    prompt_ids: list[int]
    """What the words added to the context."""

    reply: str
    reply_ids: list[int]
    """What the reply added to it, the end mark included where the model ended its text."""

    seed: int | None
    finish_reason: str
    """As in `Generation`; "interrupted" where the person did not wait for the end."""


@dataclass
class Response:
    """What to do about a line: print the messages, then the pieces as they come; `quit` leaves."""

    messages: list[str] = field(default_factory=list)
    pieces: Pieces | None = None
    quit: bool = False


class Chat:
    """One conversation. `options` are its settings now; `turns` what was said and is still remembered."""

    def __init__(
        self,
        session: Session,
        options: SamplingOptions,
        *,
        style: Style | None = None,
        known_words: Mapping[str, int] | None = None,
    ) -> None:
        """`known_words` (`reading.count_words` of the training text) lets words that it never had be marked."""
        check_conflicts(options)
        self.session, self.options = session, options
        self.style = Continuation(session.tokenizer) if style is None else style
        self.known_words = known_words
        self.turns: list[Turn] = []
        self.next_seed = session.draw_seed() if options.seed is None else options.seed
        self._said_full = False

    def respond(self, line: str) -> Response:
        """What a typed line asks for. Raises UsageError and TokenizerError, in one line; nothing has changed then."""
        action = parse_line(line)
        if isinstance(action, Change):
            return Response([self.change(action)])
        if isinstance(action, Do):
            return self._do(action)
        if isinstance(action, Tell):
            return Response([self.begin_with(action.text) if action.what == "system" else self.save(Path(action.text))])
        remark = None
        if self.known_words is not None:
            remark = unknown_words_line(unknown_words(action.text, self.known_words))
        pieces = self.say(action.text)
        return Response([] if remark is None else [remark], pieces)

    def say(self, words: str) -> Pieces:
        """The model's reply, piece by piece; remembered when it ends, or as far as it came when closed early.

        Raises UsageError for words longer than the context, TokenizerError for characters that it cannot write.
        """
        return self._answer(words, self.context())

    def retry(self) -> Pieces:
        """Another reply to the last words, in place of the last one. Raises UsageError when there is none."""
        if not self.turns:
            raise UsageError("nothing was said yet", where="/retry")
        if is_greedy(self.options):
            raise UsageError(
                "the most probable reply would be the same again", where="/retry", hint="First: /temperature 0.8."
            )
        *earlier, last = self.turns
        pieces = self._answer(last.words, self._joined(earlier))
        self.turns = earlier
        return pieces

    def undo(self) -> str:
        """Forget the last words and their reply; a message. Raises UsageError when there are none."""
        if not self.turns:
            raise UsageError("nothing was said yet", where="/undo")
        return f"Taken back: {_shortened(self.turns.pop().words)}"

    def reset(self) -> str:
        """Forget the conversation; settings stay. A message."""
        self.turns, self._said_full = [], False
        return "Forgotten. The next words begin a new text."

    def begin_with(self, system: str) -> str:
        """Say `system` before the first turn from now on; the conversation begins anew. A message.

        Raises UsageError where the model was not taught to answer.
        """
        if not isinstance(self.style, Turns):
            raise UsageError("this model continues texts; it was not taught to be told how", where="/system")
        self.style.system = system
        self.reset()
        return "It is said first from here on; the conversation begins anew."

    def save(self, path: Path) -> str:
        """Write the conversation to a new file, as messages; a message. Raises UsageError and StorageError."""
        if not self.turns:
            raise UsageError("nothing was said yet", where="/save")
        if path.exists():
            raise UsageError("this file exists already", where=path, hint="Choose another name.")
        system = self.style.system if isinstance(self.style, Turns) else None
        messages = [] if system is None else [{"role": "system", "content": system}]
        for turn in self.turns:
            messages += [{"role": "user", "content": turn.words}, {"role": "assistant", "content": turn.reply}]
        write_json_atomic(path, [{"messages": messages}])
        return f"Written to {path}."

    def change(self, change: Change) -> str:
        """Set a sampling option; a message. Raises UsageError when the value is out of range or contradicts another."""
        name = change.option.replace("_", "-")
        options = replace(self.options, **{change.option: change.value})
        if change.option == "temperature":
            options = replace(options, greedy=False)
        check_conflicts(options)
        self.options = options
        if change.option == "seed":
            self.next_seed = change.value
        return f"{name} is {'off' if change.value is None else change.value} from here on."

    def context(self) -> list[int]:
        """All that is remembered, as ids."""
        return self._joined(self.turns)

    def _do(self, action: Do) -> Response:
        if action.what == "help":
            return Response([help_text()])
        if action.what == "quit":
            return Response(quit=True)
        if action.what == "retry":
            return Response(pieces=self.retry())
        return Response([self.undo() if action.what == "undo" else self.reset()])

    def _answer(self, words: str, before: list[int]) -> Pieces:
        """Everything that can fail is done before the first piece is asked for."""
        new = self.style.turn(words, before)
        given, note = self._fitting(before, new)
        seed = None if is_greedy(self.options) else self.next_seed
        pieces = self.session.stream(given, replace(self.options, seed=seed))
        if seed is not None:
            self.next_seed = seed + 1
        return self._remembered(words, new, pieces, seed, note)

    def _fitting(self, before: list[int], new: list[int]) -> tuple[list[int], str | None]:
        """The end of the conversation that the model can see, and what to say about the rest."""
        limit = self.session.context_length
        mark = self.session.tokenizer.start_id
        if not before and len(new) == limit + 1 and new[0] == mark:
            new = new[1:]  # words of exactly the context go without the mark
        given = [*before, *new]
        if len(given) <= limit:
            return given, None
        if len(new) > limit:
            check_prompt(new, limit)
        note = None
        if not self._said_full:
            note = f"The model sees {limit:,} tokens, and this conversation is longer: its older part is forgotten."
            self._said_full = True
        return given[-max(1, len(new), limit // 2) :], note

    def _remembered(self, words: str, new: list[int], pieces: Pieces, seed: int | None, note: str | None) -> Pieces:
        """Pass the pieces on and keep the turn at the end, however it comes."""
        ids: list[int] = []
        reply, finish = "", "interrupted"
        try:
            for piece in pieces:
                ids.append(piece.id)
                reply += piece.text
                finish = finish if piece.finish_reason is None else piece.finish_reason
                if note is None and piece.note is not None and not self._said_full:
                    note, self._said_full = piece.note, True
                yield replace(piece, note=note)
                note = None
        finally:
            pieces.close()
            if finish == "stop":  # the last tokens hold more than was shown
                ids = self.session.tokenizer.encode(reply)
            self.turns.append(Turn(words, new, reply, ids, seed, finish))

    def _joined(self, turns: list[Turn]) -> list[int]:
        return [number for turn in turns for number in (*turn.prompt_ids, *turn.reply_ids)]


def _first_encodable(tokenizer: Tokenizer, texts: tuple[str, ...]) -> list[int]:
    """The ids of the first of these texts that the vocabulary can write."""
    for text in texts:
        try:
            return tokenizer.encode(text)
        except TokenizerError:
            continue
    return []


def _shortened(words: str, length: int = 40) -> str:
    return words if len(words) <= length else words[:length] + "…"
