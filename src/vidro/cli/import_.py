"""``vidro import``: a model made elsewhere becomes a run."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from vidro.api.importing import ImportOptions
from vidro.cli.apps import make_app
from vidro.cli.options import Json, takes

app = make_app(
    "import",
    "Make a run of a model that was made elsewhere, and compare the two before saying so.",
    usage="vidro import SOURCE",
    examples=(
        "vidro import gpt2                          from the Hugging Face hub",
        "vidro import Qwen/Qwen3-0.6B",
        "vidro import downloads/my-llama/           a directory that save_pretrained wrote",
        "vidro import model.gguf",
        "vidro import model.pth --from-pickle --tokenizer gpt2/",
    ),
)

SOURCE_HELP = "A directory, a file (GGUF, llama2.c, .pth), or a name on the hub: gpt2, user/name, user/name@revision."
Source = Annotated[str, Parameter(help=SOURCE_HELP)]


@app.default
@takes(ImportOptions)
def import_(source: Source, /, *, json: Json = False, **options: Any) -> int:
    """Import; what was verified on stderr, and on stdout the run directory (or one JSON object)."""
    from vidro.api.importing import import_model
    from vidro.cli.places import cache_dir
    from vidro.cli.terminal import note, print_json

    run = import_model(source, cache_dir=cache_dir(), say=note, **options)
    found = run.record["imported"]
    if json:
        print_json({"run": run.path, "kind": run.record["kind"], "prompt_style": run.record["prompt_style"], **found})
        return 0
    for line in report(run.record):
        note(line)
    print(run.path, flush=True)
    return 0


def report(record: dict[str, Any]) -> list[str]:
    """What came in and what was verified with what, for people.

    >>> model = {"family": "gpt2", "n_parameters": 124_439_808, "context_length": 1024}
    >>> imported = {"form": "a Hugging Face directory", "notes": [], "checks": [{"what": "ids", "result": "equal"}]}
    >>> report({"kind": "base", "model": model, "imported": imported})
    ['gpt2, 124M parameters, context 1,024 tokens, from a Hugging Face directory.', '  verified: ids: equal']
    """
    from vidro.api.words import human_count

    model, found = record["model"], record["imported"]
    size = f"{human_count(model['n_parameters'])} parameters, context {model['context_length']:,} tokens"
    lines = [f"{model['family']}, {size}, from {found['form']}."]
    lines += [f"  verified: {each['what']}: {each['result']}" for each in found["checks"]]
    return lines + [f"  note: {each}" for each in found["notes"]]
