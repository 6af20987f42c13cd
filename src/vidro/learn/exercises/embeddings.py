"""Exercise for embeddings: a row for the token, a row for its place, and their sum.

The two tables are found by their sizes, so they may have any names and may be parameters or `nn.Embedding`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidro.learn.adapt import build
from vidro.learn.exercise import Exercise, Solution, Step, Wrong

STUB = '''\
"""Exercise embeddings: token and place. Check it with: vidro learn check embeddings FILE"""

import torch
from torch import nn


class Embeddings(nn.Module):
    """Ids [B, T] in, vectors [B, T, d_model] out."""

    def __init__(self, vocab_size, d_model, context_length):
        super().__init__()
        # Two tables: [vocab_size, d_model] for the tokens, [context_length, d_model] for their places.
        raise NotImplementedError

    def forward(self, ids):
        # The row of each token plus the row of its place: 0 for the first token of a text, 1 for the second, …
        raise NotImplementedError
'''

V, D, CONTEXT = 11, 4, 6
NAMES = ("Embeddings", "Embedding", "InputEmbedding", "InputEmbeddings", "TokenAndPositionEmbedding",
         "TokenPositionEmbedding", "GPTEmbeddings", "EmbeddingLayer")  # fmt: skip
IDS = torch.tensor([[3, 5, 3, 9, 0], [7, 7, 1, 2, 10]])


def made(solution: Solution) -> tuple[nn.Module, Tensor, Tensor]:
    """The reader's module with known numbers, and its tables for tokens and places."""
    torch.manual_seed(0)
    module = build(solution.get(*NAMES), vocab_size=V, d_in=D, d_out=D, context_length=CONTEXT, dropout=0.0)
    if not isinstance(module, nn.Module):
        raise Wrong("it is no nn.Module", hint="Write class Embeddings(nn.Module).")
    token, position = (table(module, rows, name) for rows, name in ((V, "tokens"), (CONTEXT, "places")))
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        token.copy_(torch.randn(V, D, generator=dice))
        position.copy_(torch.randn(CONTEXT, D, generator=dice))
    return module.eval(), token, position


def table(module: nn.Module, rows: int, name: str) -> nn.Parameter:
    """The learned table of so many rows. Raises Wrong where there is none, or more than one."""
    found = [parameter for parameter in module.parameters() if list(parameter.shape) in ([rows, D], [1, rows, D])]
    if len(found) != 1:
        sizes = [list(parameter.shape) for parameter in module.parameters()]
        hint = "Use nn.Embedding or nn.Parameter; a tensor alone is not learned." if not found else None
        raise Wrong(f"one table of {rows} rows for the {name} is needed", found=sizes or "none", hint=hint)
    return found[0]


def rows_of(answer: object) -> Tensor:
    """The answer, if it is a tensor of the right shape."""
    if not isinstance(answer, Tensor):
        raise Wrong("the answer is no tensor", found=type(answer).__name__, hint="Is there a return?")
    return answer


def it_has_two_tables(solution: Solution) -> None:
    """One for tokens, one for places."""
    made(solution)


def it_has_the_shape(solution: Solution) -> None:
    """[B, T] → [B, T, D]."""
    module, _, _ = made(solution)
    found, expected = list(rows_of(module(IDS)).shape), [*IDS.shape, D]
    if found == [*IDS.shape, 2 * D]:
        raise Wrong("the two rows stand behind one another", found=found, expected=expected, hint="Add them.")
    if found != expected:
        raise Wrong("the answer has another shape", found=found, expected=expected)


def it_gives_the_numbers(solution: Solution) -> None:
    """Token's row plus place's row; else which mistake gives what came out."""
    module, token, position = made(solution)
    answer = rows_of(module(IDS)).detach()
    places = position.reshape(CONTEXT, D)
    length = IDS.shape[1]
    right = token[IDS] + places[:length]
    if torch.allclose(answer, right, atol=1e-5):
        return
    backwards = token[IDS] + places[:length].flip(0)
    one = token[IDS] + places[1 : length + 1]
    mistakes = {
        "the places are not added: the same token is the same everywhere": token[IDS],
        "the token's row is missing: all texts are alike": places[:length].expand(*IDS.shape, D),
        "the two rows are multiplied, not added": token[IDS] * places[:length],
        "the places are counted from the end": backwards,
        "the places are counted from 1: the first token's place is 0": one,
        "every token has place 0": token[IDS] + places[0],
        "the token's row is multiplied by √d_model; here it is taken as it is": token[IDS] * D**0.5 + places[:length],
    }
    for mistake, wrong in mistakes.items():
        if torch.allclose(answer, wrong.detach(), atol=1e-5):
            raise Wrong(mistake)
    place = int((answer - right).abs().amax(dim=(0, 2)).gt(1e-5).nonzero()[0])
    raise Wrong(
        f"token {place + 1} of the first text has other numbers",
        found=[round(value, 3) for value in answer[0, place].tolist()],
        expected=[round(value, 3) for value in right[0, place].tolist()],
    )


def it_takes_any_length(solution: Solution) -> None:
    """One token, and as many as there are places; one more is refused."""
    module, token, position = made(solution)
    places = position.reshape(CONTEXT, D)
    for length in (1, CONTEXT):
        ids = torch.arange(length)[None]
        answer = rows_of(module(ids))
        if list(answer.shape) != [1, length, D] or not torch.allclose(answer, token[ids] + places[:length], atol=1e-5):
            raise Wrong(f"a text of {length} tokens comes out wrong", found=list(answer.shape))
    try:
        module(torch.zeros(1, CONTEXT + 1, dtype=torch.long))
    except Exception:  # whatever it says
        return
    raise Wrong(f"a text of {CONTEXT + 1} tokens went through, and there are only {CONTEXT} places")


def it_learns_what_was_used(solution: Solution) -> None:
    """A gradient for the rows that were looked up, and for no others."""
    module, _, _ = made(solution)
    rows_of(module(IDS)).sum().backward()
    for rows, name, used in ((V, "token", set(IDS.flatten().tolist())), (CONTEXT, "place", set(range(IDS.shape[1])))):
        gradient = table(module, rows, name).grad
        if gradient is None:
            raise Wrong(f"no gradient reaches the table of the {name}s", hint="Is it cut off by .data or detach()?")
        reached = {row for row, values in enumerate(gradient.reshape(rows, D)) if bool(values.any())}
        if reached != used:
            raise Wrong(f"the gradient reaches other {name}s than were in the text", found=reached, expected=used)


EXERCISE = Exercise(
    "embeddings",
    STUB,
    (
        Step("there are two tables, for tokens and for places", it_has_two_tables),
        Step(f"[{IDS.shape[0]}, {IDS.shape[1]}] ids go in, [{IDS.shape[0]}, {IDS.shape[1]}, {D}] numbers come out",
             it_has_the_shape),
        Step("the numbers are right", it_gives_the_numbers),
        Step("short texts are welcome, too long ones refused", it_takes_any_length),
        Step("what was looked up learns, and nothing else", it_learns_what_was_used),
    ),
    solution="vidro.learn.embeddings",
)  # fmt: skip
