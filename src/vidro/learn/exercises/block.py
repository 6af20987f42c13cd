"""Exercise for block: a whole GPT, from its shape to a batch that it learns by heart.

A model that is put together wrongly still has the right shapes and still learns something. So the steps change one
thing and look what moves: a later token, the order, the weights of the blocks.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidro.learn.adapt import build
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import all_reached

STUB = '''\
"""Exercise block: block and model. Check it with: vidro learn check block FILE"""

import torch
from torch import nn


class GPT(nn.Module):
    """[B, T] ids in, [B, T, vocab_size] logits out: row t scores every token that may follow token t."""

    def __init__(self, vocab_size, context_length, d_model, n_layers, n_heads, dropout=0.0):
        super().__init__()
        # Two embeddings, n_layers blocks (norm, attention, norm, feed-forward), a norm, a head without bias.
        # Attention and feed-forward may be your own or those of vidro.learn.attention_4 and vidro.learn.feed_forward.
        raise NotImplementedError

    def forward(self, ids):
        # Embed and add the places. In each block: x + attention(norm(x)), then x + feed_forward(norm(x)).
        raise NotImplementedError
'''

V, CONTEXT, D, H, B, T = 50, 7, 24, 4, 2, 6
NAMES = ("GPT", "GPTModel", "GPT2", "Transformer", "LanguageModel", "Model")
BLOCK = 2 * 2 * D + 4 * D * D + 8 * D * D  # two norms, attention, feed-forward, without biases
BIASES = {"query, key, value": 3 * D, "attention's output": D, "feed-forward": 5 * D}


def made(solution: Solution, *, n_layers: int = 2, dropout: float = 0.0) -> nn.Module:
    """The reader's model, not training."""
    torch.manual_seed(0)
    model = build(
        solution.get(*NAMES), vocab_size=V, context_length=CONTEXT, d_in=D, d_out=D, d_ff=4 * D, n_layers=n_layers,
        n_heads=H, dropout=dropout, bias=False,
    )  # fmt: skip
    if not isinstance(model, nn.Module):
        raise Wrong("it is no nn.Module", hint="Write class GPT(nn.Module).")
    return model.eval()


def logits(model: nn.Module, ids: Tensor) -> Tensor:
    """The model's scores; of several results the first."""
    answer: Any = model(ids)
    answer = getattr(answer, "logits", answer)
    answer = answer[0] if isinstance(answer, tuple) else answer
    if not isinstance(answer, Tensor):
        raise Wrong("the answer is no tensor", found=type(answer).__name__, hint="Is there a return?")
    return answer


def batch(length: int = T) -> Tensor:
    """Two texts."""
    return torch.randint(V, (B, length), generator=torch.Generator().manual_seed(5))


def it_has_the_shape(solution: Solution) -> None:
    """Ids in, logits out; shorter and full texts."""
    model = made(solution)
    for length in (T, 1, CONTEXT):
        found = list(logits(model, batch(length)).shape)
        if found != [B, length, V]:
            raise Wrong(f"texts of {length} tokens give another shape", found=found, expected=[B, length, V],
                        hint="A row of logits for every token.")  # fmt: skip


def it_has_the_parts(solution: Solution) -> None:
    """Count the parameters: each part that may be forgotten has a number of its own."""
    found = sum(weights.numel() for weights in made(solution, n_layers=3).parameters())
    sizes = allowed(3)
    if found in sizes:
        return
    gone = {
        "there is no embedding of places": CONTEXT * D,
        "there is no norm before the head": 2 * D,
    }
    if found in allowed(1):
        raise Wrong("three layers have the weights of one", hint="Make a new Block for each: [Block()] * 3 is one.")
    if found in allowed(0):
        raise Wrong("the blocks are not there", hint="Keep them in an nn.ModuleList: a list hides them.")
    for part, size in gone.items():
        if found in {whole - size for whole in sizes}:
            raise Wrong(part)
    nearest = min(sizes, key=lambda size: abs(size - found))
    raise Wrong("it has another number of parameters", found=found, expected=nearest,
                hint="12 · d_model² a block, and the norms' and biases' few.")  # fmt: skip


def allowed(n_layers: int) -> set[int]:
    """Numbers of parameters that are right: with or without the biases, head of its own or tied."""
    outside = V * D + CONTEXT * D + 2 * D
    return {
        outside + head + n_layers * (BLOCK + sum(biases))
        for head in (0, V * D)
        for biases in product(*((0, size) for size in BIASES.values()))
    }


def it_sees_no_future(solution: Solution) -> None:
    """Change a token: no row before it may move."""
    model, ids = made(solution), batch()
    for place in range(1, T):
        changed = ids.clone()
        changed[:, place] = (ids[:, place] + 1) % V
        moved = (logits(model, changed) - logits(model, ids))[:, :place].abs().max().item()
        if moved > 1e-5:
            raise Wrong(f"token {place + 1} was changed, and logits before it moved by {moved:.3f}")


def it_looks_back(solution: Solution) -> None:
    """Change the first token: the last row moves. And the order of tokens counts, also with one layer."""
    model, ids = made(solution, n_layers=1), batch()
    changed, swapped = ids.clone(), ids.clone()
    changed[:, 0] = (ids[:, 0] + 1) % V
    swapped[:, [0, 1]] = ids[:, [1, 0]]
    before = logits(model, ids)[:, -1]
    if (logits(model, changed)[:, -1] - before).abs().max() < 1e-6:
        raise Wrong("the first token was changed, and the last row of logits did not move", hint="Is attention called?")
    if (logits(model, swapped)[:, -1] - before).abs().max() < 1e-6:
        raise Wrong("two tokens changed places, and nothing moved", hint="Are the places added to the tokens?")


def the_line_runs_through(solution: Solution) -> None:
    """With all weights of the blocks 0, the token still reaches the head: the shortcuts carry it."""
    model, ids = made(solution), batch()
    for weights in model.parameters():
        if weights.ndim == 2 and not {V, CONTEXT} & set(weights.shape):
            nn.init.zeros_(weights)
    found = logits(model, ids)
    apart = (found[:, None] - found[:, :, None]).abs().amax(dim=-1)  # [B, T, T]
    if apart.max() < 1e-5:
        raise Wrong(
            "with the weights of all blocks 0, no token reaches the head", hint="x + attention(norm(x)), twice."
        )
    changed = ids.clone()
    changed[:, 0] = (ids[:, 0] + 1) % V
    if (logits(model, changed) - found)[:, 0].abs().max() < 1e-5:
        raise Wrong("with the weights of all blocks 0, the head sees places and no tokens")


def it_drops_while_training(solution: Solution) -> None:
    """Two passes differ in training and agree in eval."""
    model, ids = made(solution, dropout=0.5), batch()
    if not torch.equal(logits(model, ids), logits(model, ids)):
        raise Wrong("after eval() two passes over one text differ", hint="Use nn.Dropout: it knows eval().")
    model.train()
    if torch.equal(logits(model, ids), logits(model, ids)):
        raise Wrong("dropout=0.5 drops nothing while training")


def it_learns(solution: Solution) -> None:
    """Every parameter has a gradient, and a small batch is learned by heart."""
    model, ids = made(solution).train(), batch(CONTEXT)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for step in range(60):
        loss = F.cross_entropy(logits(model, ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            all_reached(model)
        optimizer.step()
        losses.append(loss.item())
    if losses[-1] > 0.5:
        raise Wrong("after 60 steps it does not know two short texts by heart", found=f"loss {losses[-1]:.2f}",
                    expected="below 0.5")  # fmt: skip


EXERCISE = Exercise(
    "block",
    STUB,
    (
        Step(f"[{B}, {T}] ids go in, [{B}, {T}, {V}] logits come out", it_has_the_shape),
        Step("all parts are there, by the number of parameters", it_has_the_parts),
        Step("no row of logits knows what comes after it", it_sees_no_future),
        Step("every row knows what came before it, and in what order", it_looks_back),
        Step("the line runs past all blocks", the_line_runs_through),
        Step("dropout drops while training, and only then", it_drops_while_training),
        Step("it learns two short texts by heart", it_learns),
    ),
    solution="vidro.learn.block",
)
