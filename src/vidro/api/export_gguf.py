"""A run as a folder for llama.cpp and Ollama: one GGUF file and a Modelfile.

The file is opened again by llama.cpp, in another process, before the folder takes its place: ids, the chat template,
and the numbers have to be those of the run.

Not here: what is asked (`export_gguf_sample`), the file (`checkpoint/gguf/write`), the comparison
(`checkpoint/gguf/verify`), Ollama's language (`checkpoint/gguf/modelfile`), the place (`checkpoint/export_place`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vidro.api.export import Check, ExportOptions, ExportReport
from vidro.checkpoint.export_place import check_place, exported_directory, file_sizes, write_mark
from vidro.core.files import write_text_atomic

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.checkpoint.gguf.verify import Sample
    from vidro.config.schema import ModelConfig
    from vidro.text.conversation import PromptStyle


def export(run: Run, out: Path, options: ExportOptions, say: Callable[[str], None]) -> ExportReport:
    """Write `run` to the folder `out` and compare.

    Raises UsageError for a place that is taken, ModelError and TokenizerError for what llama.cpp cannot express,
    ExportError for a difference; then nothing is left at `out`.
    """
    from vidro.checkpoint.gguf.modelfile import NAME, OllamaFacts, modelfile
    from vidro.checkpoint.gguf.verify import reopen
    from vidro.checkpoint.gguf.write import import_gguf
    from vidro.checkpoint.verify_hf import agreed

    check_place(out, overwrite=options.overwrite)
    import_gguf()
    name, kind, style = plain_name(run.path.name), options.quantize or "f32", run.style
    with exported_directory(out, overwrite=options.overwrite) as folder:
        file = folder / f"{name}.gguf"
        config, notes = write(run, file, kind)
        facts = OllamaFacts(file.name, style, stop_texts(run), config.context_length, put_first(run))
        text, more = modelfile(facts, name)
        write_text_atomic(folder / NAME, text)
        say("Opening it again in another process, to compare.")
        sample, left_out = what_to_compare(run, kind)
        answer = agreed(reopen(file, sample))
        write_mark(
            folder, format="gguf", quantize=kind, run=run.path.name, step=run.opened.step, opened_by=answer.by,
            checks=dict(answer.checks),
        )  # fmt: skip
        files = file_sizes(folder)
    notes += more + left_out
    if not answer.by.startswith("llama.cpp"):
        how = "pip install 'vidro[gguf]', then export again"
        notes.append(f"Not checked: ids, chat template and numbers in llama.cpp, which is not installed here: {how}")
    return ExportReport(
        out, "gguf", files, [Check(f"{what}, {answer.by}", found) for what, found in answer.checks], notes
    )


def plain_name(name: str) -> str:
    """A run's name as a file's and an Ollama model's.

    >>> plain_name("Dom Casmurro (2)")
    'Dom-Casmurro-2'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"


def stop_texts(run: Run) -> list[str]:
    """Texts at which Ollama is to stop: the token that ends a text or an answer, and the style's own."""
    names = {number: name for name, number in run.tokenizer.special_ids.items()}
    ends = [names.get(run.tokenizer.eot_id)] if run.style is None else [run.style.end_token, *run.style.stop_strings]
    return [end for end in ends if end is not None]


def put_first(run: Run) -> str:
    """The name of the token that readers of the file put before every text; "" where they put none."""
    names = {number: name for name, number in run.tokenizer.special_ids.items()}
    return names[run.tokenizer.start_id] if run.tokenizer.puts_start_first else ""


def write(run: Run, file: Path, kind: str) -> tuple[ModelConfig, list[str]]:
    """Write the GGUF file, tensor by tensor from the run's own file; the model's shape, and remarks."""
    from vidro.checkpoint.gguf.vocabulary import vocabulary
    from vidro.checkpoint.gguf.write import check_model, write_gguf
    from vidro.checkpoint.huggingface import CONFIG, from_hf_config
    from vidro.checkpoint.names import from_foreign_lazily
    from vidro.checkpoint.weights import open_weights
    from vidro.core.errors import CheckpointError
    from vidro.core.files import read_json

    place, style = run.opened.model_dir, run.style
    config = from_hf_config(read_json(place / CONFIG, error=CheckpointError), where=place / CONFIG)
    check_model(config, where=run.path)
    spelled = [] if style is None else spelled_names(style, run)
    words = vocabulary(
        run.tokenizer,
        config.vocab_size,
        end_token=None if style is None else style.end_token,
        chat_template=None if style is None else style.jinja,
        spelled=spelled,
    )
    notes = list(words.notes)
    if style is not None and spelled:
        notes.append(f"The style {style.name} writes {', '.join(spelled)} as text: in the export they are no tokens.")
    state = from_foreign_lazily(open_weights(place), config, where=place)
    return config, notes + write_gguf(file, config, state, words, kind, run.path.name)


def spelled_names(style: PromptStyle, run: Run) -> list[str]:
    """See `export_sample.spelled_names`; here so that the command's help need not import torch."""
    from vidro.api.export_sample import spelled_names

    return spelled_names(style, run.tokenizer)


def what_to_compare(run: Run, kind: str) -> tuple[Sample, list[str]]:
    """See `export_gguf_sample.sample_of`; here so that the command's help need not import torch."""
    from vidro.api.export_gguf_sample import sample_of

    return sample_of(run, kind)
