"""Labelled texts: every form of table gives the same rows, guesses are said, and what is no table is one line."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError, UsageError
from vidro.data.labelled import LabelledRow, balance, class_weights, read_labelled

PAIRS = [("ham", 'He said "hi", then left;'), ("spam", "WIN a prize\nnow"), ("ham", "Olá — até já"), ("spam", "  x ")]


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def written(pairs, delimiter: str, header: list[str] | None) -> str:
    """What Python's own writer makes of them."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows([*([header] if header else []), *pairs])
    return out.getvalue()


def error(path: Path, **wishes) -> str:
    with pytest.raises(DataError) as caught:
        read_labelled(path, **wishes)
    return str(caught.value).removeprefix(f"{path}: ")


def found(table) -> list[tuple[str, str]]:
    return [(row.label, row.text) for row in table.rows]


FORMS = {
    "a.csv": written(PAIRS, ",", ["label", "text"]),
    "semicolon.csv": written(PAIRS, ";", ["label", "text"]),
    "tab.csv": written(PAIRS, "\t", ["label", "text"]),
    "bare.csv": written(PAIRS, ",", None),
    "a.tsv": written(PAIRS, "\t", ["label", "text"]),
    "bare.tsv": written(PAIRS, "\t", None),
    "a.txt": written(PAIRS, "\t", ["label", "text"]),
    "none": written(PAIRS, ",", ["label", "text"]),
    "a.jsonl": "\n".join(json.dumps({"label": label, "text": text}) for label, text in PAIRS),
    "a.json": json.dumps([{"text": text, "label": label} for label, text in PAIRS], indent=1),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_rows(tmp_path, name):
    table = read_labelled(put(tmp_path, name, FORMS[name]))
    assert found(table) == PAIRS
    assert table.labels == ("ham", "spam")
    names = ("2", "1") if name.startswith("bare") else ("text", "label")
    assert (table.text_column, table.label_column) == names
    assert table.guessed
    packed = read_labelled(put(tmp_path, f"{name}.gz", gzip.compress(FORMS[name].encode())))
    assert packed == table


def test_the_line_of_a_row_is_where_it_begins(tmp_path):
    assert [row.line for row in read_labelled(put(tmp_path, "a.csv", FORMS["a.csv"])).rows] == [2, 3, 5, 6]
    assert [row.line for row in read_labelled(put(tmp_path, "a.jsonl", "\n" + FORMS["a.jsonl"])).rows] == [2, 3, 4, 5]
    assert [row.line for row in read_labelled(put(tmp_path, "a.json", FORMS["a.json"])).rows] == [1, 2, 3, 4]


def test_quote_marks_of_a_tsv_are_characters_unless_all_are_quoting(tmp_path):
    plain = 'ham\t"Yes" she said\nspam\t"Free"\nham\t"open\nspam\tand "\n'
    table = read_labelled(put(tmp_path, "a.tsv", plain))
    assert [row.text for row in table.rows] == ['"Yes" she said', '"Free"', '"open', 'and "']
    across = 'ham\t"Hello\nspam\tcome in"\nham\tbye\n'
    assert [row.text for row in read_labelled(put(tmp_path, "b.tsv", across)).rows] == ['"Hello', 'come in"', "bye"]
    quoted = read_labelled(put(tmp_path, "c.tsv", 'ham\t"a ""b"""\nspam\t"c\td"\nham\te\nham\tf\n'))
    assert [row.text for row in quoted.rows] == ['a "b"', "c\td", "e", "f"]
    assert "Quote marks around cells were taken off." in quoted.notes


def test_columns_by_name(tmp_path):
    path = put(tmp_path, "a.csv", "id,stars,review,label\n1,5,Good book,en\n2,1,Bad book,en\n3,5,Fine book,pt\n")
    table = read_labelled(path, text_column="review", label_column="stars")
    assert found(table) == [("5", "Good book"), ("1", "Bad book"), ("5", "Fine book")]
    assert not table.guessed
    assert "Text: column 'review', label: column 'stars'." in table.notes
    assert "Columns not used: id, label." in table.notes
    table = read_labelled(path)
    assert (table.text_column, table.label_column, table.guessed) == ("review", "label", True)
    assert "Text: column 'review', label: column 'label' (guessed)." in table.notes
    assert read_labelled(path, text_column="label", label_column="stars").rows[0] == LabelledRow("en", "5", 2)
    with pytest.raises(UsageError, match="the text and the label cannot both be column 'review'"):
        read_labelled(path, text_column="review", label_column="review")


def test_columns_by_what_they_hold(tmp_path):
    rows = [(n, ["neg", "pos"][n % 2], f"{n} words that say something of some length", "") for n in range(9)]
    table = read_labelled(put(tmp_path, "a.csv", written(rows, ",", ["v0", "v1", "v2", ""])))
    assert (table.text_column, table.label_column, table.labels) == ("v2", "v1", ("neg", "pos"))
    assert "Line 1 was read as the header." in table.notes
    assert "Columns not used: v0, 4." in table.notes
    table = read_labelled(put(tmp_path, "b.csv", written(rows, ",", None)))
    assert (table.text_column, table.label_column, len(table.rows)) == ("3", "2", 9)
    assert "No header line was found: the columns are called 1 2 3 4." in table.notes
    swapped = read_labelled(put(tmp_path, "c.csv", written([row[2:0:-1] for row in rows], ",", None)))
    assert found(swapped) == found(table)


@pytest.mark.parametrize(
    ("first", "header"),
    [
        ("label\tmessage", True),
        ("Category\tMessage", True),
        ("v1\tv2", True),
        ("kind\tSMS", True),
        ("spam\tok", False),  # a usual name of a label column, and a label
        ("other\tThis is a message as long as others are", False),
        ("7\tok", False),
    ],
)
def test_header_or_none(tmp_path, first, header):
    rest = [f"{'spam' if n % 3 else 'ham'}\tmessage number {n} is as long as this" for n in range(12)]
    table = read_labelled(put(tmp_path, "a.tsv", "\n".join([first, *rest])))
    assert len(table.rows) == 12 + (not header)


def test_labels_are_strings_without_white_space_around(tmp_path):
    values = [1, 1.5, True, False, " x ", "x", 1]
    lines = "\n".join(json.dumps({"text": f"t{n}", "label": value}) for n, value in enumerate(values))
    table = read_labelled(put(tmp_path, "a.jsonl", lines))
    assert [row.label for row in table.rows] == ["1", "1.5", "true", "false", "x", "x", "1"]
    assert table.labels == ("1", "1.5", "false", "true", "x")


def test_what_reading_changed_is_noted(tmp_path):
    table = read_labelled(put(tmp_path, "a.csv", b"\xef\xbb\xbflabel,text\r\na,x\r\nb,y\r\na,z\r\n"))
    assert found(table) == [("a", "x"), ("b", "y"), ("a", "z")]
    assert any(note.startswith("Byte-order mark removed") for note in table.notes)
    assert any(note.startswith("Windows line ends") for note in table.notes)
    latin = put(tmp_path, "b.csv", "label,text\na,olá\nb,é\na,z\n".encode("latin-1"))
    assert read_labelled(latin, encoding="latin-1").rows[0].text == "olá"


def test_empty_texts_are_an_error_or_counted(tmp_path):
    path = put(tmp_path, "a.csv", "label,text\na,x\nb,\na,  \nb,y\n,\na,z\n")
    line = "there is no text in 3 lines (3, 4, 6). Fill it in, or leave such rows out: --skip-empty."
    assert error(path) == line
    table = read_labelled(path, skip_empty=True)
    assert (table.n_empty, found(table)) == (3, [("a", "x"), ("b", "y"), ("a", "z")])
    assert "3 rows without text left out." in table.notes
    assert error(put(tmp_path, "b.json", '[{"text": null, "label": 1}, {"label": 2}]')) == line.replace(
        "3 lines (3, 4, 6)", "2 items (1, 2)"
    )
    assert error(put(tmp_path, "c.tsv", "label\ttext\na\t\nb\t\n"), skip_empty=True).startswith("there is no row with")


TABLE = "Choose a table that has a text and a label in each row."
NAME = "Name the columns: --text-column NAME --label-column NAME."
JSON = "Write one object a line, or one list of objects."
BAD = [
    ("a.csv", "", f"there are no rows in it. {TABLE}"),
    ("a.csv", '""\n\n', f"there are no rows in it. {TABLE}"),
    ("a.json", "[]", f"there are no rows in it. {TABLE}"),
    ("a.csv", "label,text\n", f"there are no rows in it below the header. {TABLE}"),
    ("a.csv", "text\na\nb\n", f"there is only one column ('text'). {TABLE}"),
    ("a.jsonl", '{"text": "a"}', f"there is only one column ('text'). {TABLE}"),
    ("a.tsv", "a\tx\nb\ty\na\n", "line 3 has not the 2 columns of line 1, but 1. Put texts that hold a tab"),
    ("a.csv", "a,x\nb,y\nb,y,z\n", "line 3 has not the 2 columns of line 1, but 3. Put texts that hold ',' in quote"),
    ("a.csv", 'label,text\na,"x" y\n', "line 2: this is not CSV (',' expected after '\"'). A quote mark inside a"),
    ("a.csv", 'label,text\na,x\na,"x\nb,y\n', "line 3: this is not CSV (unexpected end of data). A quote mark inside"),
    ("a.tsv", f"a\t{'x' * 140_000}\n", "line 1: this is not TSV (field larger than field limit (131072)). "),
    ("a.csv", "label,text\na,x\n ,y\n,z\nb,w\n", "there is no label in 2 lines (3, 4). Fill it in, or take such rows"),
    ("a.jsonl", '{"text": "a", "label": null}\n{"text": "b", "label": 0}', "there is no label in line 1. Fill it in"),
    ("a.csv", "label,text\na,x\na,y\n", f"every row has the same label, 'a'. A classifier needs two or more. {NAME}"),
    (
        "a.csv",
        "label,text\na,x\nb,x\nc,x\n",
        f"column 'label' has 3 different labels in 3 rows. This looks like text, not labels. {NAME}",
    ),
    (
        "a.csv",
        "label,text\n" + "".join(f"{n % 1001},x\n" for n in range(2002)),
        f"column 'label' has 1,001 different labels in 2,002 rows. This looks like text, not labels. {NAME}",
    ),
    ("a.csv", b"label,text\na,caf\xe9\n", "this is not UTF-8 text: byte 0xE9 at byte offset 16. If you know its enc"),
    (
        "a.jsonl",
        '{"text": "a", "label": 1}\n[1, 2]\n',
        f"line 2: [1, 2] is not an object with a text and a label. {JSON}",
    ),
    ("a.json", '[{"text": "a", "label": 1}, "b"]', f'item 2: "b" is not an object with a text and a label. {JSON}'),
    ("a.jsonl", '{"text": "a", "label": 1}\n\n{"text"\n', "line 3: this is not JSON (Expecting ':' delimiter"),
    ("a.json", "[1, 2", "this is not JSON (Expecting ',' delimiter"),
    ("a.json", "[" * 100_000, "this is not JSON (maximum recursion depth"),
    ("a.jsonl", '{"text": 5, "label": 1}', "line 1: column 'text' is 5, not text. Repair it."),
    ("a.jsonl", '{"text": "a", "label": [1]}', "line 1: column 'label' is [1], not a label. Repair it."),
    ("a.jsonl", '{"text": "\\ud800", "label": 1}', "line 1: 'text' holds half a surrogate pair (\\ud800) at"),
    ("a.csv", "x,y,z\n1,2,3\n4,5,6\n", "no column looks like labels (columns: 1, 2, 3). Name it: --label-column NAME."),
]


@pytest.mark.parametrize(("name", "content", "line"), BAD)
def test_what_is_no_table_of_labelled_texts(tmp_path, name, content, line):
    assert error(put(tmp_path, name, content)).startswith(line)


def test_a_column_that_is_not_there(tmp_path):
    path = put(tmp_path, "a.csv", "label,text,other\na,x,1\nb,y,1\na,z,1\n")
    assert (
        error(path, text_column="txt") == "there is no column 'txt' (columns: label, text, other). Did you mean text?"
    )
    assert error(path, label_column="Q") == ("there is no column 'Q' (columns: label, text, other). Name one of these.")
    twice = put(tmp_path, "b.csv", "label,text,text\na,x,1\nb,y,1\n")
    assert error(twice, label_column="label") == "2 columns are called 'text'. Give each a name of its own."


def test_files_that_cannot_be_opened(tmp_path):
    assert error(tmp_path / "a.csv") == "there is no such file or folder"
    rows = "".join(f"{n % 2}\tnumber {n * n}\n" for n in range(5000)).encode()
    torn = put(tmp_path, "a.tsv.gz", gzip.compress(rows)[:-100])
    assert error(torn) == "the compressed file is cut short. Fetch or pack it again."
    with pytest.raises(DataError, match="there is no text encoding called 'utf-9'"):
        read_labelled(torn, encoding="utf-9")


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(st.sampled_from(["ham", "spam"]), cells), max_size=8), st.sampled_from([",", "\t", "json"]))
def test_texts_survive(tmp_path_factory, rows, form):
    rows = [("ham", "first"), ("spam", "second"), ("spam", "third"), *rows]
    if form == "json":
        name, content = "a.jsonl", "\n".join(json.dumps(dict(zip(["label", "text"], row, strict=True))) for row in rows)
    else:
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=form, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(
            [("label", "text"), *rows]
        )
        name, content = {",": "a.csv", "\t": "a.tsv"}[form], out.getvalue()
    spans_records = form == "\t" and any("\t" in text and "\n" in text for _, text in rows)
    if not spans_records:  # such texts are read as lines with plain quote marks
        table = read_labelled(put(tmp_path_factory.getbasetemp(), name, content))
        assert found(table) == rows


pieces = st.lists(
    st.sampled_from(["a", "label", "text", ",", "\t", "\n", '"', '{"text": "x", "label": 1}', "[", "]", "1"])
)


@given(pieces.map("".join) | st.text(max_size=40), st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.json", "a"]))
def test_anything_is_a_table_or_one_line(tmp_path_factory, content, name):
    path = put(tmp_path_factory.getbasetemp(), name, content.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(DataError):
        table = read_labelled(path)
        assert len(table.rows) > len(table.labels) > 1
        assert {row.label for row in table.rows} == set(table.labels)


def test_the_sms_collection(shared_data):
    table = read_labelled(shared_data / "classification" / "SMSSpamCollection.tsv")
    assert Counter(row.label for row in table.rows) == {"ham": 4827, "spam": 747}
    assert len({(row.label, row.text) for row in table.rows}) == 5171
    assert (table.text_column, table.label_column, table.guessed, table.n_empty) == ("2", "1", True, 0)
    assert sum('"' in row.text for row in table.rows) == 145
    assert [row.line for row in table.rows] == list(range(1, 5575))


def rows_of(**counts: int) -> list[LabelledRow]:
    labels = [label for label, n in counts.items() for _ in range(n)]
    return [LabelledRow(f"text {n}", label, n) for n, label in enumerate(labels, start=1)]


def test_balance():
    rows = rows_of(ham=50, spam=7, other=20)
    kept, n_removed = balance(rows, seed=1)
    assert Counter(row.label for row in kept) == {"ham": 7, "spam": 7, "other": 7}
    assert n_removed == 77 - 21
    assert [row.line for row in kept] == sorted(row.line for row in kept)
    assert set(kept) <= set(rows)
    assert balance(rows, seed=1)[0] == kept
    assert balance(rows, seed=2)[0] != kept
    assert balance([], seed=1) == ([], 0)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_weights_make_the_classes_equal(counts):
    rows = rows_of(**{f"c{n}": count for n, count in enumerate(counts)})
    labels = sorted({row.label for row in rows})
    weights = class_weights(rows, labels)
    assert sum(weights[labels.index(row.label)] for row in rows) == pytest.approx(len(rows))
    assert [weight * n for weight, n in zip(weights, counts, strict=True)] == pytest.approx(
        [len(rows) / len(counts)] * len(counts)
    )


def test_weights_of_what_is_not_there():
    with pytest.raises(DataError, match=re.escape("there is no row with label 'c', so it has no weight. Add rows")):
        class_weights(rows_of(a=1, b=1), ["a", "b", "c"])
    with pytest.raises(DataError, match="label 'b' is not one of a"):
        class_weights(rows_of(a=1, b=1), ["a"])
