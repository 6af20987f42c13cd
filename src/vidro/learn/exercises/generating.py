"""Exercise for generating: the loop that makes a text of a model, with the steps that are easily forgotten.

The models of these steps are small functions whose next token is known beforehand. They write down what they were
given, so that a loop which feeds too much or too little can be told what it fed.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidro.learn import generating
from vidro.learn.adapt import build
from vidro.learn.block import GPT
from vidro.learn.exercise import Exercise, Solution, Step, Wrong

STUB = '''\
"""Exercise generating: a text, token by token. Check it with: vidro learn check generating FILE"""

import torch


def generate(model, ids, n_tokens, context_length, end_id=None):
    """Continue a list of ids by the likeliest token, n_tokens times; give the list of the new ones.

    model(x) takes a tensor of ids [1, T] and gives logits [1, T, V]. It sees context_length tokens at most. Stop before
    n_tokens when the token end_id is chosen, and leave it out.
    """
    raise NotImplementedError
'''

NAMES = ("generate", "generate_text_simple", "generate_text", "generate_simple", "greedy")
V = 7


class Known(nn.Module):
    """A model whose row t says: next comes the sum of all tokens up to t, plus 1 (modulo 7). It keeps what it read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[list[int]] = []

    def forward(self, ids: Tensor) -> Tensor:
        """[B, T] → [B, T, V]."""
        if not isinstance(ids, Tensor) or ids.ndim != 2:
            raise Wrong("the model must be given a tensor [1, T]", found=getattr(ids, "shape", type(ids).__name__))
        self.read.append(ids[0].tolist())
        return F.one_hot((ids.cumsum(dim=1) + 1) % V, V).float() - 3.0  # all below 0


def after(ids: list[int]) -> int:
    """What `Known` says comes next."""
    return (sum(ids) + 1) % V


def made(
    solution: Solution, model: Any, ids: list[int], n: int, context_length: int = 50, end: int | None = None
) -> list[int]:
    """The new tokens by the reader's function, whatever its parameters are called; the prompt is taken off."""
    tensor, given = torch.tensor([ids]), list(ids)
    answer = build(
        solution.get(*NAMES), model=model, ids=ids, prompt=ids, tokens=ids, idx=tensor, x=tensor,
        input_ids=tensor, n_tokens=n, max_new_tokens=n, max_tokens=n, n=n, context_length=context_length, end_id=end,
        eos_id=end, eot_id=end, temperature=0.0, top_k=None,
    )  # fmt: skip
    whole = isinstance(answer, Tensor) or end is not None
    answer = answer.flatten().tolist() if isinstance(answer, Tensor) else answer
    if not isinstance(answer, list):
        raise Wrong("the answer must be a list of ids", found=type(answer).__name__, hint="Is there a return?")
    answer = [int(token) for token in answer]
    whole = (whole or len(answer) > n) and answer[: len(given)] == given
    return answer[len(given) :] if whole else answer


def it_takes_the_last_row(solution: Solution) -> None:
    """One token more, by the last row's highest score."""
    prompt = [2, 3, 1]
    found = made(solution, Known(), prompt, 1)
    if found == [after(prompt[:1])] or found == [after(prompt[:2])]:
        raise Wrong("the token is from another row of logits than the last", found=found, expected=[after(prompt)])
    if found != [after(prompt)]:
        raise Wrong("the next token is another", found=found, expected=[after(prompt)],
                    hint="argmax of the last row: the highest score, though all are below 0.")  # fmt: skip


def what_comes_out_goes_in(solution: Solution) -> None:
    """Several tokens: each is part of the text that the next is asked for."""
    model, text = Known(), [2, 3]
    for _ in range(6):
        text.append(after(text))
    found = made(solution, model, [2, 3], 6)
    if len(found) != 6:
        raise Wrong("it makes another number of tokens", found=len(found), expected=6)
    if found == text[2:]:
        return
    if len({tuple(read) for read in model.read}) == 1:
        raise Wrong("the model is always given the same text", hint="Put each new token behind the text.")
    if all(len(read) == 1 for read in model.read[1:]):
        raise Wrong("the model is given the new token alone, and cannot know what stood before it")
    raise Wrong("the tokens are others", found=found, expected=text[2:])


def it_sees_a_window(solution: Solution) -> None:
    """Never more than the context, and of a long text its end."""
    model, text, length = Known(), [1, 5, 2, 6, 3], 4
    for _ in range(5):
        text.append(after(text[-length:]))
    found = made(solution, model, text[:5], 5, context_length=length)
    longest = max(len(read) for read in model.read)
    if longest > length:
        raise Wrong("the model is given more tokens than its context holds", found=longest, expected=length)
    if model.read[0] == text[:length]:
        raise Wrong("of a long text the model is given the beginning", hint="What comes last matters: ids[-4:].")
    if found != text[5:]:
        raise Wrong("with a full context the tokens are others", found=found, expected=text[5:],
                    hint=f"It read {model.read[:2]} first.")  # fmt: skip


def it_stops_at_the_end(solution: Solution) -> None:
    """The end mark ends the text and is no part of it."""
    text = [2, 3]
    for _ in range(6):
        text.append(after(text))
    end = text[4]
    right = text[2 : text.index(end, 2)]
    found = made(solution, Known(), [2, 3], 6, end=end)
    if found == [*right, end]:
        raise Wrong("the end mark is part of the text", found=found, expected=right)
    if found != right:
        raise Wrong(f"it does not end at token {end}", found=found, expected=right, hint="Look at end_id.")


def it_works_with_a_real_model(solution: Solution) -> None:
    """A GPT with random weights: the same tokens as ours, and the prompt as it was."""
    torch.manual_seed(4)
    model = GPT(vocab_size=30, context_length=8, d_model=16, n_layers=2, n_heads=2).eval()
    for weights in model.parameters():
        weights.data *= 1.5
    prompt = [3, 14, 15, 9]
    given = list(prompt)
    found, right = made(solution, model, given, 12, 8), generating.generate(model, prompt, 12, 8)
    if given != prompt:
        raise Wrong("the list of the prompt was changed", found=given, expected=prompt)
    if found != right:
        raise Wrong("with a real model the tokens are others", found=found, expected=right)


EXERCISE = Exercise(
    "generating",
    STUB,
    (
        Step("the last row's highest score is the next token", it_takes_the_last_row),
        Step("what comes out goes in again", what_comes_out_goes_in),
        Step("the model sees the end of a long text", it_sees_a_window),
        Step("the end mark ends the text", it_stops_at_the_end),
        Step("a real model writes the same", it_works_with_a_real_model),
    ),
    solution="vidro.learn.generating",
)
