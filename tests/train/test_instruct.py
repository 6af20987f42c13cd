"""Instruction tuning: what comes out answers in its style and stops, goes on exactly, and leaves nothing out unsaid."""

from __future__ import annotations

import contextlib
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.conftest import Halt, TuneBench, halt_at
from tests.train.test_minutes import Clock
from tests.train.test_pretrain import land_at

from vidro.api.run import Run
from vidro.checkpoint.run import RunRef, load_tokenizer, open_run, verify_root
from vidro.config.load import from_dict, read_toml, resolve
from vidro.config.schema import InstructOptions
from vidro.core.errors import DataError, RunError, TokenizerError, UsageError
from vidro.data.instructions import InstructionRow, read_instructions
from vidro.evals.answer_yardsticks import REPEATED, SIMILAR
from vidro.evals.answers import read_answers, score_answers
from vidro.model.loss import lm_loss
from vidro.text.conversation import Message
from vidro.text.styles import STYLES, encode_segments, get_style
from vidro.text.tokenizer import Tokenizer
from vidro.train.defaults import optimizer_settings
from vidro.train.finetune import Job
from vidro.train.instruct import InstructTask, instruct_job
from vidro.train.optim import Optimizer
from vidro.train.step import StepSettings, train_step


def job_of(tuner: TuneBench, **flags: Any) -> tuple[Job, InstructTask]:
    """Everything in place, nothing trained."""
    options = resolve(InstructOptions, flags={"data": str(tuner.folder / "asked.jsonl"), "dropout": 0.0, **flags})
    job = instruct_job(options, tuner.base, None, tuner.folder)
    assert isinstance(job.task, InstructTask)
    return job, job.task


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def questions(n: int, *, answer: str = "red", more: str = "") -> list[dict[str, Any]]:
    return [{"instruction": f"Say {number}.{more}", "output": answer} for number in range(n)]


def test_a_run_comes_out_that_answers(tuner: TuneBench) -> None:
    tuner.plots = True
    result = tuner.instruct("a")
    path = result.path
    present = {p.name for p in path.iterdir()}
    assert present >= {
        "config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "run.toml", "vidro.json",
        "chat_template.jinja", "responses.jsonl", "metrics.jsonl", "samples.jsonl", "plots",
    }  # fmt: skip
    record = verify_root(path)
    assert (record["kind"], record["status"], record["prompt_style"]) == ("instruct", "finished", "chatml")
    assert record["parent"] == str(tuner.base.path)
    assert (path / "chat_template.jinja").read_text(encoding="utf-8") == STYLES["chatml"].jinja
    tokenizer = Tokenizer.load(path)
    ends = json.loads((path / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    assert ends == [tokenizer.special_ids["<|im_end|>"], tokenizer.eot_id]
    data = record["data"]
    assert (data["form"], data["n_rows"]) == ("alpaca", 120)
    assert data["n_train"] + data["n_val"] + data["n_test"] == 120
    (start,) = tuner.log("a", "start")
    assert {name: start[name] for name in ("style", "n_train", "n_val", "n_test")} == {
        "style": "chatml", **{name: data[name] for name in ("n_train", "n_val", "n_test")},
    }  # fmt: skip
    assert {p.stem for p in (path / "plots").iterdir()} == {"loss", "perplexity", "learning-rate", "speed"}
    samples = [json.loads(line) for line in (path / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert samples
    assert all(event["prompt"].endswith("\n") for event in samples)


def test_the_responses_are_kept_and_the_results_are_theirs(tuner: TuneBench) -> None:
    result = tuner.instruct("a", answer_tokens=6)
    answers = read_answers(result.path / "responses.jsonl")
    assert len(answers) == 8
    assert result.results["answers"] == score_answers(answers, seed=1337).to_json()
    again, similar = result.results["yardsticks"]
    assert (again["name"], similar["name"], again["n"], similar["n"]) == (REPEATED, SIMILAR, 8, 8)
    assert similar["n_learned"] == verify_root(result.path)["data"]["n_train"]
    asked = [replace(one, answer="\n".join(filter(None, (one.instruction, one.input)))) for one in answers]
    assert again["f1"] == score_answers(asked, seed=1337).to_json()["f1"]
    rows = read_instructions(tuner.folder / "asked.jsonl").rows
    expected = {(row.prompt[-1].content, row.prompt[-1].input): row.messages[-1].text for row in rows}
    run = Run(result.path, device="cpu")
    for one in answers:
        assert expected[one.instruction, one.input] == one.expected
        again = run.answer(one.instruction, input=one.input, greedy=True, max_tokens=6)
        assert again == one.answer


def test_it_learns_answers_and_to_stop_after_them(tuner: TuneBench) -> None:
    things = ("hat", "hen", "sea", "cat", "boat", "door", "lamp", "tree", "fox", "cup", "hill", "bell")
    colours = zip(things, ("red", "blue") * 6, strict=True)
    rows = [{"instruction": f"Which colour has the {thing}?", "output": colour} for thing, colour in colours]
    data = write(tuner.folder / "colours.jsonl", rows)
    flags = {"data": data, "steps": 150, "lr": 0.01, "batch_rows": 4, "dropout": 0.0, "evals": 2, "answer_tokens": 20}
    result = tuner.instruct("a", **flags, val_share=0.1, test_share=0.1)
    assert result.results["answers"]["stopped_frac"] == 1.0
    run = Run(result.path, device="cpu")
    (answer,) = run.answerer.answers(
        [[Message("user", "Which colour has the hat?")]], resolved_sampling(greedy=True, max_tokens=20)
    )
    assert answer.finish_reason == "eos"
    assert answer.text in ("red", "blue")
    assert run.answer("Which colour has the hat?", greedy=True, max_tokens=20) == answer.text


def resolved_sampling(**values: Any) -> Any:
    from vidro.api.settings import sampling_options

    return sampling_options(values)


@pytest.mark.parametrize("style", ["chatml", "alpaca", "phi3"])
def test_the_end_token_is_learned_and_the_prompt_only_when_asked(tuner: TuneBench, style: str) -> None:
    row = InstructionRow((Message("user", "Say yes."), Message("assistant", "yes")))
    for learn_prompt in (False, True):
        job, task = job_of(tuner, style=style, learn_prompt=learn_prompt)
        end = job.tokenizer.special_ids[get_style(style).end_token]
        for example in task.train:
            assert example.ids[-1] == end
            assert example.learned[-1]
            assert not example.learned[0]
            n_prompt = example.learned.index(True)
            assert all(example.learned[1:]) if learn_prompt else n_prompt > 5
        batch = task.batch(0)
        assert int((batch.targets == end).sum(1).min()) >= 1  # also where it pads with the same id
    prompt = encode_segments(job.tokenizer, get_style(style).prompt(row.prompt))[0]
    whole = encode_segments(job.tokenizer, get_style(style).segments(row.messages))[0]
    assert whole[: len(prompt)] == prompt


def test_learned_prompts_are_seen_in_the_counts(tuner: TuneBench) -> None:
    counts = []
    for learn_prompt in (False, True):
        _, task = job_of(tuner, learn_prompt=learn_prompt)
        batch = task.batch(0)
        counts.append(int((batch.targets != -100).sum()))
        assert torch.equal(batch.ids, job_of(tuner)[1].batch(0).ids)
    assert counts[0] < counts[1]
    tuner.instruct("a", learn_prompt=True)
    assert tuner.log("a", "eval")[-1]["n_tokens"] > 66


@pytest.mark.parametrize("micro_batch", [1, 3, 5])
def test_micro_batches_of_unequal_padding_give_the_gradient_of_one_batch(tuner: TuneBench, micro_batch: int) -> None:
    gradients, losses = [], []
    for size in (8, micro_batch):
        job, task = job_of(tuner, batch_rows=8, optimizer="adamw")
        batch = task.batch(3)
        learned = (batch.targets != -100).sum(1)
        assert len(set(learned.tolist())) > 2  # a mean of means would be wrong
        optimizer = Optimizer(job.model, optimizer_settings(job.options.optim, job.model.config))
        settings = StepSettings(micro_batch=size, clip=0.0, autocast=contextlib.nullcontext)
        report = train_step(job.model, optimizer, batch, loss=task.loss, multiplier=0.0, settings=settings)
        losses.append(report.loss_nats)
        gradients.append({name: p.grad for name, p in job.model.named_parameters()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=0, atol=1e-6)
    assert max(gradient.abs().max() for gradient in gradients[0].values()) > 1e-3


def test_more_padding_changes_nothing(tuner: TuneBench) -> None:
    job, task = job_of(tuner, batch_rows=8)
    batch = task.batch(0)
    wider = torch.full((8, batch.ids.shape[1] + 5), task.pad_id)
    wider[:, :-5] = batch.ids
    targets = torch.full_like(wider, -100)
    targets[:, :-5] = batch.targets
    job.model.eval()
    nats, n = lm_loss(job.model, batch.ids, batch.targets)
    more, m = lm_loss(job.model, wider, targets)
    assert int(n) == int(m)
    assert more.item() == pytest.approx(nats.item(), rel=1e-6)


@pytest.mark.parametrize("step", [4, 8])
def test_broken_off_anywhere_it_goes_on_bit_for_bit(tuner: TuneBench, step: int) -> None:
    tuner.known("whole", "instruct")
    with pytest.raises(Halt):
        tuner.instruct("broken", halt_at(step), data=tuner.known_rows("instruct"))
    tuner.go_on("instruct", "broken")
    tuner.alike("whole", "broken")
    first, second = (verify_root(tuner.folder / name) for name in ("whole", "broken"))
    assert first["results"]["answers"] == second["results"]["answers"]
    assert {k: v for k, v in first.items() if k != "results"} == {k: v for k, v in second.items() if k != "results"}


@pytest.mark.parametrize(
    "flags", [{"optimizer": "muon", "lr": None}, {"style": "alpaca", "learn_prompt": True}, {"too_long": "cut"}]
)
def test_every_way_resumes_exactly(tuner: TuneBench, flags: dict[str, Any]) -> None:
    tuner.instruct("whole", **flags)
    with pytest.raises(Halt):
        tuner.instruct("broken", halt_at(7), **flags)
    tuner.go_on("instruct", "broken")
    tuner.alike("whole", "broken")


def test_broken_off_while_finishing(tuner: TuneBench) -> None:
    tuner.known("whole", "instruct")
    with pytest.raises(Halt):
        tuner.instruct("final", halt_at(12, "checkpoint"))
    tuner.go_on("instruct", "final")
    tuner.alike("whole", "final")


def test_rows_too_long_are_left_out_or_cut_and_counted(tuner: TuneBench) -> None:
    long = {"instruction": "Say a lot.", "output": "the hen and the fox went to the sea " * 20}
    asks = {"instruction": "the hen and the fox went to the sea " * 20, "output": "no"}  # nothing of its answer is left
    data = write(tuner.folder / "long.jsonl", [*questions(20), long, {**long, "instruction": "Say more."}, asks])
    rest = write(tuner.folder / "rest.jsonl", [{"instruction": f"And {n}?", "output": "yes"} for n in range(4)])
    flags = {"data": data, "test": rest, "val_share": 0.05}
    dropped, learned = job_of(tuner, **flags, too_long="drop")
    assert [note for note in dropped.notes if "longer than" in note] == [
        "3 of 22 rows to learn from are longer than 128 tokens: left out."
    ]
    assert len(learned.train) == 19
    cut, learned = job_of(tuner, **flags, too_long="cut")
    assert [note for note in cut.notes if "longer than" in note] == [
        "1 of 22 rows to learn from are longer than 128 tokens: left out.",
        "2 of 22 rows to learn from are longer than 128 tokens: cut there.",
    ]
    assert len(learned.train) == 21
    assert sum(example.n_inputs == 128 for example in learned.train) == 2


def test_when_nothing_fits_it_is_said_before_anything_is_written(tuner: TuneBench) -> None:
    data = write(tuner.folder / "long.jsonl", questions(20, more=" " + "the hen and the fox went to the sea " * 20))
    with pytest.raises(DataError, match=r"has an answer that begins within 128 tokens\. The shortest has"):
        tuner.instruct("a", data=data)
    long = write(tuner.folder / "more.jsonl", questions(20, answer="the hen and the fox went to the sea " * 20))
    with pytest.raises(DataError, match=r"no answer ends with the end token \(id \d+\), so .* would never stop"):
        tuner.instruct("a", data=long, too_long="cut")
    assert not (tuner.folder / "a").exists()


def test_test_rows_that_cannot_be_asked_are_counted(tuner: TuneBench) -> None:
    short = questions(3)
    asks = {"instruction": "the hen and the fox went to the sea " * 20, "output": "no"}
    own = write(tuner.folder / "own.jsonl", [*short, asks])
    result = tuner.instruct("a", test=own)
    assert result.results["n_unanswerable"] == 1
    assert result.results["answers"]["n"] == 3
    none = write(tuner.folder / "none.jsonl", [asks])
    with pytest.raises(DataError, match=r"^no question to score with fits 128 tokens\. Give some that are shorter"):
        tuner.instruct("b", test=none)
    assert not (tuner.folder / "b").exists()


def test_only_so_many_rows_are_asked_evenly(tuner: TuneBench) -> None:
    own = write(tuner.folder / "own.jsonl", questions(10))
    path = tuner.instruct("a", test=own, test_rows=4, answer_tokens=2).path
    asked = [answer.instruction for answer in read_answers(path / "responses.jsonl")]
    assert asked == ["Say 0.", "Say 2.", "Say 5.", "Say 7."]


def test_a_style_that_the_tokenizer_cannot_write(tuner: TuneBench) -> None:
    with pytest.raises(UsageError, match=r"there is no prompt style 'alpacca'\. Did you mean alpaca\?"):
        tuner.instruct("a", style="alpacca")
    with pytest.raises(TokenizerError) as problem:
        tuner.instruct("a", style="llama3")
    what = "the style llama3 needs the token <|begin_of_text|>, which this tokenizer does not have."
    assert str(problem.value).startswith(what)
    assert "chatml" in str(problem.value)
    assert not (tuner.folder / "a").exists()


@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_the_run_answers_in_the_style_that_it_was_taught(tuner: TuneBench, style: str) -> None:
    path = tuner.instruct("a", style=style).path
    run = Run(path, device="cpu")
    assert run.style == STYLES[style]
    assert (path / "chat_template.jinja").read_text(encoding="utf-8") == STYLES[style].jinja
    question = [Message("user", "Say it.", "Now")]
    expected = encode_segments(run.tokenizer, STYLES[style].prompt(question))[0]
    (answer,) = run.answerer.answers([question], resolved_sampling(greedy=True, max_tokens=5))
    assert answer.prompt_ids == expected
    assert run.answer("Say it.", input="Now", greedy=True, max_tokens=5) == answer.text.strip()


def test_a_template_of_ones_own_is_kept_with_the_run(tuner: TuneBench, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tuner.folder / "own.jinja"
    own.write_text(
        "{% for m in messages %}{% if m['role'] == 'user' %}Q: {{ m['content'] }}\n{% else %}A: {{ m['content'] }}"
        "<|endoftext|>{% endif %}{% endfor %}{% if add_generation_prompt %}A: {% endif %}",
        encoding="utf-8",
    )
    monkeypatch.chdir(tuner.folder)
    tuner.instruct("whole", style="jinja:own.jinja")
    with pytest.raises(Halt):
        tuner.instruct("broken", halt_at(7), style="jinja:own.jinja")
    monkeypatch.chdir(tuner.base.path)  # resumed from elsewhere
    before = own.read_text(encoding="utf-8")
    own.write_text(before.replace("Q: ", "Question: "), encoding="utf-8")
    with pytest.raises(RunError, match=r"own\.jinja has changed since this run began"):
        tuner.go_on("instruct", "broken")
    own.write_text(before, encoding="utf-8")
    tuner.go_on("instruct", "broken")
    tuner.alike("whole", "broken")
    own.unlink()
    run = Run(tuner.folder / "whole", device="cpu")
    assert run.style is not None
    ids = run.answerer.prompt_ids([Message("user", "Why?")])
    assert run.tokenizer.decode(ids) == "Q: Why?\nA: "
    assert run.style.end_token == "<|endoftext|>"


def test_a_classifier_cannot_be_taught_to_answer_and_a_base_was_not(tuner: TuneBench) -> None:
    first = tuner.known("a", "classify")
    with pytest.raises(UsageError, match=r"this run is a classifier; it cannot answer\. Start from the language model"):
        tuner.instruct("b", parent=open_run(RunRef(first)))
    with pytest.raises(UsageError, match=r"this run was not taught to answer\. Teach it: vidro finetune instruct RUN"):
        Run(tuner.base.path, device="cpu").answer("Why?")


def test_an_answering_run_can_be_taught_more(tuner: TuneBench) -> None:
    first = tuner.known("a", "instruct", copy=True)
    second = tuner.instruct("b", parent=open_run(RunRef(first)))
    assert verify_root(second.path)["parent"] == str(first)
    assert [run.path for run in Run(second.path).ancestry()] == [tuner.base.path, first, second.path]


def test_ctrl_c_lands_and_a_resume_is_as_if_it_never_happened(tuner: TuneBench) -> None:
    tuner.instruct("whole", steps=30)
    result = tuner.instruct("landed", land_at(10), steps=30)
    assert (result.reason, result.signum) == ("landed", signal.SIGINT)
    assert verify_root(result.path)["status"] == "landed"
    assert result.results["answers"]["n"] == 8
    tuner.go_on("instruct", "landed")
    tuner.alike("whole", "landed", step=30)


def test_minutes_are_kept_on_the_clock(tuner: TuneBench) -> None:
    clock = Clock()
    tuner.clock = clock
    assert tuner.instruct("a", steps=None, minutes=0.3, evals=2).reason == "budget"
    assert 0.3 * 60 * 0.6 < clock.now < 0.3 * 60 + 5


def test_run_toml_makes_the_same_run_again(tuner: TuneBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tuner.folder)
    tuner.instruct("a", data="asked.jsonl")
    options = from_dict(InstructOptions, read_toml(tuner.folder / "a" / "run.toml"))
    assert (options.rows.data, options.rows.style) == (str(tuner.folder / "asked.jsonl"), "chatml")
    assert instruct_job(options, tuner.base, None, tuner.folder).options == options
    assert load_tokenizer(open_run(RunRef(tuner.folder / "a"))).fingerprint == load_tokenizer(tuner.base).fingerprint


def test_no_rows_are_named(tuner: TuneBench) -> None:
    with pytest.raises(UsageError, match=r"^no instructions are named\. For example --data instructions\.json\.$"):
        tuner.instruct("a", data=None)
