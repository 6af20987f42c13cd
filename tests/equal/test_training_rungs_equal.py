"""The rungs of training and fine-tuning give what production gives: losses, tokens, ids, logits, rewards."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import replace

import pytest
import torch

from vidro.config.presets import preset
from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.data import tinyworld
from vidro.data.collate import collate, make_example
from vidro.data.instructions import InstructionRow
from vidro.learn import block, classifier, dpo, instructions, lora, sampling, training
from vidro.model import heads
from vidro.model.init import initialise
from vidro.model.lora import LoRALinear
from vidro.model.loss import lm_loss
from vidro.model.sampling import filters_in_order, greedy, sample
from vidro.model.transformer import Transformer
from vidro.text.conversation import Message
from vidro.text.special import EOT
from vidro.text.styles import get_style
from vidro.text.train import build_bytes
from vidro.train.optim import Optimizer, OptimizerSettings
from vidro.train.prefer import answer_log_probs, margins_of
from vidro.train.step import Batch, StepSettings, train_step

CONTEXT, VOCAB = 12, 40


def production(*, seed: int = 1) -> Transformer:
    """A small gpt2 with weights large enough to matter."""
    config: ModelConfig = replace(preset("gpt2"), vocab_size=VOCAB, context_length=CONTEXT, d_model=16, n_layers=2,
                                  n_heads=2, n_kv_heads=2, d_head=8, d_ff=64, dropout=0.0)  # fmt: skip
    model = Transformer(config)
    initialise(model, seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.1 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(weights.numel()))
    return model


def some_ids(n_rows: int, n_columns: int = CONTEXT, seed: int = 0) -> torch.Tensor:
    return torch.randint(VOCAB, (n_rows, n_columns), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("clip", "weight_decay"), [(0.0, 0.0), (0.5, 0.1)])
@pytest.mark.parametrize("micro_batch", [4, 3])
def test_twelve_steps_of_training(clip: float, weight_decay: float, micro_batch: int) -> None:
    model = production()
    ours = block.same_as(model)
    settings = OptimizerSettings(kind="adamw", lr=0.01, muon_lr=0.0, weight_decay=weight_decay, beta1=0.9, beta2=0.95)
    theirs = Optimizer(model, settings)
    batches = [(rows[:, :-1], rows[:, 1:]) for rows in (some_ids(4, seed=step) for step in range(12))]
    step = StepSettings(micro_batch=micro_batch, clip=clip, autocast=contextlib.nullcontext)
    reports = [
        train_step(model, theirs, Batch(*batch), loss=lambda m, b: lm_loss(m, b.ids, b.targets), multiplier=1.0,  # pyright: ignore[reportArgumentType]
                   settings=step)
        for batch in batches
    ]  # fmt: skip
    rung = training.AdamW(ours.parameters(), lr=0.01, weight_decay=weight_decay)
    losses = training.train(ours, rung, batches, clip=clip)
    assert losses == pytest.approx([report.loss_nats for report in reports], rel=1e-5)
    assert [report.clipped for report in reports].count(True) == (12 if clip else 0)
    assert losses[-1] != pytest.approx(losses[0], rel=0.01)
    after = block.same_as(model).state_dict()
    for name, numbers in ours.state_dict().items():
        if name.endswith("W_key.bias"):
            continue  # it changes no share, so its gradient is rounding, which AdamW makes as large as any other
        torch.testing.assert_close(numbers, after[name], atol=2e-4, rtol=1e-3, msg=name)


def test_evaluation_weighs_tokens_not_batches() -> None:
    model = production()
    rows = some_ids(5)
    parts = [(rows[:4, :-1], rows[:4, 1:]), (rows[4:, :5], rows[4:, 1:6])]
    sums = [lm_loss(model, *part) for part in parts]
    expected = sum(nats.item() for nats, _ in sums) / sum(int(n) for _, n in sums)
    assert training.evaluate(block.same_as(model), parts) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.3, 0), (1.7, 5), (1.0, 1), (0.0, 0), (0.7, 99)])
def test_chosen_tokens(temperature: float, top_k: int) -> None:
    """Draw for draw the same, and the same probabilities."""
    logits = 2 * torch.randn(200, VOCAB, generator=torch.Generator().manual_seed(3))
    options = SamplingOptions(temperature=temperature, top_k=top_k or None, greedy=False)
    ours, theirs = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    for row in logits:
        filtered = row[None]
        for station in filters_in_order(options):
            filtered = station.apply(filtered, torch.zeros(1, VOCAB, dtype=torch.bool))
        chosen = greedy(filtered) if temperature == 0 else sample(filtered, [theirs])
        assert sampling.choose(row, ours, temperature=temperature, top_k=top_k) == chosen.item()
        if temperature > 0:
            kept = sampling.keep_top_k(row, top_k) if top_k else row
            torch.testing.assert_close(
                sampling.with_temperature(kept, temperature), filtered[0].softmax(-1), atol=1e-6, rtol=1e-5
            )


def test_ties_at_the_edge_of_top_k_stay() -> None:
    assert sampling.keep_top_k(torch.tensor([1.0, 2.0, 1.0, 0.0]), 2).tolist() == [1.0, 2.0, 1.0, -torch.inf]


def test_class_logits() -> None:
    """The same body, the same head, rows of different lengths with padding behind."""
    model = production()
    production_classifier = heads.with_class_head(model, ("ham", "spam", "other"))
    ours = classifier.with_class_head(block.same_as(model), 3)
    assert ours.head.weight.count_nonzero() == 0
    weights = torch.randn(3, 16, generator=torch.Generator().manual_seed(2))
    for head in (ours.head, production_classifier.head):
        head.weight.data.copy_(weights)
    rows = [[1, 2, 3, 4, 5], [6], [7, 8, 9]]
    ids, last = classifier.padded(rows, pad_id=0), classifier.last_real(rows)
    expected = heads.class_logits(production_classifier, ids, torch.tensor(last))
    torch.testing.assert_close(classifier.class_logits(ours, ids, last), expected, atol=1e-5, rtol=1e-5)
    labels = torch.tensor([2, 0, 1])
    targets = torch.full_like(ids, -100)
    targets[torch.arange(3), torch.tensor(last)] = labels
    nats, n = heads.class_loss(production_classifier, ids, targets)
    assert classifier.class_loss(ours, ids, last, labels).item() == pytest.approx((nats / n).item(), rel=1e-5)


def test_the_same_part_learns() -> None:
    model = production()
    ours = classifier.with_class_head(block.same_as(model), 2)
    theirs = heads.with_class_head(model, ("ham", "spam"))
    classifier.only_last_block_learns(ours)
    heads.choose_trainable(theirs, "last-blocks=1")
    assert lora.n_learning(ours) == lora.n_learning(theirs)


def test_instructions_become_the_same_ids_and_targets() -> None:
    tokenizer = build_bytes()
    style, end = get_style("alpaca"), tokenizer.special_ids[EOT]
    rows = list(tinyworld.instructions(seed=1, n=40))
    assert {bool(row.input) for row in rows} == {True, False}
    examples, ours, n_prompt = [], [], []
    for row in rows:
        talk = (Message("user", row.instruction, row.input), Message("assistant", row.output))
        examples.append(make_example(style, tokenizer, InstructionRow(talk)))
        ids, n = instructions.to_ids(row._asdict(), tokenizer.encode)
        ours.append(ids)
        n_prompt.append(n)
    ids, targets = collate(examples, pad_id=end)
    inputs, all_targets = instructions.collate(ours, pad_id=end)
    assert inputs == ids.tolist()
    assert instructions.mask_prompts(all_targets, n_prompt) == targets.tolist()


def test_the_end_is_learned_once_even_where_padding_is_the_end_token() -> None:
    _, targets = instructions.collate([[5, 0, 7], [8]], pad_id=0)
    assert targets == [[0, 7, 0], [0, -100, -100]], "an id of the text may be the padding's: it is learned"


@pytest.mark.parametrize("bias", [True, False])
def test_lora_forward_and_merged(bias: bool) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(6, 5, bias=bias)
    theirs = LoRALinear(linear, rank=2, alpha=3.0, generator=torch.Generator().manual_seed(1))
    ours = lora.LinearWithLoRA(copy.deepcopy(linear), rank=2, alpha=3.0)
    x, upstream = torch.randn(4, 6), torch.randn(4, 5)
    torch.testing.assert_close(ours(x), linear(x), atol=0, rtol=0)
    theirs.lora_b.data.normal_(generator=torch.Generator().manual_seed(2))
    ours.lora.A.data.copy_(theirs.lora_a.T)
    ours.lora.B.data.copy_(theirs.lora_b.T)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours.merge().weight.T, theirs.merged().T, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours.merge()(x), ours(x), atol=1e-6, rtol=1e-6)
    for layer in (ours, theirs):
        (layer(x) * upstream).sum().backward()
    torch.testing.assert_close(ours.lora.A.grad, theirs.lora_a.grad.T, atol=1e-6, rtol=1e-6)  # pyright: ignore
    torch.testing.assert_close(ours.lora.B.grad, theirs.lora_b.grad.T, atol=1e-6, rtol=1e-6)  # pyright: ignore
    assert ours.linear.weight.grad is None


def test_a_whole_model_with_lora_and_merged() -> None:
    model = block.GPT(vocab_size=VOCAB, context_length=CONTEXT, d_model=16, n_layers=2, n_heads=2)
    before, names = model(some_ids(2)), set(model.state_dict())
    lora.replace_linear_with_lora(model, rank=2, alpha=4.0)
    torch.testing.assert_close(model(some_ids(2)), before, atol=0, rtol=0)
    thin = [name for name, weights in model.named_parameters() if weights.requires_grad]
    assert len(thin) == 2 * (2 * 6 + 1)
    assert all(".lora." in name for name in thin)
    for name, weights in model.named_parameters():
        if name.endswith("lora.B"):
            torch.nn.init.normal_(weights, std=0.1)
    taught = model(some_ids(2))
    lora.merge(model)
    assert set(model.state_dict()) == names
    torch.testing.assert_close(model(some_ids(2)), taught, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(taught, before, atol=1e-2)


def test_rewards_and_loss_of_preferences() -> None:
    model, before = production(seed=1), production(seed=2)
    ids = some_ids(6)
    inputs, targets = ids[:, :-1], ids[:, 1:].clone()
    for row, (first, last) in enumerate([(3, 9), (3, 5), (0, 11), (5, 11), (2, 3), (7, 9)]):
        targets[row, :first] = targets[row, last:] = -100
    now = answer_log_probs(model, inputs, targets)
    then = answer_log_probs(before, inputs, targets)
    ours = dpo.log_prob(block.same_as(model), inputs, targets)
    ours_then = dpo.log_prob(block.same_as(before), inputs, targets)
    torch.testing.assert_close(ours, now, atol=1e-5, rtol=1e-6)
    margins = 0.3 * margins_of(now - then)
    loss, better, worse = dpo.dpo_loss(ours[0::2], ours[1::2], ours_then[0::2], ours_then[1::2], beta=0.3)
    assert loss.item() == pytest.approx(-torch.nn.functional.logsigmoid(margins).mean().item(), rel=1e-5)
    assert (better - worse).item() == pytest.approx(margins.mean().item(), rel=1e-4)
