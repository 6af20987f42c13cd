"""Ollama's `Modelfile` beside a GGUF file: which file, how a conversation becomes text, where to stop, how far to look.

    ollama create NAME -f Modelfile

The template is in Go's template language and writes what the run's style writes. Without Ollama it cannot be run here;
the tests run it with a small reader of the same constructs (`range`, `if eq`, `else`), and the styles are compared by
what comes out. Not here: the template inside the GGUF file, which is Jinja and which llama.cpp reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vidro.core.errors import ExportError
from vidro.text.conversation import PromptStyle
from vidro.text.styles import TurnStyle

NAME = "Modelfile"
PLAIN = "{{ .Prompt }}"
"""What Ollama writes when it is told nothing: the prompt as it is."""


@dataclass(frozen=True)
class OllamaFacts:
    """What a Modelfile says: the file beside it, the run's style, where to stop, the model's context in tokens.

    `begins`: the token that Ollama itself puts before every text, since the file asks for it.
    """

    file: str
    style: PromptStyle | None
    stops: Sequence[str]
    context_length: int
    begins: str = ""


def modelfile(facts: OllamaFacts, name: str) -> tuple[str, list[str]]:
    """The text of the Modelfile, and remarks on what Ollama cannot be told."""
    template, notes = go_template(facts.style, facts.begins)
    lines = [
        f"# ollama create {name} -f Modelfile",
        f"# ollama run {name}",
        f"FROM ./{facts.file}",
        *([] if template is None else [f'TEMPLATE """{template}"""']),
        *(f"PARAMETER stop {quoted(stop)}" for stop in facts.stops),
        f"PARAMETER num_ctx {facts.context_length}",
    ]
    return "\n".join(lines) + "\n", notes


def quoted(text: str) -> str:
    """A value in a Modelfile, which knows no escapes. Raises ExportError for one that cannot be written."""
    if '"' in text or "\n" in text:
        raise ExportError(f"Ollama's Modelfile cannot hold the stop text {text!r}", hint="It knows no escapes.")
    return f'"{text}"'


def go_template(style: PromptStyle | None, begins: str = "") -> tuple[str | None, list[str]]:
    """A style in Go's template language, and remarks; None for a template that cannot be translated.

    A start that Ollama puts there itself (`begins`) is left out: it would be read twice.

    >>> go_template(None)
    ('{{ .Prompt }}', [])
    """
    if style is None:
        return PLAIN, []
    if not isinstance(style, TurnStyle):
        what = f"The style {style.name} is a Jinja template, which Ollama's language cannot be translated from"
        return None, [f"{what}: the Modelfile has no TEMPLATE. Write one before ollama create; llama.cpp needs none."]
    notes = []
    if style.strips:
        notes.append(f"The style {style.name} cuts blanks around a message, which Ollama's templates cannot do.")
    if style.input_frame is not None:
        frame = style.input_frame.strip()
        notes.append(
            f'Ollama has no place for an input of its own: write it into the message, after the line "{frame}".'
        )
    turns = {
        "system": (style.system[0], style.system[1]),
        "user": (style.user[0], style.user[1]),
        "assistant": (style.answer[0], style.end_token + style.answer[1]),
    }
    said = "".join(
        f'{{{{ {"if" if role == "system" else "else if"} eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{behind}'
        for role, (before, behind) in turns.items()
    )
    start = style.start.removeprefix(begins)
    return f"{start}{{{{ range .Messages }}}}{said}{{{{ end }}}}{{{{ end }}}}{style.answer[0]}", notes
