"""How much do the words before help? The same tokens of unseen stories, predicted with only the last k tokens visible.

A model that sees one token can know which tokens are common after it and no more; each doubling of what it sees shows
what the words further back are good for. The same model also writes with two tokens visible and with all of them. Not
here: how a model looks back (the lessons on attention), training with a shorter context (`sizes`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vidro.core.shapes import Float, Int
from vidro.data.tinyworld import stories
from vidro.infer.session import Session
from vidro.learn.experiments.drawing import doubling
from vidro.learn.experiments.registry import Report, Request, Table
from vidro.learn.figures import curves
from vidro.model.modes import at_rest
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer

HELD_OUT_SEED = 2  # the corpus is told with seed 1
BATCH_TOKENS = 8192
FEW = 8  # visible tokens with which the whole context is compared, token by token


@dataclass(frozen=True)
class ContextSettings:
    """How much of everything."""

    seed: int = 1
    n_targets: int = 1000
    """Tokens that are predicted, the same ones with every k."""

    held_out_bytes: int = 60_000
    written_tokens: int = 60
    examples: int = 6


def run(request: Request) -> Report:
    """Losses, examples and samples of the run of the request."""
    assert request.run is not None
    return study(request.run.model, request.run.tokenizer, ContextSettings(), request.say)


def study(model: Transformer, tokenizer: Tokenizer, settings: ContextSettings, say: Callable[[str], None]) -> Report:
    """The report on any model and its tokenizer."""
    length = model.config.context_length
    stream, targets = places(tokenizer, settings, length)
    bytes_each = sum(len(tokenizer.token_bytes(int(stream[place]))) for place in targets) / len(targets)
    nats: dict[int, Tensor] = {}
    right: dict[int, float] = {}
    for k in visible(length):
        say(f"{len(targets):,} tokens, each with {k:,} before it …")
        nats[k], right[k] = predicted(model, stream, targets, k)
    means = {k: value.mean().item() for k, value in nats.items()}
    tables = [
        loss_table(means, right, bytes_each),
        example_table(tokenizer, stream, targets, nats, settings.examples),
        sample_table(model, tokenizer, settings),
    ]
    line = {"unseen stories": (list(means), list(means.values()))}
    figure = curves(line, x="tokens visible", y="nats per token", title="What the words before are good for")
    shown = {"seed": settings.seed, "n_targets": len(targets), "context_length": length}
    return Report(tables, findings(means, bytes_each), {"context": doubling(figure, list(means))}, shown)


def visible(length: int) -> list[int]:
    """1, 2, 4 … and the whole context.

    >>> visible(48)
    [1, 2, 4, 8, 16, 32, 48]
    """
    return [*(2**power for power in range(math.ceil(math.log2(length)))), length]


def places(tokenizer: Tokenizer, settings: ContextSettings, length: int) -> tuple[Int[Tensor, "S"], list[int]]:
    """Unseen stories one behind the other, and evenly spaced places with a whole context before them.

    Marks between stories are no targets.
    """
    ids = [tokenizer.eot_id]
    for one in stories(seed=HELD_OUT_SEED, n_bytes=settings.held_out_bytes):
        ids += [*tokenizer.encode(one), tokenizer.eot_id]
    words = [place for place in range(length, len(ids)) if ids[place] != tokenizer.eot_id]
    n = min(settings.n_targets, len(words))
    return torch.tensor(ids), [words[number * len(words) // n] for number in range(n)]


def predicted(
    model: Transformer, stream: Int[Tensor, "S"], targets: Sequence[int], k: int
) -> tuple[Float[Tensor, "N"], float]:
    """The nats of each target with the `k` tokens before it visible, and the share (%) that is the first guess."""
    nats, n_right = [], 0
    size = max(1, BATCH_TOKENS // k)
    with at_rest(model):
        for start in range(0, len(targets), size):
            some = torch.tensor(targets[start : start + size])
            hidden = model.hidden(stream[some[:, None] + torch.arange(-k, 0)])[:, -1]
            logits = model.head(hidden).float()
            wanted = stream[some]
            nats.append(-logits.log_softmax(dim=-1).gather(1, wanted[:, None])[:, 0])
            n_right += int((logits.argmax(dim=-1) == wanted).sum())
    return torch.cat(nats), 100 * n_right / len(targets)


def loss_table(means: dict[int, float], right: dict[int, float], bytes_each: float) -> Table:
    """The losses by what is visible."""
    rows = [(f"{k:,}", round(nats, 3), round(math.exp(nats), 2), round(nats / math.log(2) / bytes_each, 3),
             round(right[k])) for k, nats in means.items()]  # fmt: skip
    columns = ("tokens visible", "nats per token", "perplexity", "bits per byte", "first guess right, %")
    return Table("The same tokens, with less and more before them", columns, rows)


def example_table(
    tokenizer: Tokenizer, stream: Int[Tensor, "S"], targets: Sequence[int], nats: dict[int, Tensor], n: int
) -> Table:
    """The tokens to which the words far back matter most."""
    few, most = min(FEW, max(nats)), max(nats)
    gain = nats[few] - nats[most]
    rows: dict[str, tuple[Any, ...]] = {}  # by text: stories repeat themselves
    for number in gain.argsort(descending=True).tolist():
        if len(rows) == n:
            break
        place = targets[number]
        before = tokenizer.decode(stream[place - few : place].tolist()).replace("\n", " ")
        word = tokenizer.decode([int(stream[place])])
        chances = (100 * math.exp(-nats[k][number].item()) for k in (few, most))
        text = f"…{before} |{word}".replace("\n", " ")
        rows.setdefault(text, (text, *(f"{chance:.1f}" for chance in chances)))
    columns = ("the token after |", f"% with {few}", f"% with {most:,}")
    return Table("Where the words far back matter most", columns, list(rows.values()))


def sample_table(model: Transformer, tokenizer: Tokenizer, settings: ContextSettings) -> Table:
    """The same beginning, continued with 2 tokens visible and with all."""
    begin = [tokenizer.eot_id, *tokenizer.encode("Once there was")]
    rows = [("2" if k == 2 else "all", write(model, tokenizer, begin, k, settings))
            for k in (2, model.config.context_length)]  # fmt: skip
    return Table("Written with so many tokens visible (temperature 0.8)", ("tokens visible", "text"), rows)


def write(model: Transformer, tokenizer: Tokenizer, begin: Sequence[int], k: int, settings: ContextSettings) -> str:
    """A text that begins so, each next token drawn at temperature 0.8 from what follows the last `k`."""
    unsaid = Session(model, tokenizer).forbidden
    ids, dice = list(begin), torch.Generator().manual_seed(settings.seed)
    with at_rest(model):
        for _ in range(settings.written_tokens):
            logits = model.head(model.hidden(torch.tensor([ids[-k:]]))[:, -1])[0].float()
            logits[unsaid] = -torch.inf
            ids.append(int(torch.multinomial((logits / 0.8).softmax(dim=-1), 1, generator=dice)))
            if ids[-1] == tokenizer.eot_id:
                break
    return tokenizer.decode([token for token in ids if token != tokenizer.eot_id]).replace("\n", " ")


def findings(means: dict[int, float], bytes_each: float) -> list[str]:
    """What the numbers say."""
    least, most = min(means), max(means)
    bits = [means[k] / math.log(2) / bytes_each for k in (least, most)]
    said = [f"With one token visible {bits[0]:.3f} bits per byte, with {most:,} {bits[1]:.3f}: "
            f"the words before are worth {100 * (1 - bits[1] / bits[0]):.0f} % of the loss."]  # fmt: skip
    whole = means[least] - means[most]
    if whole > 0:
        half = min(k for k in means if means[least] - means[k] >= 0.9 * whole)
        said.append(f"The nearest {half:,} tokens give nine tenths of that.")
    worse = [k for k in means if means[k] > min(means.values()) + 0.01 and k > min(means, key=lambda k: means[k])]
    if worse:
        said.append(f"More is not always better: with {worse[-1]:,} visible it predicts worse than with fewer.")
    return said
