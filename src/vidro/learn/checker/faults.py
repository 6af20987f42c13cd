"""The catalogue of faults, and what a check says: findings, gathered in a report.

A fault has a short name, one sentence that says what is wrong, and one that says what to do. What was seen in this
model (numbers, the module) is added by the probe that found it. Not here: how faults are found (`probes_*`), in which
order the probes run (`checking`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

PASSED, FAULT, NOT_APPLICABLE = "passed", "fault", "not applicable"


@dataclass(frozen=True)
class Fault:
    """What can be wrong with a model: `title` says what, `todo` says what to do."""

    title: str
    todo: str


FAULTS: dict[str, Fault] = {
    "does-not-run": Fault(
        "the model raises an error",
        "Make model(ids) return logits for ids of shape [batch, tokens], at every length up to the context.",
    ),
    "only-full-length": Fault(
        "the model runs on a full context only",
        "Cut what has a fixed size to the tokens at hand: mask[:T, :T], positions[:T].",
    ),
    "not-finite": Fault(
        "logits are NaN or infinite",
        "Look for a row of the mask that hides everything (softmax of −∞ alone is NaN), or a division by zero.",
    ),
    "future-leak": Fault(
        "tokens see later tokens",
        "Fill scores of later tokens with −∞ before the softmax, and mix tokens nowhere else.",
    ),
    "mask-never-applied": Fault(
        "a causal mask is made and never applied",
        "Use its result: scores = scores.masked_fill(mask, -inf), or masked_fill_; or say is_causal=True.",
    ),
    "mask-too-weak": Fault(
        "the mask is applied, but later tokens keep a share",
        "Fill with -inf before the softmax; 0 and small numbers are scores like any other.",
    ),
    "wrong-mask": Fault(
        "the mask hides the wrong places",
        "Hide exactly j > i: triu(ones, diagonal=1). For scaled_dot_product_attention True means: may look.",
    ),
    "context-unused": Fault(
        "logits do not depend on the tokens before",
        "Let attention's result reach the residual, and let the mask hide later tokens only.",
    ),
    "rows-mixed": Fault(
        "texts of one batch influence each other",
        "Keep the batch axis apart: look for a softmax, mean or reshape over the first axis.",
    ),
    "query-key-swapped": Fault(
        "query and key are exchanged",
        "Compute queries with the query matrix and keys with the key matrix; loaded weights make no sense otherwise.",
    ),
    "differs-from-reference": Fault(
        "logits differ from the reference model's",
        "Compare the two block by block, from the first module that differs.",
    ),
    "softmax-wrong-axis": Fault(
        "the softmax runs over the wrong axis",
        "Shares must sum to 1 over the keys: softmax(scores, dim=-1) for scores of shape [.., queries, keys].",
    ),
    "not-renormalised": Fault(
        "shares are masked after the softmax and no longer sum to 1",
        "Mask with −∞ before the softmax, or divide each row by its sum after masking.",
    ),
    "missing-scale": Fault(
        "scores are not divided by √d_head",
        "Divide query · key by the square root of the head's width, keys.shape[-1] ** 0.5.",
    ),
    "first-loss": Fault(
        "the loss before training is far from ln V",
        "Start with small weights, for example N(0, 0.02), the tied embedding included.",
    ),
    "probabilities-returned": Fault(
        "the model returns probabilities instead of logits",
        "Leave the last softmax out; cross_entropy and sampling apply their own.",
    ),
    "labels-unshifted": Fault(
        "the loss compares each token with itself",
        "Compare logits[:, :-1] with labels[:, 1:]; or name the argument targets and shift in the data.",
    ),
    "labels-shifted-wrongly": Fault(
        "the loss compares each token with another than the next",
        "Compare logits[:, :-1] with labels[:, 1:].",
    ),
    "padding-in-loss": Fault(
        "padding counts in the loss",
        "Give cross_entropy ignore_index=-100, and divide by the tokens that count.",
    ),
    "positions-ignored": Fault(
        "the order of earlier tokens makes no difference",
        "Add position embeddings to the token embeddings, or rotate queries and keys (RoPE).",
    ),
    "dropout-in-eval": Fault(
        "dropout is active in evaluation",
        "Use nn.Dropout, or F.dropout(x, p, training=self.training); dropout_p=0.0 in eval for PyTorch's attention.",
    ),
    "untied-copy": Fault(
        "tied weights are a copy",
        "Assign the parameter itself: self.head.weight = self.embedding.weight.",
    ),
    "cache-differs": Fault(
        "the KV cache changes the answer",
        "Check the positions and the mask of the cached steps: new token i stands at held + i and sees all up to it.",
    ),
    "cannot-overfit": Fault(
        "the model cannot learn one batch by heart",
        "Look for weights that get no gradient, a loss of the wrong pairs, or activations that vanish.",
    ),
    "hidden-modules": Fault(
        "modules are kept in a plain list",
        "Use nn.ModuleList or nn.ModuleDict; otherwise they are not trained, moved, saved or switched to eval.",
    ),
    "no-gradient": Fault(
        "parameters get no gradient",
        "Use the module in forward, and look for detach, .data, no_grad and requires_grad=False.",
    ),
}


@dataclass(frozen=True)
class Finding:
    """What one probe says: its outcome, what was seen, and for a fault its name and the module."""

    probe: str
    outcome: str
    seen: str
    fault: str | None = None
    where: str | None = None

    def __str__(self) -> str:
        if self.fault is None:
            joint = ", because " if self.outcome == NOT_APPLICABLE else ": "
            return f"{self.probe}: {self.outcome}{joint}{self.seen}"
        place = f" in {self.where}" if self.where else ""
        known = FAULTS[self.fault]
        return f"{self.fault}{place}: {known.title}; {self.seen}. {known.todo}"


@dataclass(frozen=True)
class Report:
    """All findings about one model, in the order of the probes."""

    model: str
    findings: tuple[Finding, ...]
    vocab_size: int
    context_length: int
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that name a fault."""
        return tuple(finding for finding in self.findings if finding.outcome == FAULT)

    @property
    def names(self) -> frozenset[str]:
        """The names of all faults found."""
        return frozenset(finding.fault for finding in self.faults if finding.fault is not None)

    @property
    def sound(self) -> bool:
        """Whether no fault was found."""
        return not self.faults

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.faults]
        count = {outcome: sum(f.outcome == outcome for f in self.findings) for outcome in (PASSED, NOT_APPLICABLE)}
        tail = f"{len(lines)} faults, {count[PASSED]} passed, {count[NOT_APPLICABLE]} not applicable"
        return "\n".join([*lines, tail])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.model,
            "sound": self.sound,
            "vocab_size": self.vocab_size,
            "context_length": self.context_length,
            "seconds": round(self.seconds, 2),
            "notes": list(self.notes),
            "findings": [
                {**asdict(f), "todo": FAULTS[f.fault].todo if f.fault is not None else None} for f in self.findings
            ],
        }


class NotApplicable(Exception):
    """A probe has nothing to look at in this model; the message completes "not applicable, because …"."""


def passed(probe: str, seen: str) -> Finding:
    """The probe found nothing wrong."""
    return Finding(probe, PASSED, seen)


def found(probe: str, fault: str, seen: str, where: str | None = None) -> Finding:
    """The probe found a fault of the catalogue."""
    assert fault in FAULTS, fault
    return Finding(probe, FAULT, seen, fault, where)


def not_applicable(probe: str, because: str) -> Finding:
    """The probe has nothing to look at."""
    return Finding(probe, NOT_APPLICABLE, because)
