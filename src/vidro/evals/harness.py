"""A Vidro model as EleutherAI's lm-evaluation-harness wants it: three questions in text, answered in numbers or text.

    loglikelihood           ln of the probability of a continuation after a context, and whether it is the greedy one
    loglikelihood_rolling   ln of the probability of a whole text
    generate_until          what the model writes after a context

Texts become tokens as in the harness's own class for Transformers, so that a run gets the same numbers from both:
blanks at the end of a context belong to the continuation; context and continuation are encoded as one text and cut
where the context's tokens end; no mark stands before a context, and `<|endoftext|>` only where there is none. One thing
is Vidro's own: names of special tokens in a text are text. What does not fit is cut on the left and counted.

This module imports `lm_eval`, which is an extra; `tasks` does so only when a task is run, and says how to install it.
Not here: batches and the cache (`continuations`), finding tasks and their results (`tasks`). Read next: `tasks`.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from vidro.config.schema import SamplingOptions
from vidro.core.errors import DataError
from vidro.evals.continuations import Ids, Likelihood, cut_to_fit, score_continuations
from vidro.evals.perplexity import check_lossless
from vidro.infer.decode import BATCH_SLOTS
from vidro.infer.session import Session

Progress = Callable[[str, int, int], None]  # what is done, how many are, how many there are
Pair = tuple[Ids, Ids]

DEFAULT_NEW_TOKENS = 256  # of a task that does not say; the harness's own number
TOGETHER = 64  # texts written between two words about progress
FILTERS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
"""Settings of sampling that a task may name and Vidro has."""


@dataclass
class Fit:
    """How much of what was asked did not fit into the model's context."""

    n_requests: int = 0
    n_cut: int = 0
    """Contexts that lost their beginning."""

    n_cut_tokens: int = 0
    n_slid: int = 0
    """Texts that were longer than the context while they were written: the older half was forgotten on the way."""


class VidroLM(TemplateLM):
    """A session, answering the harness. `seed` decides what is drawn where a task samples.

    `fit` counts what was too long. `on_progress` hears how many requests are done.
    """

    def __init__(self, session: Session, *, seed: int, on_progress: Progress | None = None) -> None:
        super().__init__()
        self.session, self.seed = session, seed
        self.fit = Fit()
        self.on_progress = on_progress

    @property
    def eot_token_id(self) -> int:
        """What stands before a text that has nothing before it."""
        return self.session.tokenizer.start_id

    @property
    def max_length(self) -> int:
        """Most tokens that the model is fed."""
        return self.session.context_length

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """The ids of a text and nothing else."""
        return self.session.tokenizer.encode(string)

    # -- how probable -----------------------------------------------------------------------------------------------

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(nats, greedy) of each (context, continuation). Raises DataError for one that cannot be scored."""
        return self._loglikelihood_tokens([(request.args, *self.pair_ids(*request.args)) for request in requests])

    def pair_ids(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """The ids of a context, `<|endoftext|>` where it has none, and of its continuation.

        Raises DataError when the continuation has no token of its own.
        """
        before, after = self._encode_pair(context, continuation) if context else ([], self.tok_encode(continuation))
        if not after:
            what = f"the answer {continuation!r} has no token of its own after {context[-20:]!r}"
            raise DataError(what, hint="Begin answers with a blank (target_delimiter in the task).")
        return before or [self.eot_token_id], after

    def _loglikelihood_tokens(self, requests: list[Any], **kwargs: Any) -> list[tuple[float, bool]]:
        pairs = []
        for _, context, continuation in requests:
            fitting, n_cut = cut_to_fit(tuple(context), tuple(continuation), self.max_length)
            self._count(n_cut)
            pairs.append((fitting, tuple(continuation)))
        return [(each.logprob_nats, each.greedy) for each in self._score(pairs, "answers")]

    def _score(self, pairs: Sequence[Pair], what: str) -> list[Likelihood]:
        told = self.on_progress
        progress = None if told is None else lambda done: told(what, done, len(pairs))
        return score_continuations(self.session.model, pairs, progress=progress)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Nats of each whole text, in the harness's windows: each token is predicted once, and the last window reaches
        back to be as long as the others (`perplexity` begins it behind the one before, which costs a little more).

        Raises DataError for a text that the tokenizer does not give back exactly.
        """
        pairs: list[Pair] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            windows = [(tuple(before), tuple(after)) for before, after in self.windows(request.args[0])]
            pairs += windows
            owners += [number] * len(windows)
            self._count(0)
        nats: dict[int, list[float]] = defaultdict(list)
        for number, each in zip(owners, self._score(pairs, "windows of texts"), strict=True):
            nats[number].append(each.logprob_nats)
        return [math.fsum(nats[number]) for number in range(len(requests))]

    def windows(self, text: str) -> list[tuple[list[int], list[int]]]:
        """(context, what is predicted) of each window of a text."""
        (ids,) = self.session.tokenizer.encode_batch([text])
        check_lossless(self.session.tokenizer, text, ids)
        cut = get_rolling_token_windows(
            ids.tolist(), prefix_token=self.eot_token_id, max_seq_len=self.max_length, context_len=1
        )
        return [make_disjoint_window(window) for window in cut]

    # -- what it writes ---------------------------------------------------------------------------------------------

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """What the model writes after each context, without the text that it stops at.

        A request that is repeated is drawn with another seed each time. Raises DataError for a setting of sampling
        that Vidro does not have.
        """
        texts = [""] * len(requests)
        seen: Counter[str] = Counter()
        groups: dict[SamplingOptions, list[tuple[int, list[int]]]] = defaultdict(list)
        for number, request in enumerate(requests):
            arguments: Any = request.args
            context, settings = arguments
            key = json.dumps([context, settings], sort_keys=True, default=str)
            options = sampling(settings, seed=self.seed + seen[key])
            seen[key] += 1
            groups[options].append((number, self.prompt_ids(context, options.max_tokens)))
        done = 0
        for options, prompts in groups.items():
            for start in range(0, len(prompts), TOGETHER):
                part = prompts[start : start + TOGETHER]
                made = self.session.generate([ids for _, ids in part], options, slots=BATCH_SLOTS)
                for (number, _), each in zip(part, made, strict=True):
                    texts[number] = each.text
                    self.fit.n_slid += bool(each.notes)
                done += len(part)
                if self.on_progress is not None:
                    self.on_progress("texts written", done, len(requests))
        return texts

    def prompt_ids(self, context: str, new_tokens: int) -> list[int]:
        """The end of a context that leaves room for the new tokens, and at least half of what the model sees.

        A longer text is written all the same: the context slides, and `fit` counts it.
        """
        ids = self.tok_encode(context) or [self.eot_token_id]
        kept = ids[-max(self.max_length - new_tokens, self.max_length // 2) :]
        self._count(len(ids) - len(kept))
        return kept

    def _count(self, n_cut: int) -> None:
        self.fit.n_requests += 1
        self.fit.n_cut += n_cut > 0
        self.fit.n_cut_tokens += n_cut


def sampling(settings: dict[str, Any], *, seed: int) -> SamplingOptions:
    """The `generation_kwargs` of a task as Vidro's options; greedy unless the task samples.

    A task that samples and names no temperature gets 1. Raises DataError for a setting that Vidro does not have.
    """
    said: dict[str, Any] = dict(normalize_gen_kwargs(settings, DEFAULT_NEW_TOKENS))
    stop = tuple(text for text in said.pop("until") if text)
    max_tokens, draws = said.pop("max_gen_toks"), said.pop("do_sample")
    filters = {name: said.pop(name) for name in FILTERS if name in said}
    if said:
        known = ", ".join(("until", "max_gen_toks", "do_sample", *FILTERS))
        raise DataError(f"the task asks for {', '.join(sorted(said))}", hint=f"Vidro knows {known}.")
    if not draws:
        penalty = filters.get("repetition_penalty", 1.0)
        return SamplingOptions(greedy=True, max_tokens=max_tokens, stop=stop, repetition_penalty=penalty)
    filters = {"temperature": 1.0, **filters}
    filters["top_k"] = filters.get("top_k") or None  # 0 is the harness's word for none
    return SamplingOptions(max_tokens=max_tokens, stop=stop, seed=seed, **filters)
