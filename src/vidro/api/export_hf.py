"""A run as a Hugging Face directory: for Transformers, vLLM, PEFT and all else that reads one.

A run's root nearly is one already. An export is that without the records of training, with a model card, and with
weights in pieces where they are large. It is opened again in another process and compared before it takes its place.

Not here: tensors and config.json (`checkpoint/huggingface`), the comparison (`checkpoint/verify_hf`), the card's words
(`checkpoint/model_card`), the upload (`checkpoint/push`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.api.export import Check, ExportOptions, ExportReport
from vidro.checkpoint.export_place import check_place, exported_directory, file_sizes, write_mark
from vidro.core.errors import CheckpointError, ModelError
from vidro.core.files import read_json, write_json_atomic, write_text_atomic

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.checkpoint.verify_hf import Sample
    from vidro.model.transformer import Transformer

PIECE_BYTES = 5_000_000_000
"""Weights larger than this are cut into files of at most this size, as the hub likes them."""
TOKENIZER, TOKENIZER_CONFIG, CARD = "tokenizer.json", "tokenizer_config.json", "README.md"


def export(
    run: Run,
    out: Path,
    options: ExportOptions,
    say: Callable[[str], None],
    *,
    piece_bytes: int = PIECE_BYTES,
) -> ExportReport:
    """Write `run` to the folder `out`, compare, and upload it where that is asked for.

    Raises UsageError for a place that is taken, ModelError for what Transformers cannot compute, ExportError for a
    difference; then nothing is left at `out`.
    """
    from vidro.checkpoint.push import check_push, push
    from vidro.checkpoint.verify_hf import agreed, reopen

    check_place(out, overwrite=options.overwrite)
    if options.push is not None:
        check_push(options.push)
    said = named(options)
    check_expressible(run)
    with exported_directory(out, overwrite=options.overwrite) as folder:
        model, notes = write(run, folder, piece_bytes)
        sample, more = what_to_compare(run, model)
        del model
        write_text_atomic(folder / CARD, card(run, options.push or out.resolve().name, said))
        say("Opening it again in another process, to compare.")
        answer = agreed(reopen(folder, sample))
        facts = {"format": "hf", "run": run.path.name, "step": run.opened.step, "opened_by": answer.by}
        write_mark(folder, **facts, checks=dict(answer.checks))
        files = file_sizes(folder)
    notes += more
    if not answer.by.startswith("transformers"):
        notes.append("Not checked with Transformers, which is not installed here: pip install 'vidro[hf]'")
    if options.push is not None:
        notes.append(f"Uploaded: {push(out, options.push, say)}")
    checks = [Check(f"{what}, {answer.by}", result) for what, result in answer.checks]
    return ExportReport(out, "hf", files, checks, notes)


def check_expressible(run: Run) -> None:
    """Raise ModelError for a run that no config.json can describe, or that Transformers would not open."""
    config = read_config(run)
    if config.family == "llama" and config.d_model % config.n_heads:
        what = (
            f"a width of {config.d_model} is not a multiple of {config.n_heads} heads, which Transformers asks of llama"
        )
        raise ModelError(what, where=run.path)
    if run.record.get("reader", {}).get("pad_to") is not None:
        what = (
            "this classifier reads texts padded to one length (finetune --book, import --pad-to), "
            "which Transformers does not do"
        )
        raise ModelError(what, where=run.path, hint="Train it without --book.")


def write(run: Run, folder: Path, piece_bytes: int) -> tuple[Transformer, list[str]]:
    """Write all but the card; the model in fp32 on the CPU, and remarks."""
    from vidro.api.export_sample import spelled_names, starts
    from vidro.checkpoint.huggingface import read_model, write_model
    from vidro.infer.answering import TEMPLATE

    model = read_model(run.opened.model_dir, dtype=None).eval()  # numbers of the size that the run keeps
    tokenizer, style, notes = run.tokenizer, run.style, []
    end_token = None if style is None else style.end_token
    write_model(folder, model, tokenizer, piece_bytes=piece_bytes, end_token=end_token)
    settings = read_json(folder / TOKENIZER_CONFIG, error=CheckpointError)
    write_json_atomic(folder / TOKENIZER_CONFIG, settings | tokenizer_settings(run, model, settings))
    if tokenizer.puts_start_first and not starts(run):
        let_stand_alone(folder / TOKENIZER)
    if style is not None:
        write_text_atomic(folder / TEMPLATE, style.jinja)
        if spelled := spelled_names(style, tokenizer):
            spell(folder / TOKENIZER, spelled)
            notes.append(
                f"The style {style.name} writes {', '.join(spelled)} as text: in the export they are no tokens."
            )
        if style.stop_strings:
            stops = ", ".join(map(repr, style.stop_strings))
            notes.append(f"Vidro also stops at {stops}; elsewhere say so (generate: stop_strings).")
    return model.float(), notes


def tokenizer_settings(run: Run, model: Transformer, settings: dict[str, Any]) -> dict[str, Any]:
    """What others have to be told beside what every run's tokenizer_config.json says."""
    most = run.record.get("reader", {}).get("max_tokens", model.config.context_length)
    told: dict[str, Any] = {"model_max_length": most}
    if model.config.labels and "pad_token" not in settings:
        told["pad_token"] = settings["eos_token"]  # a batch needs one; nothing is generated that could end too early
    return told


def spell(path: Path, names: list[str]) -> None:
    """Take `names` out of a tokenizer.json's added tokens, so that others too read their letters."""
    spec = read_json(path, error=CheckpointError)
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] not in names]
    write_json_atomic(path, spec)


def let_stand_alone(path: Path) -> None:
    """Take out of a tokenizer.json what it puts before every text, which this classifier never read."""
    spec = read_json(path, error=CheckpointError)
    write_json_atomic(path, spec | {"post_processor": None})


def what_to_compare(run: Run, model: Transformer) -> tuple[Sample, list[str]]:
    """See `export_sample.sample_of`; here so that the command's help need not import torch."""
    from vidro.api.export_sample import sample_of

    return sample_of(run, model)


def named(options: ExportOptions) -> tuple[str | None, tuple[str, ...]]:
    """Licence and languages that were said, as the hub writes them. Raises UsageError for others."""
    from vidro.checkpoint.model_card import languages_of, licence_of

    return licence_of(options.license), languages_of(options.language)


def card(run: Run, name: str, said: tuple[str | None, tuple[str, ...]] = (None, ())) -> str:
    """The model card, from the records of the run and of those that it was made from; `said`: see `named`."""
    from vidro.checkpoint.model_card import CardFacts, model_card

    facts = CardFacts(
        name=name,
        records=[each.record for each in run.ancestry()],
        config=read_config(run),
        tokenizer=run.tokenizer,
        step=run.opened.step,
        style=run.style,
        scored=run.opened.step == run.record.get("step"),
        license=said[0],
        languages=said[1],
    )
    return model_card(facts)


def read_config(run: Run) -> Any:
    """The shape of the model, without reading its weights."""
    from vidro.checkpoint.huggingface import CONFIG, from_hf_config

    place = run.opened.model_dir / CONFIG
    return from_hf_config(read_json(place, error=CheckpointError), where=place)
