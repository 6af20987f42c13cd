"""Exercise for feed-forward: the layer, and a fact written into one of its neurons by hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidro.learn.adapt import build, run
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import as_tensor, same

STUB = '''\
"""Exercise feed-forward: where facts live. Check it with: vidro learn check feed-forward FILE"""

import torch
from torch import nn


class FeedForward(nn.Module):
    """[B, T, d_model] in, [B, T, d_model] out; 4 · d_model neurons with GELU between. Each token is by itself."""

    def __init__(self, d_model):
        super().__init__()
        # Two nn.Linear, from d_model to 4 · d_model and back.
        raise NotImplementedError

    def forward(self, x):
        raise NotImplementedError


def write_fact(layer, neuron, pattern, answer):
    """Change the weights of one neuron of a FeedForward so that a token equal to `pattern` [d_model] gets `answer`
    [d_model] added, and a token with half of the pattern, or none of it, gets next to nothing.
    """
    # Which row, which bias, which column belong to a neuron? Work under torch.no_grad().
    raise NotImplementedError
'''

B, T, D = 2, 3, 6
NAMES = ("FeedForward", "MLP", "FFN", "Feedforward")
WRITE = ("write_fact", "store_fact", "add_fact")


def made(solution: Solution) -> nn.Module:
    """The reader's layer."""
    torch.manual_seed(0)
    layer = build(solution.get(*NAMES), d_in=D, d_out=D, d_ff=4 * D, dropout=0.0, bias=True)
    if not isinstance(layer, nn.Module):
        raise Wrong("it is no nn.Module", hint="Write class FeedForward(nn.Module).")
    return layer.eval()


def two_layers(layer: nn.Module) -> tuple[nn.Linear, nn.Linear]:
    """The one that widens and the one that narrows."""
    found = [part for part in layer.modules() if isinstance(part, nn.Linear)]
    sizes = [(part.in_features, part.out_features) for part in found]
    if sizes != [(D, 4 * D), (4 * D, D)]:
        raise Wrong("there must be two nn.Linear, one that widens to four times and one that narrows again",
                    found=sizes, expected=[(D, 4 * D), (4 * D, D)])  # fmt: skip
    return found[0], found[1]


def empty(solution: Solution) -> nn.Module:
    """A layer that adds nothing."""
    layer = made(solution)
    for weights in layer.parameters():
        nn.init.zeros_(weights)
    return layer


def write(solution: Solution, layer: nn.Module, neuron: int, pattern: Tensor, answer: Tensor) -> None:
    """The reader's `write_fact`, which may run with or without gradients."""
    with torch.no_grad():
        solution.get(*WRITE)(layer, neuron, pattern, answer)


def batch() -> Tensor:
    """Two texts of three tokens."""
    return 2 * torch.randn(B, T, D, generator=torch.Generator().manual_seed(5))


def it_is_there(solution: Solution) -> None:
    """Two linear layers, and the shape is kept."""
    layer = made(solution)
    two_layers(layer)
    found = list(run(layer, batch()).shape)
    if found != [B, T, D]:
        raise Wrong("the answer has another shape", found=found, expected=[B, T, D])


def it_gives_the_numbers(solution: Solution) -> None:
    """down(gelu(up(x))), with either form of GELU; else the usual mistake."""
    layer, x = made(solution), batch()
    up, down = two_layers(layer)
    found = run(layer, x).detach()
    right = down(F.gelu(up(x))).detach()
    if torch.allclose(found, down(F.gelu(up(x), approximate="tanh")), atol=1e-4):
        return
    mistakes = {
        "there is no bend between the two layers: two matrices in a row are one": down(up(x)),
        "the bend is ReLU: GPT-2 has GELU": down(F.relu(up(x))),
        "the bend is SiLU: GPT-2 has GELU": down(F.silu(up(x))),
        "the bend comes last: it belongs between the two layers": F.gelu(down(up(x))),
        "there is a bend behind the second layer too: what is added may be negative": F.gelu(right),
        "the token itself is added already: that is the block's shortcut, not the layer's": x + right,
    }
    same(found, right, {mistake: numbers.detach() for mistake, numbers in mistakes.items()})


def tokens_are_by_themselves(solution: Solution) -> None:
    """Change one token: no other moves."""
    layer, x = made(solution), batch()
    changed = x.clone()
    changed[:, 1] += 1.0
    moved = (run(layer, changed) - run(layer, x)).abs().amax(dim=(0, 2))
    if moved[[0, 2]].max() > 1e-6:
        raise Wrong("the second token was changed, and another one moved")


def a_fact_is_recalled(solution: Solution) -> None:
    """The pattern brings the answer."""
    layer, pattern, answer = empty(solution), torch.eye(D)[:2].sum(dim=0), 3 * torch.eye(D)[4]
    write(solution, layer, 7, pattern, answer)
    found = as_tensor(run(layer, pattern.view(1, 1, D)))[0, 0]
    if found.norm() < 0.01:
        raise Wrong("nothing is added where the pattern is there", hint="Row of up, bias of up, column of down: all 3?")
    if (found - answer).norm() > 0.1:
        raise Wrong("where the pattern is there, something else than the answer is added",
                    found=[round(number, 2) for number in found.tolist()], expected=answer.tolist(),
                    hint="What does the neuron fire with? Divide the value by that.")  # fmt: skip


def a_fact_is_quiet_elsewhere(solution: Solution) -> None:
    """Half of the pattern, nothing of it, its opposite: next to nothing is added."""
    layer, pattern, answer = empty(solution), torch.eye(D)[:2].sum(dim=0), 3 * torch.eye(D)[4]
    write(solution, layer, 7, pattern, answer)
    others = {"half of the pattern is": torch.eye(D)[0], "none of the pattern is": torch.eye(D)[3],
              "an empty token is": torch.zeros(D), "the opposite of the pattern is": -pattern}  # fmt: skip
    for name, token in others.items():
        added = as_tensor(run(layer, token.view(1, 1, D))).norm().item()
        if added > 0.3:
            raise Wrong(f"where {name} there, the answer is added too, {added / 3:.0%} of it",
                        hint="A louder key and a bias of minus half of its score keep the neuron silent.")  # fmt: skip


def facts_live_side_by_side(solution: Solution) -> None:
    """A second fact leaves the first as it is, and long patterns work as well as short ones."""
    layer = empty(solution)
    patterns = torch.stack([torch.eye(D)[0] + torch.eye(D)[1], 5 * torch.eye(D)[2], 0.5 * torch.eye(D)[3]])
    answers = torch.stack([3 * torch.eye(D)[4], -2 * torch.eye(D)[5], torch.eye(D)[5]])
    for place, neuron in enumerate((0, 4 * D - 1, 5)):
        write(solution, layer, neuron, patterns[place], answers[place])
    found = as_tensor(run(layer, patterns.view(1, 3, D)))[0]
    for place, name in enumerate(
        ("the first", "the second, whose pattern is long,", "the third, whose pattern is short,")
    ):
        if (found[place] - answers[place]).norm() > 0.2:
            raise Wrong(f"of three facts, {name} is not recalled",
                        found=[round(number, 2) for number in found[place].tolist()], expected=answers[place].tolist(),
                        hint="Divide the key by pattern · pattern, so that every pattern scores alike.")  # fmt: skip


EXERCISE = Exercise(
    "feed-forward",
    STUB,
    (
        Step(f"there is a FeedForward, {D} numbers → {4 * D} neurons → {D} numbers", it_is_there),
        Step("each token is by itself", tokens_are_by_themselves),
        Step("the numbers are right", it_gives_the_numbers),
        Step("a fact that was written in is recalled", a_fact_is_recalled),
        Step("half of its pattern is not enough", a_fact_is_quiet_elsewhere),
        Step("several facts live side by side", facts_live_side_by_side),
    ),
    solution="vidro.learn.feed_forward",
)
