"""Pretraining as a task of the loop: windows of the token stream in, looks at the validation text on the way.

Not here: the loop (`loop`), reading and tokenizing (`data`), what is measured (`evals`, `inspect`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidro.config.schema import SamplingOptions
from vidro.data.windows import TokenStream
from vidro.evals.memorisation import CopyIndex
from vidro.evals.subset import ValSubset
from vidro.infer.session import Session
from vidro.inspect.probes import ProbeRecorder
from vidro.model.loss import lm_loss
from vidro.model.modes import at_rest
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.train.step import Batch


@dataclass(kw_only=True)
class TextTask:
    """Batch N is rows × context tokens, a pure function of N; the same on any number of micro-batches."""

    stream: TokenStream
    rows: int
    device: torch.device
    tokenizer: Tokenizer
    val: ValSubset
    prompts: tuple[str, ...]
    sampling: SamplingOptions
    copies: CopyIndex
    probes: ProbeRecorder
    compiled: bool
    autocast: Callable[[], AbstractContextManager]

    def batch(self, step: int) -> Batch:
        """The rows of optimizer step `step`, counted from 0."""
        ids, targets = self.stream.batch(step * self.rows, self.rows)
        return Batch(self._to_device(ids), self._to_device(targets))

    def _to_device(self, array: Any) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """(sum of nats, counted tokens) of a micro-batch."""
        assert isinstance(model, Transformer)
        return lm_loss(model, batch.ids, batch.targets)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The validation subset, as the fields of an ``eval`` event."""
        assert isinstance(model, Transformer)
        with self.looking(model):
            return self.val.evaluate(model).event_fields()

    def samples(self, model: nn.Module, step: int) -> list[dict[str, Any]]:
        """Continuations of the fixed prompts with fixed seeds, and how much of each stands in the training text."""
        assert isinstance(model, Transformer)
        with self.looking(model):
            written = Session(model, self.tokenizer).generate(list(self.prompts), self.sampling)
        samples = []
        for prompt, generation in zip(self.prompts, written, strict=True):
            copied = self.copies.copied(generation.text)
            samples.append(
                {
                    "prompt": prompt,
                    "text": generation.text,
                    "seed": generation.seed,
                    "copied_frac": round(copied.copied_frac, 4),
                    "longest_copy_chars": copied.longest_chars,
                    "copied_spans": [list(span) for span in copied.spans],
                }
            )
        return samples

    def probe(self, model: nn.Module, step: int, *, last: bool = False) -> None:
        """Record the inside of the model on the probe sentences, at the chosen steps and the last one."""
        assert isinstance(model, Transformer)
        if last or self.probes.due(step):
            with self.looking(model):
                self.probes.record(model, step)

    @contextmanager
    def looking(self, model: Transformer) -> Iterator[None]:
        """At rest, in the precision of training; compiled blocks run as written, since looks have many shapes."""
        eager = torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()
        with at_rest(model), self.autocast(), eager:
            yield
