"""The one training loop: steps until the budget is used, looking, sampling, saving and landing on the way.

It knows nothing of text: a `Task` gives it batches and numbers, a `Keeper` keeps what must survive. Pretraining,
classification and instruction tuning are wirings of it. All it remembers is in `LoopState`, which is plain JSON, so
a run that was killed goes on bit for bit. Read before: `step`. Read next: `pretrain`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch

from vidro.core.errors import TrainingError
from vidro.core.events import EventStream
from vidro.train.optim import Optimizer
from vidro.train.schedule import Schedule
from vidro.train.step import Batch, LossFunction, LossScaler, StepReport, StepSettings, train_step
from vidro.train.stop import StopSignal
from vidro.train.watch import Watch, what_helps

NOT_FINITE = "What was saved is not lost: start from a kept step with --from NAME@STEP and a lower"
LANDING_S = 20.0  # the decay after the first Ctrl-C lasts at most this long; looking and saving come on top
LANDING_SHARE = 0.1  # … and at most this share of the time trained so far


class Task(Protocol):
    """What is trained: batches as a pure function of the step, and what to look at on the way."""

    loss: LossFunction

    def batch(self, step: int) -> Batch: ...
    def evaluate(self, model: torch.nn.Module) -> dict[str, float]: ...
    def samples(self, model: torch.nn.Module, step: int) -> list[dict[str, Any]]: ...
    def probe(self, model: torch.nn.Module, step: int, *, last: bool = False) -> None: ...


class Keeper(Protocol):
    """What must survive: checkpoints, and the best model at the run's root."""

    def checkpoint(self, state: LoopState, *, kind: str) -> None: ...
    def publish(self, state: LoopState) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Steps, seconds of training, or both: what is used up first ends it."""

    steps: int | None = None
    seconds: float | None = None

    def share(self, step: float, elapsed_s: float) -> float:
        """How much of the budget is used, 0 … 1 and beyond.

        >>> Budget(steps=10, seconds=100.0).share(2, 50.0)
        0.5
        """
        by_steps = 0.0 if self.steps is None else step / self.steps
        if self.seconds is None:
            return by_steps
        return max(by_steps, elapsed_s / self.seconds if self.seconds > 0 else 1.0)


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How often the loop looks and saves; `patience` 0 or None never stops early.

    `yardsticks` are bits per byte: the first look below one is said.
    """

    budget: Budget
    schedule: Schedule
    step: StepSettings
    lr: float
    tokens_per_step: int
    tokens_per_epoch: int
    looks: int = 20
    sample_looks: int = 10
    logs: int = 200
    checkpoint_every_s: float = 60.0
    checkpoint_every_steps: int | None = None
    patience: int | None = None
    muon: bool = False  # this and the dropout only for advice
    dropout: float = 0.0
    not_finite: str = NOT_FINITE
    yardsticks: dict[str, float] = field(default_factory=dict)


@dataclass
class LoopState:
    """All the loop remembers between two steps; JSON in, JSON out."""

    step: int = 0
    elapsed_s: float = 0.0
    share: float = 0.0
    phase: str = ""
    pre_decay_step: int | None = None
    landing_step: int | None = None
    watch: Watch = field(default_factory=Watch)
    scaler: LossScaler | None = None
    last_train_nats: float | None = None
    pending_nats: float = 0.0
    pending_steps: int = 0
    pending_clipped: int = 0
    pending_s: float = 0.0
    pending_multipliers: list[float] = field(default_factory=list)
    reason: str | None = None
    last_look: dict[str, float] = field(default_factory=dict)
    last_look_step: int = -1
    look_s: float = 0.0
    passed: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``state.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> LoopState:
        """The inverse of `to_json`."""
        scaler = values["scaler"]
        nested = {"watch": Watch(**values["watch"]), "scaler": None if scaler is None else LossScaler(**scaler)}
        return cls(**{**values, **nested})


@dataclass(kw_only=True)
class Loop:
    """The loop and its parts. `clock` gives seconds and never goes back; tests inject one."""

    model: torch.nn.Module
    optimizer: Optimizer
    task: Task
    keeper: Keeper
    settings: LoopSettings
    state: LoopState
    events: EventStream
    clock: Callable[[], float]
    stop: StopSignal
    facts: Callable[[float, float], dict[str, Any]]  # (tokens/s, elapsed s) → memory and share of the peak
    replan: Callable[[int, float, float], str | None] = lambda tokens, speed, left: None
    """(tokens done, tokens/s now, seconds left) → in words what changes when the machine is not as fast as planned."""

    def run(self) -> LoopState:
        """Train until the budget, the patience or a signal ends it; the last state is saved. Raises TrainingError."""
        self._segment_started = self.clock() - self.state.elapsed_s
        self._last_checkpoint_s = self.clock()
        self._landing: tuple[float, float, float] | None = None  # start (s), length (s), multiplier at the start
        if self.state.step == 0:
            self.task.probe(self.model, 0)
        while not self._ended():  # asked first: a run may have been killed after its last step
            self._enter_phase()
            self._one_step()
            self._look_around()
        self._finish()
        return self.state

    # -- one turn ------------------------------------------------------------------------------------------------

    def _enter_phase(self) -> None:
        """Say when a new phase begins; before the decay, keep the checkpoint that `--more` continues from."""
        state = self.state
        if self.stop.requested and self._landing is None:
            self._begin_landing()
        phase = "landing" if self._landing else self.settings.schedule.phase(self._middle_share())
        if phase == state.phase:
            return
        state.phase = phase
        self.events.emit("phase", step=state.step, name=phase)
        if phase == "decay" and state.step > 0 and self.settings.schedule.kind == "wsd":
            state.pre_decay_step = state.step
            self._checkpoint("pre-decay")

    def _one_step(self) -> None:
        state, settings = self.state, self.settings
        multiplier = self._multiplier()
        started = self.clock()
        report = self._train_step(multiplier)
        state.step += 1
        now = self.clock()
        state.elapsed_s = now - self._segment_started
        state.pending_nats += report.loss_nats
        state.pending_steps += 1
        state.pending_clipped += report.clipped
        state.pending_s += now - started
        state.pending_multipliers.append(multiplier)
        before, state.share = state.share, min(1.0, settings.budget.share(state.step, state.elapsed_s))
        self._crossed = (before, state.share)
        if self._due(settings.logs) or state.step == 1:
            self._log(report)

    def _train_step(self, multiplier: float) -> StepReport:
        try:
            return train_step(
                self.model,
                self.optimizer,
                self.task.batch(self.state.step),
                loss=self.task.loss,
                multiplier=multiplier,
                settings=self.settings.step,
                scaler=self.state.scaler,
            )
        except TrainingError as problem:
            raise TrainingError(problem.what, where=f"step {self.state.step + 1}", hint=self._advice()) from None

    def _look_around(self) -> None:
        """Evaluate, sample, probe and save when their time has come; always after, never during, a step."""
        state = self.state
        self.task.probe(self.model, state.step)
        if self._due(self.settings.looks):
            self._evaluate()
        if self._due(self.settings.sample_looks):
            self._sample()
        state.elapsed_s = self.clock() - self._segment_started
        steps = self.settings.checkpoint_every_steps
        if steps is not None:
            save = state.step % steps == 0
        else:
            save = self.clock() - self._last_checkpoint_s >= self.settings.checkpoint_every_s
        if save and self._landing is None:
            self._checkpoint("regular")

    def _ended(self) -> bool:
        """Whether the landing, the budget or the patience is over; the reason is remembered."""
        state = self.state
        if self._landing is not None:
            started, length, _ = self._landing
            if self.clock() - started >= length:
                state.reason = "landed"
        elif self.settings.budget.share(state.step, state.elapsed_s) >= 1.0:
            state.reason = "budget"
        elif state.watch.exhausted(self.settings.patience):
            state.reason = "patience"
        return state.reason is not None

    def _finish(self) -> None:
        """The last look (unless it was just taken), the last sample, the last checkpoint."""
        state = self.state
        if state.last_look_step != state.step:
            self._evaluate()
            self._sample()
        if state.pending_steps:
            self._log(None)
        self.task.probe(self.model, state.step, last=True)
        self._checkpoint("final")

    # -- parts of a turn -----------------------------------------------------------------------------------------

    def _middle_share(self) -> float:
        """The share at the middle of the coming step, so that neither the first nor the last step is at zero."""
        state = self.state
        step_s = state.pending_s / state.pending_steps if state.pending_steps else 0.0
        return self.settings.budget.share(state.step + 0.5, state.elapsed_s + 0.5 * step_s)

    def _multiplier(self) -> float:
        if self._landing is None:
            return self.settings.schedule.multiplier(self._middle_share())
        started, length, peak = self._landing
        return peak * max(0.0, 1.0 - (self.clock() - started) / length)

    def _begin_landing(self) -> None:
        """Keep the state from before the decay, so that a resume stays exact, then decay quickly."""
        self.state.landing_step = self.state.step
        self._checkpoint("pre-landing")
        length = min(LANDING_S, max(LANDING_SHARE * self.state.elapsed_s, 0.5))
        self._landing = (self.clock(), length, self.settings.schedule.multiplier(self._middle_share()))
        self.events.emit("note", step=self.state.step, message=f"Landing: {length:.0f} s of decay, then saving.")

    def _due(self, times: int) -> bool:
        """Whether one of `times` evenly spaced marks of the budget lies in the last step."""
        before, after = self._crossed
        return math.floor(after * times + 1e-9) > math.floor(before * times + 1e-9)

    def _advice(self) -> str:
        """What to do when a loss is not finite."""
        return f"{self.settings.not_finite} {'--lr and --muon-lr' if self.settings.muon else '--lr'}."

    def _log(self, report: StepReport | None) -> None:
        state, settings = self.state, self.settings
        state.last_train_nats = state.pending_nats / state.pending_steps
        tokens = state.step * settings.tokens_per_step
        tokens_per_s = state.pending_steps * settings.tokens_per_step / max(state.pending_s, 1e-9)
        self.events.emit(
            "train",
            step=state.step,
            tokens=tokens,
            epoch=round(tokens / settings.tokens_per_epoch, 4),
            loss_nats=state.last_train_nats,
            lr=settings.lr * state.pending_multipliers[-1],
            multipliers=state.pending_multipliers,
            grad_norm=None if report is None else report.grad_norm,
            clipped_frac=state.pending_clipped / state.pending_steps,
            tokens_per_s=round(tokens_per_s, 1),
            elapsed_s=round(state.elapsed_s, 3),
            progress=round(state.share, 5),
            eta_s=round(state.elapsed_s * (1 / state.share - 1), 1) if state.share > 0 else None,
            **self.facts(tokens_per_s, state.elapsed_s),
        )
        seconds = settings.budget.seconds
        if seconds is not None and (message := self.replan(tokens, tokens_per_s, seconds - state.elapsed_s)):
            self.events.emit("note", step=state.step, message=message)
        state.pending_nats, state.pending_s = 0.0, 0.0
        state.pending_steps = state.pending_clipped = 0
        state.pending_multipliers = []

    def _evaluate(self) -> None:
        """One look at the validation loss: best so far? turned up? said, published."""
        state = self.state
        began = self.clock()
        look = self.task.evaluate(self.model)
        state.look_s = self.clock() - began
        nats = look["nats_per_token"]
        if not math.isfinite(nats):
            raise TrainingError(f"the validation loss became {nats}", where=f"step {state.step}", hint=self._advice())
        state.last_look, state.last_look_step = look, state.step
        tokens = state.step * self.settings.tokens_per_step
        state.elapsed_s = self.clock() - self._segment_started
        self.events.emit(
            "eval",
            step=state.step,
            tokens=tokens,
            epoch=round(tokens / self.settings.tokens_per_epoch, 4),
            elapsed_s=round(state.elapsed_s, 3),
            split="val",
            full=False,
            **look,
        )
        train_nats = state.pending_nats / state.pending_steps if state.pending_steps else state.last_train_nats
        if state.watch.observe(state.step, nats, train_nats):
            self.events.emit("best", step=state.step, nats_per_token=nats)
            self.keeper.publish(state)
        self._compare(look)
        message = state.watch.turn(
            state.step, nats, train_nats, helps=what_helps(self.settings.dropout, self.settings.patience)
        )
        if message is not None:
            best = {"best_step": state.watch.best_step, "best_nats_per_token": state.watch.best_nats}
            self.events.emit("overfit", step=state.step, **best, nats_per_token=nats, message=message)

    def _compare(self, look: dict[str, float]) -> None:
        """Say which yardsticks this look is the first to pass."""
        state, reached = self.state, look.get("bits_per_byte", math.inf)  # labels have no bytes
        ahead = {name: bits for name, bits in self.settings.yardsticks.items() if name not in state.passed}
        new = {name: round(bits, 4) for name, bits in ahead.items() if reached < bits}
        if new:
            state.passed += new
            words = ", ".join(f"{name} ({bits:.3f})" for name, bits in new.items())
            message = f"It predicts the text better than {words}: {reached:.3f} bits per byte."
            self.events.emit("passed", step=state.step, yardsticks=new, message=message)

    def _sample(self) -> None:
        for sample in self.task.samples(self.model, self.state.step):
            self.events.emit("sample", step=self.state.step, **sample)

    def _checkpoint(self, kind: str) -> None:
        self.state.elapsed_s = self.clock() - self._segment_started
        self.keeper.checkpoint(self.state, kind=kind)
        self._last_checkpoint_s = self.clock()
