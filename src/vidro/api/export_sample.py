"""What is compared after an export: difficult texts and their ids, conversations as written, log-probabilities.

The expected values are computed here, by Vidro, from the run; the other process (`vidro.checkpoint.verify_hf`) computes
them again from the files that were written. Not here: the comparison, and what is exported (`export_hf`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from vidro.checkpoint.verify_hf import Sample
from vidro.core.errors import TokenizerError
from vidro.infer.classifier import ClassifierSession, Reader
from vidro.model.modes import at_rest
from vidro.text.conversation import Message
from vidro.text.styles import encode_segments

if TYPE_CHECKING:
    from torch import Tensor

    from vidro.api.run import Run
    from vidro.model.transformer import Transformer
    from vidro.text.conversation import PromptStyle
    from vidro.text.tokenizer import Tokenizer

DIFFICULT = (
    "Once upon a time the fox said: “Olá!”\n\n  It took 12 hens; 3.14159 and 1,000,000.",
    "",
    " ",
    "   leading, and two trailing  ",
    "a\r\nb\r\n\r\nc\r",
    "tab\tand\t\ttabs\n\n\n and \n \n  lines",
    "nul\x00 bell\x07 escape\x1b[0m delete\x7f next\x85",
    "no-break\u00a0zero\u200bwidth\u200djoiner\ufeffmark\u2028line\u3000wide",
    "e\u0301 and \u00e9 are not the same; \u0301\u0302\u0303 stand alone; a\u0328\u0301",
    "👍 👍🏽 👩\u200d👩\u200d👧\u200d👦 🇧🇷 ❤️ 😀😃",
    "ação coração não é óbvio, Conceição; às vezes pôr-do-sol; Straße, ﬁn, ſ",
    "日本語、한국어, ภาษาไทย, हिन्दी, مرحبا ٠١٢, שלום",
    "don't I'LL we've 's't 'S ’s",
    "        def f(x):\n            return x\n",
    "<|endoftext|> a <|pad|><|im_start|>user\n<|im_end|> <|user|> <|end|> <unk> </s> [PAD]",
    "<|endoftext| |endoftext|> <|<|pad|>|>",
    "\ufffd \ufffe \U0010ffff",
)
"""Texts that tell tokenizers apart: blanks, line ends, control and combining characters, names of special tokens."""

MOST_TOKENS, MOST_PLACES, N_WINDOWS, SEED = 1024, 32, 2, 20
TALK = (
    [Message("user", "What is the fox?")],
    [Message("system", "Be short."), Message("user", "  Olá, 世界 🦊!\n\n1, 2  ")],
    [Message("user", "Hi"), Message("assistant", "Hello, you."), Message("user", "Who are you?")],
    [Message("user", "Hi"), Message("assistant", "Good day.")],
)


def sample_of(run: Run, model: Transformer) -> tuple[Sample, list[str]]:
    """What to ask and what we expect, and remarks on what could not be asked. `model` is the run's, in fp32."""
    tokenizer = run.tokenizer
    texts, n_left_out = difficult_texts(tokenizer)
    notes = []
    if n_left_out:
        of = len(DIFFICULT) + len(tokenizer.special_ids)
        notes.append(
            f"{n_left_out} of {of} difficult texts hold characters that this vocabulary lacks; they were not compared."
        )
    begun = [tokenizer.start_id] if starts(run) else []
    if model.config.labels:
        classes, found = expected_classes(run, model)
        return Sample(texts, found, classes=classes, begun=begun), notes
    windows, places = random_windows(tokenizer, model)
    talk = [] if run.style is None else conversations(run.style, tokenizer)
    if run.style is not None and not talk:
        notes.append("The vocabulary lacks the characters of the conversations; the chat template was not compared.")
    found = expected(model, windows, places)
    return Sample(texts, found, windows, places, conversations=talk, begun=begun), notes


def starts(run: Run) -> bool:
    """Whether others are to put a token before every text: a classifier's only where it learned to read it."""
    reads_it = run.record.get("kind") != "classifier" or run.record.get("reader", {}).get("starts", False)
    return reads_it and run.tokenizer.puts_start_first


def difficult_texts(tokenizer: Tokenizer) -> tuple[list[tuple[str, list[int]]], int]:
    """Texts with their ids: `DIFFICULT`, the name of each special token in a text, and all of the vocabulary.

    And how many of them this vocabulary cannot say.
    """
    found: list[tuple[str, list[int]]] = []
    candidates = [*DIFFICULT, *(f"a {name} b{name}" for name in tokenizer.special_ids)]
    for text in candidates:
        try:
            found.append((text, tokenizer.encode(text)))
        except TokenizerError:
            continue
    n_left_out = len(candidates) - len(found)
    plain = [number for number in range(tokenizer.vocab_size) if not tokenizer.is_special(number)]
    known = [number for number in plain if number in tokenizer.table.bytes_of]
    for start in range(0, min(len(known), 8192), 1024):
        text = tokenizer.decode(known[start : start + 1024])
        if "\ufffd" not in text or tokenizer.lossless:
            try:
                found.append((text, tokenizer.encode(text)))
            except TokenizerError:
                continue
    return found, n_left_out


def random_windows(tokenizer: Tokenizer, model: Transformer) -> tuple[list[list[int]], list[int]]:
    """Rows of random ids as long as the context (at most `MOST_TOKENS`), and the places that are compared."""
    length = min(model.config.context_length, MOST_TOKENS)
    random = np.random.default_rng(SEED)
    rows = random.integers(0, min(tokenizer.vocab_size, model.config.vocab_size), (N_WINDOWS, length))
    rows[:, 0] = tokenizer.eot_id
    places = np.unique(np.linspace(0, length - 1, MOST_PLACES).round().astype(int))
    return rows.tolist(), places.tolist()


@torch.inference_mode()
def expected(model: Transformer, windows: list[list[int]], places: list[int]) -> Tensor:
    """Log-probabilities [windows, places, V]."""
    with at_rest(model):
        return model(torch.tensor(windows))[:, places].float().log_softmax(-1).clone()


def expected_classes(run: Run, model: Transformer) -> tuple[list[str], Tensor]:
    """Texts of different lengths, and the log-probabilities of their classes, [texts, classes]."""
    most = min(run.record.get("reader", {}).get("max_tokens", model.config.context_length), model.config.context_length)
    reader = Reader(run.tokenizer, most, starts=starts(run))
    texts = []
    for text in (*DIFFICULT, "Rain.", "You have won a prize! " * 3, "a", "the fox ran over the hill"):
        try:
            ids = run.tokenizer.encode(text)
        except TokenizerError:
            continue
        # Names of special tokens become one id elsewhere, unless one asks for their letters (`vidro.text.tokenizer`).
        if text.strip() and len(ids) < most and "<|" not in text:
            texts.append(text)
    if not texts:
        random = np.random.default_rng(SEED)
        plain = [n for n in run.tokenizer.table.bytes_of if not run.tokenizer.is_special(n)]
        made = [run.tokenizer.decode(random.choice(plain, size)) for size in (1, 2, 3)]
        texts = [text for text in made if text.strip() and len(run.tokenizer.encode(text)) < most]
    return texts, ClassifierSession(model, reader).logits(reader.rows(texts)).log_softmax(-1)


def conversations(
    style: PromptStyle, tokenizer: Tokenizer
) -> list[tuple[list[dict[str, str]], bool, str, list[int] | None]]:
    """Conversations as the style writes them. Ids only of first turns: in later ones servers may cut differently."""
    found: list[tuple[list[dict[str, str]], bool, str, list[int] | None]] = []
    for messages in TALK:
        asks = messages[-1].role == "user"
        segments = style.prompt(messages) if asks else style.segments(messages)
        try:
            ids = encode_segments(tokenizer, segments)[0]
        except TokenizerError:
            continue
        plain = [{"role": message.role, "content": message.content} for message in messages]
        first = asks and not any(message.role == "assistant" for message in messages)
        found.append((plain, asks, "".join(segment.text for segment in segments), ids if first else None))
    return found


def spelled_names(style: PromptStyle, tokenizer: Tokenizer) -> list[str]:
    """Special tokens whose names the style writes letter by letter, where others would read one token."""
    written = "\n".join(segment.text for segment in style.segments(TALK[3]) if not segment.special)
    return [name for name in tokenizer.special_ids if name in written]
