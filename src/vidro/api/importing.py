"""Other people's models as runs: read, written tensor by tensor, re-opened by a second process, compared, recorded.

    SOURCE ─ what is it (`foreign/source`) ─ hub? fetched (`foreign/hub`) ─ reader ─ a folder beside the run's place
           ─ another process compares it with the source (`import_check`) ─ vidro.json ─ renamed into place

Before all of that holds there is no run, and an earlier one that --overwrite names is still there.
Not here: the readers (`checkpoint/foreign`), the command (`cli/import_`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.config.load import build
from vidro.config.schema import Settings, setting
from vidro.core.errors import TokenizerError, UsageError, did_you_mean

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.checkpoint.foreign.model import ForeignModel
    from vidro.checkpoint.foreign.source import Source

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ImportOptions(Settings):
    """What may be said about an import beside its source."""

    out: str | None = setting(None, "Where to put the run; otherwise the first free runs/NAME-N.")
    tokenizer: str | None = setting(None, "A tokenizer of its own, where the source has none: a file or a folder.")
    style: str | None = setting(
        None, "How it was taught to converse, where no template says so: chatml, alpaca and others."
    )
    from_pickle: bool = setting(False, "Open a file of torch.save, in a process that may do nothing else.")
    n_heads: int | None = setting(None, "With --from-pickle: attention heads, where the file does not say.", ge=1)
    base: str | None = setting(None, "Of an adapter: the folder of the model that it was trained beside.")
    pad_to: int | None = setting(
        None, "Of a classifier: pad every text to this many tokens and read the last place, as in the book.",
        ge=1, unit="tokens",
    )  # fmt: skip
    overwrite: bool = setting(False, "Replace the run that --out names.")


@dataclass(frozen=True)
class Place:
    """Where a run is to be: `out` itself, or the first free name under `runs_dir`."""

    runs_dir: Path
    out: Path | None
    overwrite: bool


def import_model(
    source: str | Path, *, runs_dir: str | Path = "runs", cache_dir: Path | None = None, say: Say | None = None,
    **keywords: Any,
) -> Run:  # fmt: skip
    """The model at `source` as a run: a directory, a file, or a name on the Hugging Face hub. Keywords: ImportOptions.

    ``run.record["imported"]`` says what was verified with what. Raises UsageError for an unknown keyword or an option
    without use, CheckpointError and ModelError for what cannot be read or computed, StorageError when the disk is full.
    """
    from vidro.api.places import default_cache_dir
    from vidro.api.run import Run, to_stderr

    if unknown := keywords.keys() - ImportOptions.__dataclass_fields__.keys():
        name = sorted(unknown)[0]
        raise UsageError(f"there is no setting {name!r}", hint=did_you_mean(name, ImportOptions.__dataclass_fields__))
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in keywords.items() if v is not None}
    options = build(ImportOptions, plain)
    place = Place(Path(runs_dir), None if options.out is None else Path(options.out), options.overwrite)
    said = to_stderr if say is None else say
    cache = default_cache_dir() if cache_dir is None else cache_dir
    return Run(_carry_out(str(source), options, place, cache, said), say=said)


def _carry_out(name: str, options: ImportOptions, place: Place, cache_dir: Path, say: Say) -> Path:
    from vidro.checkpoint.foreign import source as sources
    from vidro.checkpoint.run import check_place

    if options.overwrite and place.out is None:
        raise UsageError("--overwrite replaces the run that --out names", hint="Say --out too.")
    if place.out is not None:
        check_place(place.out, overwrite=place.overwrite, resumable=False)
    path, origin = _located(name, say)
    source = sources.Source(
        path=str(path.absolute()), kind=sources.recognise(path), tokenizer=options.tokenizer,
        from_pickle=options.from_pickle, n_heads=options.n_heads, base=options.base, cache_dir=str(cache_dir),
    )  # fmt: skip
    model = sources.read(source, say)
    if model.tokenizer is None:
        hint = "Name one: --tokenizer FILE, a tokenizer.json or the folder it lies in."
        raise TokenizerError(f"{model.form} without a tokenizer", where=name, hint=hint)
    return _write(model, source, {"source": name, **origin}, options, place, say)


def _located(name: str, say: Say) -> tuple[Path, dict[str, Any]]:
    """Where the model lies: a path that is there, else a name on the hub, which is fetched."""
    from vidro.checkpoint.foreign.source import is_hub_name
    from vidro.core.errors import CheckpointError

    path = Path(name).expanduser()
    if path.exists():
        return path, {}
    if not is_hub_name(name):
        hint = "Name a directory, a file, or a model on the hub such as gpt2."
        raise CheckpointError("there is no such file or directory", where=name, hint=hint)
    from vidro.checkpoint.foreign.hub import fetch

    fetched = fetch(name, say)
    return fetched.path, {"hub": fetched.repository, "revision": fetched.revision}


def _write(
    model: ForeignModel, source: Source, origin: dict[str, Any], options: ImportOptions, place: Place, say: Say
) -> Path:
    """Everything into a folder beside the run's place, which is renamed when it is whole and proved."""
    from vidro.api.import_check import compare
    from vidro.checkpoint.foreign.source import fingerprints
    from vidro.checkpoint.foreign.write import write_foreign
    from vidro.checkpoint.run import write_record
    from vidro.core.files import storage_errors

    style, template, notes = _style(model, options.style)
    reader, more = _reader(model, options.pad_to)
    parent = place.runs_dir if place.out is None else place.out.parent
    beside = parent / f".import-{os.getpid()}.part"
    with storage_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(beside, ignore_errors=True)  # left by a killed process that had the same number
        beside.mkdir()
        try:
            dtype = write_foreign(beside, model, template=template, where=source.path)
            notes = [*model.notes, *notes, *more, *_precision_note(dtype)]
            facts = {**origin, "form": model.form, "files": fingerprints(source), "notes": notes}
            record = _record(model, style, facts) | reader
            _say_ends(beside, model, record)
            say("Comparing with the source, in another process …")
            checks, missing = compare(beside, source)
            notes += missing
            record["imported"] |= {"checks": [{"what": what, "result": result} for what, result in checks]}
            write_record(beside, record)
            return _put(beside, origin["source"], place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _say_ends(folder: Path, model: ForeignModel, record: dict[str, Any]) -> None:
    """Where the model answers, what ends an answer belongs into generation_config.json too."""
    from vidro.checkpoint.huggingface import GENERATION, generation_settings
    from vidro.core.files import write_json_atomic
    from vidro.infer.answering import style_of_run

    assert model.tokenizer is not None
    style = style_of_run(folder, record, model.tokenizer)
    if style is not None:
        write_json_atomic(folder / GENERATION, generation_settings(model.tokenizer, style.end_token))


def _style(model: ForeignModel, said: str | None) -> tuple[str | None, str | None, list[str]]:
    """(the style's name for the record, the template to keep, what to say)."""
    from vidro.text.known_template import ITSELF, recognise
    from vidro.text.styles import get_style

    assert model.tokenizer is not None
    if model.config.labels:
        if said is not None:
            raise UsageError("a classifier does not converse", where="style", hint="Leave it out.")
        return None, None, []
    if said is not None:
        style = get_style(said, model.tokenizer)
        return said if ":" not in said else ITSELF, style.jinja, [f"conversations: the style {said}, as you said"]
    if model.chat_template is None:
        return None, None, []
    name, notes = recognise(model.chat_template, model.tokenizer)
    if name is None:
        return None, None, notes
    return name, model.chat_template if name == ITSELF else get_style(name, model.tokenizer).jinja, notes


def _reader(model: ForeignModel, pad_to: int | None) -> tuple[dict[str, Any], list[str]]:
    """(how a classifier reads texts, for the record; what to say)."""
    assert model.tokenizer is not None
    most, starts = model.config.context_length, model.tokenizer.puts_start_first
    if not model.config.labels:
        if pad_to is not None:
            raise UsageError("only a classifier reads texts of one length", where="pad-to", hint="Leave it out.")
        return {}, []
    if pad_to is None:
        of_the_book = "a text is read at its last token; the book reads the last place, padding included (--pad-to)"
        notes = [of_the_book] if "of the book" in model.form else []
        return {"reader": {"max_tokens": most, "pad_to": None, "starts": starts}}, notes
    if pad_to > most:
        raise UsageError(f"the model sees {most:,} tokens only", where="pad-to", hint="Say at most that many.")
    told = f"every text is padded to {pad_to:,} tokens and read at the last place, as in the book"
    return {"reader": {"max_tokens": pad_to, "pad_to": pad_to, "starts": starts}}, [told]


def _record(model: ForeignModel, style: str | None, imported: dict[str, Any]) -> dict[str, Any]:
    from vidro.train.facts import made_of

    assert model.tokenizer is not None
    return {
        "status": "imported",
        "step": 0,
        "last_step": 0,
        "kind": "classifier" if model.config.labels else "base" if style is None else "instruct",
        "parent": None,
        "prompt_style": style,
        **made_of(model.tokenizer, model.config),
        "results": {},
        "imported": imported,
    }


def _precision_note(dtype: str) -> list[str]:
    return [] if dtype == "float32" else [f"its numbers are kept as {dtype} and computed with as float32"]


def _put(beside: Path, name: str, place: Place) -> Path:
    """Rename the folder onto the run's place."""
    from vidro.checkpoint.run import create_run
    from vidro.core.files import sync_directory

    path = create_run(place.runs_dir, _stem(name), out=place.out, overwrite=place.overwrite)
    path.rmdir()
    beside.replace(path)
    sync_directory(path.parent)
    return path


def _stem(name: str) -> str:
    """What the run is called after: the last part of a path or of a hub name, without a revision."""
    path = Path(name)
    last = (path.resolve().name if path.exists() else name.split("@")[0].split("/")[-1]) or "model"
    return last.replace(".", "-") if path.is_dir() or not path.exists() else last
