"""How rows end, slide and wait; what is refused; what decoding leaves behind."""

from __future__ import annotations

import pytest
import torch

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.core.errors import ModelError, UsageError
from vidro.infer.decode import Decoder, Step, decode, enough, last_half
from vidro.model.transformer import Transformer

VOCAB = 11


def counting_model(context_length: int = 8, family: str = "llama") -> Transformer:
    """A model that always says the next number, whatever stood before: 3 → 4, and 10 → 0."""
    config = ModelConfig(
        family=family, vocab_size=VOCAB, context_length=context_length, d_model=12, n_layers=1, n_heads=1,
        n_kv_heads=1, d_head=12 if family == "gpt2" else 2, d_ff=4,
    )  # fmt: skip
    model = Transformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.fill_(1.0)
        model.token_embedding.weight.copy_(torch.eye(VOCAB, 12))
        model.head.weight.copy_(9 * torch.eye(VOCAB, 12).roll(1, dims=0))
    return model


def greedy(**more) -> SamplingOptions:
    return SamplingOptions(**{"greedy": True, "max_tokens": 5, **more})


def run(prompts, options, *, eot_id=None, context_length=8, **more) -> list[list[Step]]:
    steps: list[list[Step]] = [[] for _ in prompts]
    for step in decode(counting_model(context_length), prompts, options, eot_id=eot_id, **more):
        steps[step.row].append(step)
    return steps


def ids(steps: list[Step]) -> list[int]:
    return [step.id for step in steps]


def test_a_row_ends_at_its_length():
    (steps,) = run([[3]], greedy())
    assert ids(steps) == [4, 5, 6, 7, 8]
    assert [step.finish for step in steps] == [None] * 4 + ["length"]
    assert all(step.logprob_nats > -0.1 for step in steps)


def test_the_end_mark_ends_only_its_own_row():
    near, far = run([[9], [1]], greedy(max_tokens=6), eot_id=0)
    assert (ids(near), near[-1].finish) == ([10, 0], "eos")
    assert (ids(far), far[-1].finish) == ([2, 3, 4, 5, 6, 7], "length")


def test_a_full_context_slides_to_its_last_half_or_stops():
    (slid,) = run([[1, 2, 3]], greedy(max_tokens=9))
    assert ids(slid) == [4, 5, 6, 7, 8, 9, 10, 0, 1]
    assert [place for place, step in enumerate(slid) if step.slid] == [5]  # 3 + 6 tokens are more than 8
    (stopped,) = run([[1, 2, 3]], greedy(max_tokens=9, on_full="stop"))
    assert (ids(stopped), stopped[-1].finish) == ([4, 5, 6, 7, 8, 9], "context")
    assert not any(step.slid for step in stopped)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("context_length", [1, 2, 3])
@pytest.mark.parametrize("slots", [1, 3])
def test_a_tiny_context_still_counts(family, context_length, slots):
    model = counting_model(context_length, family)
    steps = list(decode(model, [[2]], greedy(max_tokens=7), eot_id=None, slots=slots))
    assert ids(steps) == [3, 4, 5, 6, 7, 8, 9]


def test_a_prompt_may_fill_the_context_but_not_exceed_it():
    (steps,) = run([[1, 2, 3, 4, 5, 6, 7, 8]], greedy(on_full="stop"))
    assert (ids(steps), steps[-1].finish) == ([9], "context")
    with pytest.raises(UsageError) as caught:
        run([[1], [1] * 9], greedy())
    assert str(caught.value) == (
        "prompt: it is 9 tokens long, and the model sees 8 at once. Shorten it to at most 8 tokens."
    )
    with pytest.raises(UsageError, match="prompt: there is no token to continue from"):
        run([[]], greedy())


def test_more_prompts_than_slots_wait_for_a_free_one():
    prompts = [[number % VOCAB] for number in range(13)]
    found = run(prompts, greedy(max_tokens=3), slots=4)
    assert [ids(steps) for steps in found] == [[(p + i) % VOCAB for i in (1, 2, 3)] for (p,) in prompts]


def test_no_prompts_give_no_steps():
    assert list(decode(counting_model(), [], greedy(), eot_id=None)) == []


def test_a_row_can_be_ended_from_outside_and_its_slot_taken_again():
    decoder = Decoder(counting_model(), slots=2, eot_id=None)
    decoder.admit(0, [1], greedy())
    decoder.admit(1, [5], greedy())
    assert decoder.free == 0
    assert [(step.row, step.id) for step in decoder.step()] == [(0, 2), (1, 6)]
    decoder.leave(0)
    decoder.admit(2, [8], greedy())
    assert [(step.row, step.id) for step in decoder.step()] == [(2, 9), (1, 7)]
    decoder.leave(1)
    decoder.leave(2)
    assert decoder.free == 2
    assert decoder.step() == []


def test_forbidden_ids_are_never_chosen_and_keep_their_probability():
    decoder = Decoder(counting_model(), slots=1, eot_id=None, forbidden=[5, 6], top=1)
    decoder.admit(0, [4], greedy())
    (step,) = decoder.step()
    assert step.id not in (5, 6)
    assert step.top[0][0] == 5
    assert step.top[0][1] > -0.1


def test_the_repetition_penalty_counts_the_prompt_and_spares_the_end_mark():
    model = counting_model()
    with torch.no_grad():
        model.head.weight[7] += 1  # a second best everywhere

    def following(prompt: list[int], penalty: float) -> int:
        options = greedy(max_tokens=1, repetition_penalty=penalty)
        return next(decode(model, [prompt], options, eot_id=0)).id

    assert (following([4, 3], 1.0), following([4, 3], 100.0)) == (4, 7)
    assert following([5, 3], 100.0) == 4
    assert following([0, 10], 100.0) == 0


def test_damaged_weights_are_named():
    model = counting_model()
    with torch.no_grad():
        model.head.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="predictions are not numbers"):
        next(decode(model, [[1]], greedy(), eot_id=None))


def test_a_model_in_training_goes_on_training_afterwards():
    """No dropout while decoding, the mode given back, and nothing left behind that breaks the backward pass."""
    model = Transformer(
        ModelConfig(vocab_size=VOCAB, context_length=8, d_model=8, n_layers=1, n_heads=1, n_kv_heads=1, d_head=8,
                    d_ff=8, dropout=0.9)
    )  # fmt: skip
    with torch.no_grad():
        model.head.weight.normal_(generator=torch.Generator().manual_seed(1))
    model.train()
    first, again = (
        [step.logprob_nats for step in decode(model, [[1, 2]], greedy(max_tokens=12), eot_id=None)] for _ in range(2)
    )
    assert first == again
    assert model.training
    model(torch.tensor([[1, 2, 3]])).sum().backward()
    assert model.head.weight.grad is not None


def test_last_half_and_enough():
    assert last_half([1, 2, 3, 4, 5], 4) == [4, 5]
    assert last_half([1, 2], 1) == [2]
    assert [enough(n, 1000) for n in (1, 64, 65, 300, 900, 5000)] == [64, 64, 128, 512, 1000, 1000]
    assert enough(1, 8) == 8
