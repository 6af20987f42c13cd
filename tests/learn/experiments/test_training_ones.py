"""The experiments that train their own models: the tools proved on tiny ones, and each experiment once, shrunk."""

from __future__ import annotations

import math

import pytest
import torch

from vidro.learn.experiments import overfitting, parts, scaling, sizes
from vidro.learn.experiments.registry import EXPERIMENTS, Report
from vidro.learn.experiments.small import Material, Recipe, fresh, nats_per_token, shape, tiny_world, train
from vidro.learn.figures import png
from vidro.model.count import count
from vidro.model.transformer import Transformer

PARTS = parts.PartSettings(seeds=(1,), steps=3, rows=2, width=16, context=16, vocab_size=320, train_bytes=20_000,
                           val_bytes=1_000, windows=2, written_tokens=4)  # fmt: skip


@pytest.fixture(scope="module")
def material() -> Material:
    return tiny_world(20_000, val_bytes=1_000, vocab_size=320)


def made(seed: int = 1) -> Transformer:
    """A small model whose head and outputs are drawn too, so that every part shows in the logits."""
    model = fresh(shape(320, width=16, layers=2, heads=2, context=16), seed)
    draw = torch.Generator().manual_seed(seed)
    for weights in model.parameters():
        if weights.ndim == 2:
            weights.data = torch.randn(weights.shape, generator=draw) / weights.shape[1] ** 0.5
    return model.eval()


def test_training_is_the_same_twice_and_learns(material: Material) -> None:
    recipe = Recipe(steps=12, rows=4, looks=3)
    one, two = (train(fresh(shape(320, width=16, layers=1, heads=1, context=32), 1), material, recipe) for _ in "ab")
    assert one.looks == two.looks
    assert [look.step for look in one.looks] == [4, 8, 12]
    assert one.last.val_nats < one.looks[0].val_nats < math.log(320)
    assert one.best == one.last


def test_a_training_that_breaks_says_when(material: Material) -> None:
    model = made()
    model.head.weight.data.fill_(math.inf)
    outcome = train(model, material, Recipe(steps=5, rows=2))
    assert outcome.broke is not None
    assert outcome.broke.endswith("at step 1")
    assert not outcome.looks


def test_bits_per_byte_are_those_of_the_evaluation(material: Material) -> None:
    from vidro.evals.perplexity import score_text

    model = made()
    score = score_text(model, material.tokenizer, material.val_texts)
    nats = nats_per_token(model, material, material.val)
    assert nats == pytest.approx(score.nats_per_token)
    assert material.bits_per_byte(nats) == pytest.approx(score.bits_per_byte)


@pytest.mark.parametrize("part", [part for part in parts.PARTS if part != parts.WHOLE])
def test_a_part_that_is_left_out_is_out(part: str) -> None:
    ids = torch.arange(12).view(1, 12) + 40
    assert not torch.allclose(parts.without(part, made(), 1)(ids), made()(ids)), part


def test_without_positions_the_order_of_the_past_is_lost_on_one_block() -> None:
    ids = torch.tensor([[40, 41, 42, 43, 44]])
    swapped = ids[:, [2, 0, 1, 3, 4]]
    model = made()
    model.blocks = model.blocks[:1]
    assert not torch.allclose(model(ids)[:, -1], model(swapped)[:, -1])
    blind = parts.without("positions", model, 1)
    torch.testing.assert_close(blind(ids)[:, -1], blind(swapped)[:, -1])


def test_without_a_half_only_the_other_is_left() -> None:
    ids = torch.tensor([[40, 41, 42]])
    other = torch.tensor([[50, 51, 42]])
    alone = parts.without("attention", made(), 1)
    torch.testing.assert_close(alone(ids)[:, -1], alone(other)[:, -1])
    nothing = parts.without("feed-forward", parts.without("attention", made(), 1), 1)
    torch.testing.assert_close(nothing(ids), nothing.head(nothing.final_norm(nothing.token_embedding(ids))))


def test_without_the_scale_scores_are_larger_by_the_root_of_the_heads_width() -> None:
    from vidro.model.trace import Trace

    ids = torch.arange(6).view(1, 6) + 40
    usual, bare = Trace(), Trace()
    made()(ids, trace=usual)
    parts.without("the attention scale", made(), 1)(ids, trace=bare)
    was, now = usual.attention[0][0, 0, -1].log(), bare.attention[0][0, 0, -1].log()
    torch.testing.assert_close(now - now[0], (was - was[0]) * 8**0.5, atol=1e-4, rtol=1e-4)


def test_one_by_one_equals_at_once_for_a_causal_model_only(material: Material) -> None:
    windows = parts.check_windows(material, 2, 16)
    model = made()
    assert parts.one_by_one(model, *windows) == pytest.approx(parts.at_once(model, *windows), abs=1e-5)
    seeing = parts.without(parts.MASK, made(), 1)
    for name, weights in model.named_parameters():
        seeing.get_parameter(name).data = weights.data
    assert abs(parts.one_by_one(seeing, *windows) - parts.at_once(seeing, *windows)) > 1e-3


def test_the_power_law_is_found_where_there_is_one() -> None:
    law = scaling.power_law([10**5, 10**6, 10**7], [3.0 * n**-0.08 for n in (10**5, 10**6, 10**7)])
    assert (law.factor, law.exponent) == pytest.approx((3.0, -0.08))
    assert law.off < 1e-9
    assert scaling.power_law([10, 100, 1000], [3.0, 1.0, 3.0]).off > 0.3


def test_depths_have_about_equal_parameters_in_their_blocks() -> None:
    settings = sizes.SizeSettings()
    shapes = [shape(512, width=width, layers=layers, heads=width // settings.depth_d_head, context=128)
              for layers, width in settings.depths]  # fmt: skip
    inside = [count(config).n_parameters - 2 * 512 * config.d_model for config in shapes]
    assert max(inside) < 1.2 * min(inside)


def check(name: str, report: Report, n_tables: int, figures: set[str]) -> None:
    assert not EXPERIMENTS[name].needs_run
    assert len(report.tables) == n_tables
    for table in report.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert set(report.figures) == figures
    assert all(png(figure).startswith(b"\x89PNG") for figure in report.figures.values())
    assert report.findings
    assert report.settings


def test_parts_as_a_whole() -> None:
    said: list[str] = []
    report = parts.study(PARTS, said.append)
    check("parts", report, 3, {"parts"})
    losses = report.tables[0]
    assert [row[0] for row in losses.rows] == list(parts.PARTS)
    assert losses.rows[0][-1] == "+0.000"
    assert len(said) == len(parts.PARTS)


def test_parts_says_which_training_broke() -> None:
    from vidro.learn.experiments.small import Look, Outcome

    whole = parts.Tried(9, [Outcome([Look(1, 2.0, 2.5)], 0.1)], [2.5], [2.5], "")
    broken = parts.Tried(9, [Outcome([], 0.1, "the loss became nan at step 3")], [], [], "")
    tried = {**dict.fromkeys(parts.PARTS, whole), "norms": broken}
    assert parts.loss_table(tried).rows[2] == ("norms", 9, None, None, "the loss became nan at step 3")
    said = parts.findings(tried, {part: 0.0 for part in parts.PARTS if part != "norms"})
    assert "Without norms the training broke: the loss became nan at step 3." in said


def test_sizes_as_a_whole() -> None:
    settings = sizes.SizeSettings(seeds=(1, 2), steps=2, rows=2, context=16, width=16, vocab_size=320,
                                  all_heads=(1, 2), depths=((1, 16), (2, 8)), widths=(8, 16), vocabularies=(320, 384),
                                  train_bytes=20_000, val_bytes=1_000)  # fmt: skip
    report = sizes.study(settings, lambda words: None)
    check("sizes", report, 4, {"heads", "depth", "width", "vocabulary"})
    heads, _, width, vocabulary = report.tables
    assert heads.rows[1][1:4] == width.rows[1][1:4] == vocabulary.rows[0][1:4], "the usual model is in all three"


def test_scaling_as_a_whole() -> None:
    settings = scaling.ScalingSettings(models=((16, 1), (32, 2)), steps=4, looks=2, rows=2, context=16, vocab_size=320,
                                       train_bytes=20_000, val_bytes=1_000, timed_steps=1, timed_widths=(16, 32),
                                       timed_heads=(1, 2), heads_width=16)  # fmt: skip
    report = scaling.study(settings, lambda words: None)
    check("scaling", report, 4, {"parameters", "compute"})
    by_size, by_work, *_ = report.tables
    assert by_size.rows[0][0] < by_size.rows[1][0]
    assert by_work.rows[0][1] == f"{by_size.rows[0][0] / 1e6:.1f}M", "only the smallest fits its own work"
    for figure in report.figures.values():
        assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "log"


def test_overfitting_as_a_whole() -> None:
    settings = overfitting.OverfittingSettings(train_bytes=3_000, more_bytes=9_000, val_bytes=1_000, vocab_size=320,
                                               width=16, small_width=8, context=16, steps=40, rows=4, looks=4,
                                               samples=3, sample_tokens=12)  # fmt: skip
    report = overfitting.study(settings, lambda words: None)
    check("overfitting", report, 2, {"overfitting"})
    losses = {row[0]: row for row in report.tables[0].rows}
    assert losses["early stop"][4] == losses["plain"][6], "it is the plain model at its best look"
    assert losses["more text"][2] < losses["plain"][2]
    assert losses["smaller model"][1] < losses["plain"][1]


def test_a_text_learned_by_heart_is_found_in_what_is_written(material: Material) -> None:
    copied = overfitting.copies(material, [material.train_texts[0][10:90]], 30)
    assert copied.copied_frac == 1.0
    assert copied.longest_chars == 80
    assert overfitting.copies(material, ["zqx " * 20], 30).copied_frac == 0.0
