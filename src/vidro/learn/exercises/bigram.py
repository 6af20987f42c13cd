"""Exercise for bigram: counts, shares, the loss of a table, and a twin that is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidro.learn.adapt import build
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import as_tensor, same

STUB = '''\
"""Exercise bigram: counted and trained. Check it with: vidro learn check bigram FILE"""

import torch
from torch import nn


def count_pairs(ids, vocab_size):
    """A tensor [V, V]: in row a and column b, how often b came right after a in the list `ids`."""
    raise NotImplementedError


def shares(counts, added=0.0):
    """Each row divided by its sum, after `added` was put to every count."""
    raise NotImplementedError


def table_loss(table, ids):
    """The mean surprise in nats, as a number, of each token of `ids` but the first; `table` holds shares."""
    raise NotImplementedError


class Bigram(nn.Module):
    """[B, T] ids in, [B, T, V] logits out. Its parameters learn the table; at first all tokens are equally probable."""

    def __init__(self, vocab_size):
        super().__init__()
        raise NotImplementedError

    def forward(self, ids):
        raise NotImplementedError
'''

V = 4
IDS = [0, 1, 0, 2, 3, 0, 1, 1, 0, 3, 0, 1]


def counted() -> Tensor:
    """The right counts."""
    right = torch.zeros(V, V)
    for place in range(1, len(IDS)):
        right[IDS[place - 1], IDS[place]] += 1
    return right


def pairs_are_counted(solution: Solution) -> None:
    """Rows, columns, ends."""
    right, last = counted(), torch.zeros(V, V)
    last[IDS[-1], IDS[0]] = 1
    wrong = {
        "rows and columns are exchanged: the row is what came first": right.T,
        "the text is no circle: its end is not followed by its beginning": right + last,
        "only whether a pair occurred is noted: count how often": right.clamp(max=1),
        "the last pair is missing": right - torch.eye(V)[IDS[-2]][:, None] * torch.eye(V)[IDS[-1]],
        "each pair is counted in both directions": right + right.T,
    }
    found = as_tensor(build(solution.get("count_pairs", "count_bigrams"), ids=list(IDS), vocab_size=V))
    same(found, right, wrong, what="the counts")


def rows_add_up_to_1(solution: Solution) -> None:
    """Not the columns, not the table."""
    counts = counted()
    right = counts / counts.sum(1, keepdim=True)
    wrong = {
        "each column adds up to 1: divide each row by its sum": counts / counts.sum(0, keepdim=True),
        "the row sums are not laid across the rows: keepdim=True": counts / counts.sum(1),
        "the whole table adds up to 1: each row must": counts / counts.sum(),
        "this is softmax of the counts: divide by the sum": counts.softmax(1),
    }
    same(solution.get("shares", "probabilities")(counts), right, wrong, what="the shares")


def something_is_added(solution: Solution) -> None:
    """Before dividing."""
    counts = counted()
    more = counts + 0.5
    plain = counts / counts.sum(1, keepdim=True)
    wrong = {
        "`added` is not used": plain,
        "it is added after dividing: add to the counts": plain + 0.5,
        "the sum is the old one: the rows add up to more than 1": more / counts.sum(1, keepdim=True),
    }
    same(solution.get("shares", "probabilities")(counts, 0.5), more / more.sum(1, keepdim=True), wrong,
         what="the shares with 0.5 added")  # fmt: skip


def the_loss_is_right(solution: Solution) -> None:
    """Mean surprise on another text."""
    table = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.4, 0.1], [0.7, 0.1, 0.1, 0.1]])
    ids = [0, 3, 1, 1, 2]
    given = table[ids[:-1], ids[1:]]
    wrong = {
        "it is the sum: take the mean": -given.log().sum(),
        "the sign is wrong: surprise is minus the logarithm": given.log().mean(),
        "the logarithm is to base 2: take nats": -given.log2().mean(),
        "the logarithm is taken of the mean probability: take logarithms first": -given.mean().log(),
        "rows and columns are exchanged": -table[ids[1:], ids[:-1]].log().mean(),
        "it is divided by the number of tokens: the first is never predicted": -given.log().sum() / len(ids),
    }
    same(solution.get("table_loss", "loss")(table, ids), -given.log().mean(), wrong, what="the loss")


def made(solution: Solution) -> nn.Module:
    """The reader's network."""
    model = build(solution.get("Bigram", "BigramModel", "BigramLanguageModel"), vocab_size=V)
    if not isinstance(model, nn.Module):
        raise Wrong("it is no nn.Module", hint="Write class Bigram(nn.Module).")
    return model


def the_network_begins_unsure(solution: Solution) -> None:
    """Shape, and equal logits."""
    model = made(solution)
    if not list(model.parameters()):
        raise Wrong("it has no parameters", hint="Use nn.Parameter or nn.Embedding.")
    logits = model(torch.tensor([[0, 1, 2], [3, 3, 0]]))
    if list(logits.shape) != [2, 3, V]:
        raise Wrong("[2, 3] ids give logits of another shape", found=list(logits.shape), expected=[2, 3, V])
    same(logits.detach().softmax(-1), torch.full((2, 3, V), 1 / V), what="the probabilities at the beginning")


def it_knows_one_token_only(solution: Solution) -> None:
    """The row depends on the last token and on nothing before it."""
    model = made(solution)
    for weights in model.parameters():
        weights.data.copy_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(1)))
    first, second = model(torch.tensor([[0, 1, 2]])), model(torch.tensor([[3, 3, 2]]))
    same(first[0, 2], second[0, 2].detach(), what="the logits after the same token")
    if torch.allclose(first[0, 0], second[0, 0]):
        raise Wrong("other tokens get the same logits")


def training_finds_the_counts(solution: Solution) -> None:
    """Plain gradient descent, held against counting."""
    model, ids = made(solution), torch.tensor(IDS)
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
    for _ in range(1500):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ids[None, :-1])[0], ids[1:]).backward()
        optimizer.step()
    right = counted() / counted().sum(1, keepdim=True)
    found = model(torch.arange(V)[None])[0].softmax(-1).detach()
    off = (found - right).abs().max().item()
    if off > 0.02:
        hint = "forward must give logits, not probabilities; each token has a row of its own."
        raise Wrong(f"after training the table is off by {off:.2f}", hint=hint)


EXERCISE = Exercise(
    "bigram",
    STUB,
    (
        Step("pairs are counted", pairs_are_counted),
        Step("each row of shares adds up to 1", rows_add_up_to_1),
        Step("a little can be added to every count", something_is_added),
        Step("the loss of a table is right", the_loss_is_right),
        Step("the network begins unsure", the_network_begins_unsure),
        Step("it knows one token only", it_knows_one_token_only),
        Step("training finds what counting finds", training_finds_the_counts),
    ),
    solution="vidro.learn.bigram",
)
