"""What is asked of llama.cpp after an export to GGUF, and what we expect: the run's own ids, conversations, numbers.

The numbers are asked at every place of some texts that the model writes itself, so that none has to be at hand and the
perplexity is that of a text like those it learned from; and at some places of a row of random tokens as long as its
context. Not here: the comparison (`vidro.checkpoint.gguf.verify`), texts and conversations (`export_sample`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from vidro.api.export_sample import TALK, conversations, difficult_texts
from vidro.checkpoint.gguf.verify import Question, Sample
from vidro.checkpoint.huggingface import read_model
from vidro.config.schema import SamplingOptions
from vidro.core.errors import TokenizerError
from vidro.infer.session import Session
from vidro.model.modes import at_rest
from vidro.text.styles import encode_segments

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.model.transformer import Transformer

N_WRITTEN, N_TEXTS, N_FAR, N_TOP, SEED = 64, 4, 6, 8, 20
MOST_ROUNDS = 12  # of so many texts each, where they end early: a perplexity of twenty tokens says little
MOST_FAR_TOKENS = 1024


def sample_of(run: Run, kind: str) -> tuple[Sample, list[str]]:
    """What to ask, and remarks on what could not be asked. `kind`: that of the file's numbers."""
    texts, n_left_out = difficult_texts(run.tokenizer)
    notes = []
    if n_left_out:
        notes.append(
            f"{n_left_out} difficult texts hold characters that this vocabulary lacks; they were not compared."
        )
    talk = [] if run.style is None else conversations(run.style, run.tokenizer)
    if run.style is not None and not talk:
        notes.append("The vocabulary lacks the characters of the conversations; the chat template was not compared.")
    model = read_model(run.opened.model_dir).eval()
    place = str(run.opened.model_dir.resolve())
    return Sample(kind, model.config.context_length, place, texts, questions(run, model), talk), notes


def questions(run: Run, model: Transformer) -> list[Question]:
    """Every place of the texts that the model writes, and some of the long row."""
    tokenizer, config = run.tokenizer, model.config
    session = Session(model, tokenizer, end=None if run.style is None else run.style.end_token)
    opening = opening_ids(run, config.context_length)
    found: list[Question] = []
    for number in range(MOST_ROUNDS):
        if len(found) >= N_WRITTEN * N_TEXTS // 2:
            break
        options = SamplingOptions(max_tokens=N_WRITTEN, temperature=1.0, seed=SEED + number, on_full="stop")
        for written in session.generate([opening], options, n=N_TEXTS):
            ends = [session.end_id] if written.finish_reason == "eos" else []
            line = [*opening, *written.ids, *ends][: config.context_length]
            found += asked(model, line, range(len(opening), len(line)), counts=True)
    length = min(config.context_length, MOST_FAR_TOKENS)
    generator = torch.Generator().manual_seed(SEED)
    far = torch.randint(min(tokenizer.vocab_size, config.vocab_size), (length,), generator=generator).tolist()
    places = sorted({1 + round(i * (length - 2) / (N_FAR - 1)) for i in range(N_FAR)}) if length > 1 else []
    return found + asked(model, far, places, counts=False)


def opening_ids(run: Run, context_length: int) -> list[int]:
    """What the texts begin with: a question where the run was taught to answer, else the mark before every text."""
    start = [run.tokenizer.start_id]
    if run.style is None:
        return start
    try:
        said = encode_segments(run.tokenizer, run.style.prompt(TALK[0]))[0]
    except TokenizerError:  # a vocabulary without these letters
        return start
    return said if len(said) <= context_length // 2 else start


def asked(model: Transformer, line: list[int], places: Iterable[int], *, counts: bool) -> list[Question]:
    """A question for each place of a row of ids: what comes there, after all that stands before it."""
    with torch.inference_mode(), at_rest(model):
        nats = model(torch.tensor([line]))[0].float().log_softmax(-1)
    found = []
    for place in places:
        own = nats[place - 1]
        values, ids = own.topk(min(N_TOP, len(own)))
        top = list(zip(ids.tolist(), values.tolist(), strict=True))
        found.append(Question(line[:place], line[place], float(own[line[place]]), top, counts))
    return found
