"""Text in, text out: a prompt becomes a stream of pieces, or a finished `Generation`.

A prompt is continued as the beginning of a document: `<|endoftext|>` stands before it, as before every document in
training, wherever there is room for it. The end mark ends the text and is no part of it. Other special tokens (padding,
names kept for chats) stand for no text and are not chosen, unless the session is told that the model uses them.

Not here: ids and the cache (`decode`), turns of a chat (`chat`). Read next: `explain`.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from vidro.config.schema import SamplingOptions
from vidro.core.errors import TokenizerError, UsageError
from vidro.infer.decode import BATCH_SLOTS, Decoder, Step, check_prompt, enough
from vidro.infer.stops import StopStrings
from vidro.model.modes import evaluating
from vidro.model.sampling import check_conflicts, is_greedy
from vidro.model.transformer import Transformer
from vidro.text.special import UNK
from vidro.text.stream import StreamDecoder
from vidro.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Piece:
    """What one token added to the text."""

    text: str
    """Safe to show; empty where the token is half a character or may become a stop string."""

    id: int
    """The token; the last piece of a text that ended by itself holds the end mark."""

    logprob_nats: float
    """ln of the token's probability under the model itself, before any filter."""

    top: tuple[tuple[int, float], ...] = ()
    """The most probable ids with their nats, best first, as many as were asked for."""

    finish_reason: str | None = None
    """Set on the last piece: "length", "stop", "eos" or "context"."""

    note: str | None = None
    """A sentence for the person, said once: the context was full."""


@dataclass(frozen=True)
class Generation:
    """One finished text."""

    prompt: str
    text: str
    """The continuation, without the prompt."""

    ids: list[int]
    """The tokens chosen, without the end mark; the last ones of a text cut by a stop string are beyond the cut."""

    prompt_ids: list[int]
    """What the model was given, `<|endoftext|>` included."""

    logprobs_nats: list[float]
    """For each of `ids`."""

    finish_reason: str
    """ "length" (max_tokens), "stop" (a stop string), "eos" (it ended by itself) or "context" (full)."""

    seed: int | None
    """The seed that gives this text again; None for greedy, which draws nothing."""

    tokens_per_s: float
    """Tokens of this text by the seconds it took, prompt included."""

    top: list[tuple[tuple[int, float], ...]] = field(default_factory=list)
    """For each of `ids` the most probable (id, nats), where they were asked for."""

    notes: list[str] = field(default_factory=list)
    """Sentences for the person."""


def fresh_seed() -> int:
    """A seed nobody chose, short enough to be typed again."""
    return secrets.randbelow(2**31)


class Session:
    """A model and its tokenizer, ready to write.

    `device`: where to compute, if not where the model is. `special`: names of special tokens that this model was
    taught to write. `end`: the special token with which it was taught to end an answer, if it is another than
    `<|endoftext|>`, which is not chosen then. `draw_seed` and `clock` (seconds) are replaced in tests.
    Raises TokenizerError when the tokenizer has ids that the model lacks.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        device: torch.device | None = None,
        *,
        special: Collection[str] = (),
        end: str | None = None,
        draw_seed: Callable[[], int] = fresh_seed,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if model.config.labels:
            hint = "Ask it for a class: vidro predict RUN TEXT."
            raise UsageError("this run is a classifier; it writes no text", hint=hint)
        if tokenizer.vocab_size > model.config.vocab_size:
            raise TokenizerError(
                f"the tokenizer has {tokenizer.vocab_size:,} tokens and the model only {model.config.vocab_size:,}",
                hint="They do not belong together.",
            )
        self.model = model if device is None else model.to(device)
        self.tokenizer = tokenizer
        self.context_length = model.config.context_length
        self.draw_seed, self.clock = draw_seed, clock
        said = {number for name, number in tokenizer.special_ids.items() if name in (UNK, *special)}
        self.end_id = tokenizer.eot_id if end is None else tokenizer.special_ids[end]
        unsaid = set(tokenizer.special_ids.values()) - said - {self.end_id}
        self.forbidden = [*sorted(unsaid), *range(tokenizer.vocab_size, model.config.vocab_size)]

    def encode(self, prompt: str) -> list[int]:
        """The ids the model is given for a prompt: the end mark of "the document before", then the text.

        A text of exactly the context length goes without the mark. Raises UsageError for a longer one, TokenizerError
        for a character that the vocabulary lacks.
        """
        ids = self.tokenizer.encode(prompt)
        if len(ids) < self.context_length:
            ids = [self.tokenizer.start_id, *ids]
        check_prompt(ids, self.context_length)
        return ids

    def stream(
        self, prompt: str | Sequence[int], options: SamplingOptions, *, top: int = 0
    ) -> Generator[Piece, None, None]:
        """Continue one prompt (text, or the very ids to give the model), piece by piece as tokens are made.

        Mistakes in prompt and options are raised here, not at the first piece.
        """
        (writer,) = self._writers([prompt], options, n=1)
        return (piece for _, piece in self._write([writer], slots=1, top=top))

    def generate(
        self,
        prompts: Sequence[str | Sequence[int]],
        options: SamplingOptions,
        *,
        n: int = 1,
        top: int = 0,
        slots: int | None = None,
    ) -> list[Generation]:
        """`n` continuations of each prompt, with the seeds seed, seed + 1 …: those of the first prompt, of the second …

        A text does not depend on the other prompts; see `decode` for `slots`. Raises UsageError when options
        contradict each other, or n is not at least 1, or above 1 where all would be equal.
        """
        writers = self._writers(prompts, options, n=n)
        if slots is None:
            slots = 1 if len(writers) == 1 else BATCH_SLOTS
        for _ in self._write(writers, slots=slots, top=top):
            pass
        return [writer.generation() for writer in writers]

    def _writers(self, prompts: Sequence[str | Sequence[int]], options: SamplingOptions, *, n: int) -> list[Writer]:
        check_conflicts(options)
        greedy = is_greedy(options)
        if n < 1:
            raise UsageError(f"{n} is too small", where="n", hint="It must be at least 1.")
        if n > 1 and greedy:
            raise UsageError(f"with greedy all {n} samples would be the same", where="n", hint="Ask for one.")
        first = None if greedy else self.draw_seed() if options.seed is None else options.seed
        seeds = [None if first is None else first + i for i in range(n)]
        return [Writer(self, prompt, options, seed) for prompt in prompts for seed in seeds]

    def _write(self, writers: list[Writer], *, slots: int, top: int) -> Iterator[tuple[Writer, Piece]]:
        """Move all texts on until each has ended; the texts that wait enter as slots become free."""
        need = max((len(writer.prompt_ids) + writer.options.max_tokens for writer in writers), default=1)
        decoder = Decoder(
            self.model, slots=slots, eot_id=self.end_id, capacity=enough(need, self.context_length),
            forbidden=self.forbidden, top=top,
        )  # fmt: skip
        waiting = deque(enumerate(writers))
        with evaluating(self.model):
            while waiting or decoder.free < slots:
                while waiting and decoder.free:
                    row, writer = waiting.popleft()
                    writer.started_s = self.clock()
                    decoder.admit(row, writer.prompt_ids, writer.options, writer.dice())
                for step in decoder.step():
                    writer = writers[step.row]
                    piece = writer.take(step)
                    if piece.finish_reason is not None:
                        decoder.leave(step.row)
                        writer.seconds = self.clock() - writer.started_s
                    yield writer, piece


class Writer:
    """One text while it is written: its tokens, its half characters, its stop strings."""

    def __init__(
        self, session: Session, prompt: str | Sequence[int], options: SamplingOptions, seed: int | None
    ) -> None:
        tokenizer = session.tokenizer
        if isinstance(prompt, str):
            self.prompt, self.prompt_ids = prompt, session.encode(prompt)
        else:
            check_prompt(prompt, session.context_length)
            self.prompt, self.prompt_ids = tokenizer.decode(prompt), list(prompt)
        self.options, self.seed = options, seed
        self.context_length = session.context_length
        self.decoder, self.stops = StreamDecoder(tokenizer), StopStrings(options.stop)
        if not tokenizer.table.joins:
            for number in self.prompt_ids[-8:]:  # such tokenizers write a token differently at the head of a text
                if not tokenizer.is_special(number):  # the start mark is no text: behind it is the head
                    self.decoder.push(number)
        self.started_s = self.seconds = 0.0
        self.text, self.finish_reason = "", ""
        self.ids: list[int] = []
        self.logprobs_nats: list[float] = []
        self.top: list[tuple[tuple[int, float], ...]] = []
        self.notes: list[str] = []

    def dice(self) -> torch.Generator | None:
        """The row's own random numbers; none for greedy."""
        return None if self.seed is None else torch.Generator().manual_seed(self.seed)

    def take(self, step: Step) -> Piece:
        """What a token adds; ends the text where a stop string is complete."""
        finish = step.finish
        shown = ""
        if finish != "eos":
            self.ids.append(step.id)
            self.logprobs_nats.append(step.logprob_nats)
            if step.top:
                self.top.append(step.top)
            shown = self.stops.push(self.decoder.push(step.id))
        if finish is not None:
            shown += self.stops.push(self.decoder.flush()) + self.stops.flush()
        if self.stops.hit is not None:
            finish = "stop"
        self.text += shown
        self.finish_reason = self.finish_reason if finish is None else finish
        return Piece(shown, step.id, step.logprob_nats, step.top, finish, self._note(step))

    def _note(self, step: Step) -> str | None:
        if not step.slid or self.notes:
            return None
        self.notes.append(
            f"The context of {self.context_length:,} tokens is full: its older half is dropped, now and whenever it "
            "fills again."
        )
        return self.notes[0]

    def generation(self) -> Generation:
        """The finished text."""
        speed = len(self.ids) / self.seconds if self.seconds > 0 else 0.0
        return Generation(
            self.prompt, self.text, self.ids, self.prompt_ids, self.logprobs_nats, self.finish_reason, self.seed,
            speed, self.top, self.notes,
        )  # fmt: skip
