"""Continuing another run's model: its figures on the new text and on its own text, before and after.

A model that goes on reading something else forgets; both numbers say how much was gained and what it cost.
Beforehand, `start_note` tries it out. Not here: loading the parent's model (`pretrain`).
"""

from __future__ import annotations

from pathlib import Path

from vidro.checkpoint.huggingface import from_hf_config, read_model
from vidro.checkpoint.run import OpenedRun, load_tokenizer, read_record
from vidro.config.load import from_dict, read_toml
from vidro.config.schema import ModelConfig, PretrainOptions
from vidro.core.errors import CheckpointError, UsageError, VidroError
from vidro.core.files import read_json
from vidro.data.prepare import Prepared, prepare
from vidro.data.survey import TextSource
from vidro.evals.subset import ValSubset
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.train import pilot
from vidro.train.defaults import inherited_shape
from vidro.train.machine import settled
from vidro.train.vocabulary import check_inherited

WINDOWS = 64  # enough for two digits, quick enough to be taken four times


def inherited(parent: OpenedRun, options: PretrainOptions) -> tuple[Tokenizer, ModelConfig]:
    """The tokenizer and the shape that a run takes over. Raises UsageError for settings that want others."""
    tokenizer = load_tokenizer(parent)
    config = from_hf_config(read_json(parent.model_dir / "config.json", error=CheckpointError))
    if config.labels:
        hint = "Start from the language model that it was made from."
        raise UsageError("--from starts from a language model, and this is a classifier", where=parent.path, hint=hint)
    shape = inherited_shape(options.model, config)
    if options.train.init != "family":
        raise UsageError("--from brings its own first weights", where="init", hint="Leave it out.")
    check_inherited(options.data, tokenizer)
    return tokenizer, shape


def start_note(text: TextSource, parent: OpenedRun, options: PretrainOptions) -> str:
    """How far a run's model comes with the text, tried out on it. Raises UsageError for a run that cannot go on."""
    tokenizer, _ = inherited(parent, options)
    model = read_model(parent.model_dir)
    train, val = pilot.samples(text)
    with settled(options.train.threads):
        found = pilot.continued(model, tokenizer, train, val)
    return (
        f"Starting --from {parent.path.name} reaches about {found.after:.2f} bits per byte: {found.before:.2f} as it "
        f"comes, {found.after:.2f} after {found.passes:.2g} passes over its text, tried just now."
    )


def score(model: Transformer, prepared: Prepared, tokenizer: Tokenizer) -> float:
    """Bits per byte on an even part of a prepared text's validation half."""
    subset = ValSubset(
        prepared.val.tokens,
        prepared.val.document_ends,
        tokenizer.token_byte_lengths(),
        eot_id=tokenizer.start_id,
        context_length=model.config.context_length,
        n_windows=WINDOWS,
        device=model.head.weight.device,
    )
    return subset.evaluate(model).bits_per_byte


def parents_text(parent: Path, tokenizer: Tokenizer, *, cache_dir: Path) -> tuple[Prepared | None, str | None]:
    """The text that the parent was trained on, if it is still there; otherwise why not, in one sentence."""
    try:
        data = read_record(parent).get("data")
        if data is None:
            return None, f"{parent} does not say what it was trained on; its own text is not measured."
        options = from_dict(PretrainOptions, read_toml(parent / "run.toml"), where=parent / "run.toml")
        prepared = prepare(data["source"], tokenizer, cache_dir=cache_dir, options=options.data)
    except VidroError as problem:
        return None, f"The parent's own text is not measured ({problem})."
    if prepared.source_sha256 != data["sha256"]:
        return None, f"The parent's text {data['source']} has changed since; it is not measured."
    return prepared, None


def measure(model: Transformer, own: Prepared, parents: Prepared | None, tokenizer: Tokenizer) -> dict[str, float]:
    """Bits per byte by text: the run's own and, where it is there, the parent's."""
    figures = {own.name: score(model, own, tokenizer)}
    if parents is not None and parents.source_sha256 != own.source_sha256:
        name = parents.name if parents.name != own.name else f"{parents.name} (the parent's)"
        figures[name] = score(model, parents, tokenizer)
    return figures


def sentence(before: dict[str, float], after: dict[str, float]) -> str:
    """What continuing did, in words.

    >>> sentence({"poe.txt": 2.4, "tales.txt": 1.5}, {"poe.txt": 1.9, "tales.txt": 1.7})
    'Bits per byte, before → after: poe.txt 2.400 → 1.900, tales.txt 1.500 → 1.700.'
    """
    parts = (f"{name} {value:.3f} → {after[name]:.3f}" for name, value in before.items() if name in after)
    return f"Bits per byte, before → after: {', '.join(parts)}."
