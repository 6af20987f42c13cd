"""Watching the validation loss: the best so far, overfitting in words, and when to stop early.

Pure bookkeeping over numbers, saved with each checkpoint. Not here: evaluating (`evals`), the loop (`loop`).
"""

from __future__ import annotations

from dataclasses import dataclass

from vidro.evals.curves import TURN_FRACTION, TURN_LOOKS


@dataclass
class Watch:
    """What has been seen; `observe` is called once per look, in order."""

    best_nats: float | None = None
    best_step: int = 0
    best_train_nats: float | None = None
    looks_since_best: int = 0
    looks_above: int = 0
    overfit_said: bool = False
    turn_frac: float = TURN_FRACTION
    """How far above its lowest the validation loss must be, as a share, to have turned up."""

    def observe(self, step: int, nats: float, train_nats: float | None) -> bool:
        """Take in one look (nats per token); True when it is the best so far."""
        if self.best_nats is None or nats < self.best_nats:
            self.best_nats, self.best_step, self.best_train_nats = nats, step, train_nats
            self.looks_since_best = self.looks_above = 0
            return True
        self.looks_since_best += 1
        self.looks_above = self.looks_above + 1 if nats > self.best_nats * (1 + self.turn_frac) else 0
        return False

    def turn(self, step: int, nats: float, train_nats: float | None, *, helps: str) -> str | None:
        """One message, once, when the validation loss has turned up while the training loss went on falling."""
        if self.overfit_said or self.looks_above < TURN_LOOKS or self.best_nats is None:
            return None
        if train_nats is None or (self.best_train_nats is not None and train_nats >= self.best_train_nats):
            return None
        self.overfit_said = True
        return (
            f"Overfitting: the validation loss was lowest at step {self.best_step} ({self.best_nats:.3f} nats per "
            f"token) and is {nats - self.best_nats:.3f} higher at step {step}, while the training loss fell to "
            f"{train_nats:.3f}. The model is learning its text by heart. The model of step {self.best_step} is kept "
            f"as the result. What helps: {helps}."
        )

    def exhausted(self, patience: int | None) -> bool:
        """Whether so many looks passed without a new best that training should end (0 or None: never)."""
        return bool(patience) and patience is not None and self.looks_since_best >= patience


def what_helps(dropout: float, patience: int | None) -> str:
    """What a run with these settings can do against overfitting.

    >>> what_helps(0.0, None)
    'more text, a smaller model, --dropout 0.1, fewer epochs, or --patience 3'
    >>> what_helps(0.2, 5)
    'more text, a smaller model, more --dropout than 0.2, or fewer epochs'
    """
    more = f"more --dropout than {dropout:g}" if dropout else "--dropout 0.1"
    helps = ["more text", "a smaller model", more, "fewer epochs", *([] if patience else ["--patience 3"])]
    return f"{', '.join(helps[:-1])}, or {helps[-1]}"
