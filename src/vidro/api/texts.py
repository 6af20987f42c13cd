"""The texts behind a run: what it learned from and what was kept back, read anew from where its record says.

A text that is gone or has changed is an error, never another text. Not here: opening runs (`run`), reading files
(`data`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.core.errors import DataError, RunError
from vidro.core.files import read_json, sha256_bytes, write_json_atomic

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.data.instructions import InstructionRow
    from vidro.data.survey import TextSource


def kind_of(run: Run) -> str:
    """What the run was taught: "base" (texts), "classifier", "instruct", "preferred"."""
    return run.record.get("kind", "base")


def recorded_data(run: Run) -> dict[str, Any]:
    """What the record says about the training text. Raises DataError where it says nothing."""
    data = run.record.get("data")
    if data is None:
        what = "its record names no text" if run.path.is_dir() else "the run is not there any more"
        raise DataError(what, where=run.path)
    return data


def text_source(run: Run, *, cache_dir: Path) -> TextSource:
    """The text of a pretrained run, divided as it was for training. Raises DataError when it is gone or has changed."""
    from vidro.data.survey import open_source

    data = recorded_data(run)
    source = open_source(data["source"], run.settings.data, cache_dir=cache_dir)
    if source.source_sha256 != data["sha256"]:
        hint = "Put the old text back in its place."
        raise DataError("the training text has changed since", where=data["source"], hint=hint)
    return source


def training_texts(run: Run, *, cache_dir: Path) -> Iterator[str]:
    """The documents, or the texts of the rows, that the run itself learned from. Raises DataError."""
    if kind_of(run) == "base":
        return text_source(run, cache_dir=cache_dir).train_texts()
    return row_texts(run, rows_file(run))


def rows_file(run: Run) -> Path:
    """The file of rows of a fine-tuned run. Raises DataError when it is gone or has changed."""
    from vidro.core.files import sha256_file

    data = recorded_data(run)
    path = Path(data["source"])
    if not path.is_file() or sha256_file(path) != data["sha256"]:
        what = "the rows that it learned from are gone or have changed"
        raise DataError(what, where=data["source"], hint="Put the old file back in its place.")
    return path


def learned_questions(run: Run) -> tuple[InstructionRow, ...] | None:
    """The rows that the run, or the one that it was moved from by preferences, learned to answer from.

    None for a run that was not taught to answer. Raises VidroError when the rows are gone or have changed.
    """
    from vidro.data.instructions import read_instructions
    from vidro.train.instruct import own_parts

    if kind_of(run) == "preferred":
        taught = [each for each in run.ancestry()[:-1] if kind_of(each) == "instruct"]
        if not taught:
            raise RunError("no run before it learned from questions with answers", where=run.path)
        run = taught[-1]
    if kind_of(run) != "instruct":
        return None
    options = run.settings
    table = read_instructions(rows_file(run), skip_empty=options.rows.skip_empty)
    return own_parts(table, options.rows, seed=options.train.seed).train


def row_texts(run: Run, path: Path) -> Iterator[str]:
    """What stands in the rows of a fine-tuned run."""
    from vidro.data.instructions import read_instructions, read_preferences
    from vidro.data.labelled import read_labelled

    if kind_of(run) == "classifier":
        columns = {name: recorded_data(run)[name] for name in ("text_column", "label_column")}
        return (row.text for row in read_labelled(path, **columns, skip_empty=True).rows)
    if kind_of(run) == "preferred":
        pairs = read_preferences(path, skip_empty=True)
        return ("\n".join([*(m.text for m in row.prompt), row.chosen, row.rejected]) for row in pairs.rows)
    table = read_instructions(path, skip_empty=True)
    return ("\n".join(message.text for message in row.messages) for row in table.rows)


def own_words(run: Run, cache: Path) -> dict[str, int]:
    """How often the text of this run alone has each word; kept in `cache`. Raises DataError like `training_texts`."""
    from vidro.config.load import to_dict
    from vidro.infer.reading import count_words

    sha256, kind = recorded_data(run)["sha256"], kind_of(run)
    how = to_dict(run.settings.data) if kind == "base" else kind
    key = json.dumps([sha256, how], sort_keys=True)
    path = cache / "words" / f"{sha256_bytes(key.encode())[:32]}.json"
    if not path.is_file():
        write_json_atomic(path, count_words(run.training_texts(cache_dir=cache)))
    return read_json(path, error=DataError)
