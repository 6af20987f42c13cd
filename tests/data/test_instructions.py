"""Rows of instructions and preferences: every form as a conversation, every mistake with its row."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError
from vidro.data.instructions import (
    InstructionRow,
    PreferenceRow,
    read_instructions,
    read_preferences,
    split_instructions,
)
from vidro.text.styles import Message, get_style

ASK = {"instruction": "Make it plural.", "input": "cat", "output": "cats"}
PAIR = {"prompt": "Hi", "chosen": "Hello.", "rejected": "Go."}


def write(folder: Path, rows: Any, name: str = "rows.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def complaint_of(folder: Path, rows: Any, read: Any = read_instructions) -> str:
    path = write(folder, rows)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


# What is read


@pytest.mark.parametrize(
    ("row", "form", "messages"),
    [
        (ASK, "alpaca", [Message("user", "Make it plural.", "cat"), Message("assistant", "cats")]),
        (
            {"instruction": "Hi", "output": "Yo", "system": "Be brief.", "input": None},
            "alpaca",
            [Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Yo")],
        ),
        ({"prompt": "Hi", "completion": "Yo"}, "completion", [Message("user", "Hi"), Message("assistant", "Yo")]),
        ({"prompt": "Hi", "response": "Yo"}, "completion", [Message("user", "Hi"), Message("assistant", "Yo")]),
        ({"prompt": "Hi", "answer": "Yo"}, "completion", [Message("user", "Hi"), Message("assistant", "Yo")]),
        (
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]},
            "chat",
            [Message("user", "Hi"), Message("assistant", "Yo")],
        ),
        (
            {
                "conversations": [
                    {"from": "system", "value": "Be brief."},
                    {"from": "human", "value": "Hi"},
                    {"from": "gpt", "value": "Yo"},
                    {"from": "human", "value": "And?"},
                    {"from": "gpt", "value": "Bye"},
                ]
            },
            "sharegpt",
            [
                Message("system", "Be brief."),
                Message("user", "Hi"),
                Message("assistant", "Yo"),
                Message("user", "And?"),
                Message("assistant", "Bye"),
            ],
        ),
    ],
)
def test_every_form_is_a_conversation(tmp_path, row, form, messages):
    table = read_instructions(write(tmp_path, [row]))
    assert (table.form, table.n_empty, table.notes) == (form, 0, ())
    assert table.rows == (InstructionRow(tuple(messages), None, 1),)
    assert table.rows[0].prompt == tuple(messages[:-1])


def test_kinds_are_kept_and_other_fields_named(tmp_path):
    table = read_instructions(write(tmp_path, [{**ASK, "kind": "plural", "id": 7}, {**ASK, "id": 8, "note": ""}]))
    assert [row.kind for row in table.rows] == ["plural", None]
    assert table.notes == ("Fields not used: id (2 rows).",)


LINES = st.lists(st.fixed_dictionaries({"prompt": st.text(min_size=1), "completion": st.text(min_size=1)}), min_size=1)


@given(rows=LINES, packed=st.booleans(), lines=st.booleans(), ascii=st.booleans())
def test_lists_and_lines_packed_or_not_say_the_same(tmp_path_factory, rows, packed, lines, ascii):
    rows = [row for row in rows if row["prompt"].strip() and row["completion"].strip()]
    if not rows:
        return
    texts = [json.dumps(row, ensure_ascii=ascii) for row in rows]
    data = ("\n\n".join(texts) + "\n" if lines else f"[{','.join(texts)}]").encode()
    path = tmp_path_factory.mktemp("rows") / ("rows.jsonl" + (".gz" if packed else ""))
    path.write_bytes(gzip.compress(data) if packed else data)
    table = read_instructions(path)
    assert [(row.messages[0].content, row.messages[1].content) for row in table.rows] == [
        (row["prompt"], row["completion"]) for row in rows
    ]
    assert [row.line for row in table.rows] == [(2 * n + 1 if lines else n + 1) for n in range(len(rows))]


# What is refused


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ({"data": [ASK]}, "line 1: no question in this row (fields: data). Forms: instruction + output, messages"),
        ([ASK, 3], "row 2 is a number, not an object. A row is an object such as"),
        ([[ASK]], "row 1 is a list, not an object"),
        ([], "the list is empty"),
        ("text", "line 1 is text, not an object"),
        ([ASK, {"text": "x", "id": 1}], "row 2: no question in this row (fields: text, id). Forms: instruction + out"),
        ([{}], "row 1: no question in this row (fields: none)"),
        ([{"instruction": "x", "answer": "y"}], "row 1: no output in this row (fields: instruction, answer)"),
        ([{"prompt": "x", "output": "y"}], "row 1: no completion or response or answer in this row (fields: prompt, o"),
        ([ASK, {"prompt": "x", "answer": "y"}], "row 2: this row has the form completion, but row 1 has the form alp"),
        ([{**ASK, "output": 3}], "row 1: 'output' is a number, not text"),
        ([{**ASK, "output": None}], "row 1: 'output' is null, not text"),
        ([{**ASK, "input": ["x"]}], "row 1: 'input' is a list, not text"),
        ([{"messages": "hi"}], "row 1: the conversation is not a list of messages"),
        ([{"messages": []}], "row 1: this conversation has no turns"),
        ([{"messages": [{"role": "user"}]}], "row 1: message 1 has no 'role' or no 'content' (fields: role)"),
        (
            [{"messages": [{"role": "tool", "content": "x"}]}],
            "row 1: message 1 has the unknown role 'tool'. Known: human, gpt, user, assistant, system.",
        ),
        (
            [{"messages": [{"role": "user", "content": [{"type": "text"}]}]}],
            "row 1: 'content' of message 1 is a list, not text",
        ),
        (
            [{"messages": [{"role": "user", "content": "x"}]}],
            "row 1: the conversation ends with the user, not with an answer",
        ),
        (
            [{"conversations": [{"from": "gpt", "value": "x"}]}],
            "row 1: message 1 is the assistant's, not the user's. A system message may come first",
        ),
    ],
)
def test_a_mistake_is_told_with_its_row(tmp_path, rows, complaint):
    assert complaint_of(tmp_path, rows).startswith(complaint)


def test_rows_without_output_are_listed_or_counted(tmp_path):
    rows = [ASK, {**ASK, "output": " \n"}, *[{**ASK, "output": ""}] * 9, {**ASK, "instruction": "", "input": ""}]
    assert complaint_of(tmp_path, rows) == (
        "11 of 12 rows without output or question (rows 2, 3, 4, 5, 6, 7, 8, 9 and 3 more). "
        "Complete them, or leave such rows out and count them: --skip-empty"
    )
    table = read_instructions(tmp_path / "rows.json", skip_empty=True)
    assert (len(table.rows), table.n_empty) == (1, 11)
    assert table.notes[0].startswith("Left out: 11 of 12 rows without output or question (rows 2,")
    path = write(tmp_path, [{**ASK, "output": ""}])
    with pytest.raises(DataError, match="all rows were left out"):
        read_instructions(path, skip_empty=True)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"[{}", "this is not JSON (Expecting ',' delimiter at line 1 column 4)"),
        (b"a,b\nc,d\n", "line 1 is not JSON (Expecting value at column 1). Give one JSON list of objects, or one obj"),
        (b'{"prompt": "a", "answer": "b"}\n{"prompt": "a"\n', "line 2 is not JSON ("),
        (b'{\n"rows": []\n}', "this is one JSON object, not a list of rows"),
        (b"[" * 100_000, "this JSON is nested too deeply"),
        (b'{"prompt": "a", "answer": "\\ud83d"}', "line 1: 'answer' holds half a surrogate pair at character 0"),
        (b"\xff{}", "this is not UTF-8 text: byte 0xFF"),
    ],
)
def test_files_that_are_not_rows(tmp_path, data, complaint):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_instructions(path)
    assert str(caught.value).startswith(f"{path}: {complaint}")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_instructions(tmp_path / "none.json")
    (tmp_path / "torn.json.gz").write_bytes(gzip.compress(json.dumps([ASK] * 99).encode())[:-20])
    with pytest.raises(DataError, match=r"the compressed file is cut short. Fetch or pack it again."):
        read_instructions(tmp_path / "torn.json.gz")


# Preferences


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        (PAIR, [Message("user", "Hi")]),
        (
            {**ASK, "chosen": "Hello.", "rejected": "Go."},
            [Message("user", "Make it plural.", "cat")],
        ),
        (
            {
                "conversations": [{"from": "system", "value": "Be kind."}, {"from": "human", "value": "Hi"}],
                "chosen": {"from": "gpt", "value": "Hello."},
                "rejected": {"from": "gpt", "value": "Go."},
            },
            [Message("system", "Be kind."), Message("user", "Hi")],
        ),
        (
            {
                "prompt": "Hi",
                "chosen": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}],
                "rejected": [{"role": "assistant", "content": "Go."}],
            },
            [Message("user", "Hi")],
        ),
    ],
)
def test_every_form_of_preference(tmp_path, row, prompt):
    (found,) = read_preferences(write(tmp_path, [row])).rows
    assert found == PreferenceRow(tuple(prompt), "Hello.", "Go.", None, 1)
    better, worse = found.as_rows()
    assert better == InstructionRow((*prompt, Message("assistant", "Hello.")), None, 1)
    assert worse.messages[-1] == Message("assistant", "Go.")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"prompt": "Hi"}, "row 1: no chosen and no rejected in this row (fields: prompt). Forms: chosen + rejected"),
        ({"chosen": "x", "rejected": "y"}, "row 1: no question in this row (fields: chosen, rejected). Forms: chosen"),
        ({**PAIR, "chosen": 3}, "row 1: the conversation is not a list of messages"),
        ({**PAIR, "chosen": []}, "row 1: 'chosen' is neither a text nor a message of the assistant's"),
        ({**PAIR, "chosen": {"role": "user", "content": "x"}}, "row 1: 'chosen' is neither a text nor a message"),
        (
            {**PAIR, "chosen": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "x"}]},
            "row 1: 'chosen' answers another conversation than the row's",
        ),
        ({**PAIR, "rejected": " "}, "1 of 1 rows without output or question (row 1)"),
        (
            {**PAIR, "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
            "row 1: the last message is not the user's, so there is nothing to answer",
        ),
    ],
)
def test_mistakes_in_preferences(tmp_path, row, complaint):
    assert complaint_of(tmp_path, [row], read_preferences).startswith(complaint)


# Real files


def test_the_books_data(shared_data: Path):
    table = read_instructions(shared_data / "instruct" / "instruction-data.json")
    assert (len(table.rows), table.form, table.notes) == (1100, "alpaca", ())
    split = split_instructions(table.rows, seed=123)
    assert [len(part) for part in (split.train, split.val, split.test)] == [935, 55, 110]
    pairs = read_preferences(shared_data / "instruct" / "instruction-data-with-preference.json")
    assert pairs.notes == (
        "Fields not used: output (1,100 rows).",
        "6 of 1,100 rows have the same text as chosen and rejected.",
    )


def test_alpaca_and_the_preferences_of_others(shared_data: Path):
    path = shared_data / "instruct" / "alpaca_data.json.gz"
    with pytest.raises(DataError, match=r"28 of 52,002 rows without output or question \(rows"):
        read_instructions(path)
    table = read_instructions(path, skip_empty=True)
    assert (len(table.rows), table.n_empty) == (51_974, 28)
    demo = read_preferences(shared_data / "instruct" / "dpo_en_demo.json.gz")
    assert (len(demo.rows), demo.form, demo.notes) == (300, "sharegpt", ())
    assert max(len(row.prompt) for row in demo.rows) == 13
    assert get_style("chatml").segments(demo.rows[0].as_rows()[0].messages)


# Splitting


def row_of(question: str, answer: str) -> InstructionRow:
    return InstructionRow((Message("user", question), Message("assistant", answer)))


@given(
    questions=st.lists(st.sampled_from("abcdefghijklmnop"), min_size=1, max_size=60),
    shares=st.sampled_from([(0.05, 0.1), (0.0, 0.2), (0.3, 0.0), (0.0, 0.0)]),
    seed=st.integers(0, 99),
)
def test_the_parts_are_all_rows_and_share_no_question(questions, shares, seed):
    rows = [row_of(question, str(number)) for number, question in enumerate(questions)]
    try:
        split = split_instructions(rows, val=shares[0], test=shares[1], seed=seed)
    except DataError as problem:
        assert "too few for so many parts" in str(problem)  # noqa: PT017
        assert len(set(questions)) < 16
        return
    parts = [split.train, split.val, split.test]
    assert sorted(row.messages[1].content for part in parts for row in part) == sorted(map(str, range(len(rows))))
    asked = [{row.prompt for row in part} for part in parts]
    assert sum(map(len, asked)) == len(set(questions))
    for part, share in zip(parts[1:], shares, strict=True):
        assert len(part) >= (max(1, round(share * len(rows))) if share else 0)
        assert bool(part) == bool(share)
    assert split == split_instructions(rows, val=shares[0], test=shares[1], seed=seed)


def test_the_seed_decides():
    rows = [row_of(str(number), "x") for number in range(100)]
    splits = {split_instructions(rows, seed=seed).test for seed in range(5)}
    assert len(splits) == 5


def test_splits_that_cannot_be():
    rows = [row_of("a", "1"), row_of("a", "2"), row_of("b", "3")]
    with pytest.raises(DataError, match="3 rows with 2 different questions are too few for so many parts"):
        split_instructions(rows, seed=0)
    with pytest.raises(DataError, match=r"the shares 0.5 \(validation\) and 0.5 \(test\) leave nothing to train on"):
        split_instructions(rows, val=0.5, test=0.5, seed=0)
