"""Exercise for kv-cache: attention that remembers, a model that reads piece by piece, and a loop that saves work.

The result must be the same as without a cache: so each step holds the reader's code against the model itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vidro.learn import generating
from vidro.learn.attention_4 import MultiHeadAttention
from vidro.learn.block import GPT
from vidro.learn.exercise import Exercise, Solution, Step, Wrong

STUB = '''\
"""Exercise kv-cache: keys and values are kept. Check it with: vidro learn check kv-cache FILE"""

import torch


class Memory:
    """The keys and values of all tokens so far; empty at first."""

    def __init__(self):
        raise NotImplementedError

    def add(self, key, value):
        # Put new ones [B, H, T, E] behind the others; give all keys and all values, [B, H, S, E] each.
        raise NotImplementedError


def attend(attention, x, memory):
    """attention(x) for x [B, T, D] that follows what is in memory.

    attention is a vidro.learn.attention_4.MultiHeadAttention: W_query, W_key, W_value, split, out_proj. Token i of x
    may see all that was in memory before, and the tokens of x up to itself.
    """
    raise NotImplementedError


class Reader:
    """A vidro.learn.block.GPT that reads a text piece by piece, with a Memory for each of model.blocks."""

    def __init__(self, model):
        raise NotImplementedError

    def read(self, ids):
        # Logits [B, T, V] of ids [B, T] that follow all that was read before. Which places do they have?
        raise NotImplementedError


def generate(model, ids, n_tokens, context_length):
    """A list of n_tokens, each the likeliest after all before it. Feed the prompt once, then each new token alone."""
    raise NotImplementedError
'''

B, T, D, H, V, CONTEXT = 2, 6, 12, 3, 30, 10


def attention() -> MultiHeadAttention:
    """Attention with lively weights."""
    torch.manual_seed(0)
    made = MultiHeadAttention(D, D, CONTEXT, H, 0.0).eval()
    for weights in made.parameters():
        weights.data *= 2.0
    return made


def model() -> GPT:
    """A small GPT with lively weights."""
    torch.manual_seed(1)
    made = GPT(V, CONTEXT, D, 2, H).eval()
    for weights in made.parameters():
        weights.data *= 1.5
    return made


def text() -> Tensor:
    """Two texts of six tokens, as rows."""
    return torch.randn(B, T, D, generator=torch.Generator().manual_seed(5))


def ids() -> Tensor:
    """Two texts of six ids."""
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(6))


def it_keeps(solution: Solution) -> None:
    """What is added stands behind what was there."""
    memory = solution.get("Memory", "KVCache", "Cache")()
    whole = torch.arange(float(B * H * T * 2)).view(B, H, T, 2)
    for start, end in ((0, 3), (3, 4), (4, 6)):
        answer = memory.add(whole[:, :, start:end], -whole[:, :, start:end])
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise Wrong("add must give two things: all keys and all values", found=type(answer).__name__)
        for name, found, right in zip(("keys", "values"), answer, (whole, -whole), strict=True):
            if list(found.shape) != [B, H, end, 2]:
                raise Wrong(f"after {end} tokens the {name} have another shape", found=list(found.shape),
                            expected=[B, H, end, 2], hint="Join along dim=2, the tokens.")  # fmt: skip
            if not torch.equal(found, right[:, :, :end]):
                raise Wrong(f"after {end} tokens the {name} are others, or stand in another order")


def pieces_of(solution: Solution, sizes: list[int]) -> Tensor:
    """The reader's attention, fed in pieces of these sizes."""
    memory: Any = solution.get("Memory", "KVCache", "Cache")()
    attend, layer = solution.get("attend", "attention"), attention()
    with torch.no_grad():
        return torch.cat([attend(layer, piece, memory) for piece in text().split(sizes, dim=1)], dim=1)


def compare(found: Tensor, right: Tensor, what: str, hint: str | None = None) -> None:
    """Raise Wrong where the two differ, naming the first token."""
    if found.shape != right.shape:
        raise Wrong(f"{what}: another shape", found=list(found.shape), expected=list(right.shape))
    if found.isnan().any():
        raise Wrong(f"{what}: there are numbers that are none (nan)", hint="Does each token see itself?")
    far = (found - right).abs().amax(dim=(0, 2))
    if far.max() > 1e-4:
        place = int(far.gt(1e-4).nonzero()[0]) + 1
        raise Wrong(f"{what}: from token {place} on the numbers are others", hint=hint)


def at_once_it_is_attention(solution: Solution) -> None:
    """With nothing in memory it is the attention itself."""
    hint = "Scores / √E, later tokens to −∞, softmax, values, heads side by side, out_proj."
    compare(pieces_of(solution, [T]), attention()(text()).detach(), "all six tokens at once", hint)


def token_by_token(solution: Solution) -> None:
    """One at a time, each sees all before it."""
    hint = "A token fed alone may see everything in memory, and itself."
    compare(pieces_of(solution, [1] * T), attention()(text()).detach(), "token by token", hint)


def in_pieces(solution: Solution) -> None:
    """Several behind others: the mask begins after what is kept."""
    hint = "Of S tokens the last T ask: the triangle begins at column S − T, diagonal=1 + S − T."
    for sizes in ([2, 4], [3, 1, 2]):
        compare(pieces_of(solution, sizes), attention()(text()).detach(), f"in pieces of {sizes}", hint)


def the_model_reads_on(solution: Solution) -> None:
    """The whole model, with places that go on."""
    gpt = model()
    right = gpt(ids()).detach()
    for sizes in ([T], [4, 1, 1]):
        reader: Any = solution.get("Reader", "CachedModel", "CachedGPT")(gpt)
        with torch.no_grad():
            found = torch.cat([reader.read(piece) for piece in ids().split(sizes, dim=1)], dim=1)
            if sizes != [T] and found.shape == right.shape and (found - right)[:, 4:].abs().max() > 1e-4:
                raise Wrong("after a prompt of 4 the next token has other logits", hint=why(gpt, found[:, 4]))
        compare(found, right, f"the model, in pieces of {sizes}")


def why(gpt: GPT, found: Tensor) -> str:
    """The usual mistake, if it is that: the place of a token that is fed alone."""
    with torch.no_grad():
        kept = gpt.place_embedding.weight.clone()
        gpt.place_embedding.weight[4] = kept[0]
        wrong = gpt(ids()[:, :5])[:, -1]
        gpt.place_embedding.weight.copy_(kept)
    if torch.allclose(found, wrong, atol=1e-4):
        return "It stands at place 4, and was given the embedding of place 0."
    return "Each layer needs a memory of its own, and the places go on from what was read."


def it_writes_the_same_for_less(solution: Solution) -> None:
    """The same tokens, each for the work of one."""
    gpt = model()
    fed: list[int] = []
    prompt, n_tokens = [3, 14, 15], 6
    right = generating.generate(gpt, prompt, n_tokens, CONTEXT)
    gpt.token_embedding.register_forward_hook(lambda _layer, given, _answer: fed.append(given[0].shape[-1]))
    found = solution.get("generate", "generate_text_simple_cached")(gpt, prompt, n_tokens, CONTEXT)
    if list(found) != right:
        raise Wrong("it writes other tokens than without a cache", found=list(found), expected=right)
    if sum(fed) not in (len(prompt) + n_tokens - 1, len(prompt) + n_tokens):
        raise Wrong("more tokens went through the model than were needed", found=sum(fed),
                    expected=len(prompt) + n_tokens - 1, hint="The prompt once, then one token at a time.")  # fmt: skip


EXERCISE = Exercise(
    "kv-cache",
    STUB,
    (
        Step("a memory gives all that was put into it, in order", it_keeps),
        Step("a whole text at once: it is attention", at_once_it_is_attention),
        Step("token by token: the same", token_by_token),
        Step("several tokens behind others: the same", in_pieces),
        Step("the model reads on at the right place", the_model_reads_on),
        Step("it writes the same for less work", it_writes_the_same_for_less),
    ),
    solution="vidro.learn.kv_cache",
)
