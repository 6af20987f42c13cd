"""Ollama's Modelfile: its template writes what the style writes.

Ollama is not here to run it; a reader of the constructs that are used (range, if eq, else if, fields) stands in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from vidro.checkpoint.gguf.modelfile import OllamaFacts, go_template, modelfile
from vidro.core.errors import ExportError
from vidro.text.conversation import Message
from vidro.text.jinja_style import JinjaStyle
from vidro.text.styles import STYLES

TALKS = (
    [Message("user", "What is the fox?")],
    [Message("system", "Be short."), Message("user", "Olá, {{ .Role }}!\n\n1, 2")],
    [Message("system", "S"), Message("user", "a"), Message("assistant", "b"), Message("user", "c")],
)


def go(template: str, data: dict[str, Any]) -> str:
    """What Go's text/template writes."""
    return "".join(_run(iter(re.split(r"(\{\{ .*? \}\})", template)), data, data, True)[0])


def _run(parts: Iterator[str], data: Any, root: Any, lives: bool) -> tuple[list[str], str]:
    """Text up to an `end` or `else` of this level, and which of them it was."""
    written: list[str] = []
    for part in parts:
        action = part[3:-3] if part.startswith("{{ ") else None
        if action is None:
            written += [part] if lives else []
        elif action == "end" or action.startswith("else"):
            return written, action
        elif action.startswith("."):
            written += [data[action[1:]]] if lives else []
        elif action == "range .Messages":
            body = list(_body(parts))
            for message in root["Messages"] if lives else ():
                written += _run(iter([*body, "{{ end }}"]), message, root, lives)[0]
        elif action.startswith("if "):
            written += _branches(parts, action, data, root, lives)
        else:
            raise AssertionError(f"not a construct that is known here: {action}")
    return written, ""


def _branches(parts: Iterator[str], action: str, data: Any, root: Any, lives: bool) -> list[str]:
    written: list[str] = []
    done = False
    while action != "end":
        found = re.fullmatch(r'(?:else )?if eq \.(\w+) "(\w+)"', action)
        assert found is not None, action
        takes = lives and not done and data[found[1]] == found[2]
        done = done or takes
        text, action = _run(parts, data, root, takes)
        written += text
    return written


def _body(parts: Iterator[str]) -> Iterator[str]:
    depth = 0
    for part in parts:
        depth += part.startswith(("{{ if", "{{ range"))
        if part == "{{ end }}":
            if depth == 0:
                return
            depth -= 1
        yield part


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("talk", TALKS, ids=["question", "system", "turns"])
def test_the_template_writes_what_the_style_writes(name: str, talk: list[Message]) -> None:
    template, _ = go_template(STYLES[name])
    assert template is not None
    messages = [{"Role": message.role, "Content": message.content} for message in talk]
    expected = "".join(segment.text for segment in STYLES[name].prompt(talk))
    assert go(template, {"Messages": messages}) == expected


def test_what_ollama_puts_first_itself_is_not_written_twice() -> None:
    told, _ = go_template(STYLES["llama3"], "<|begin_of_text|>")
    whole, _ = go_template(STYLES["llama3"])
    assert f"<|begin_of_text|>{told}" == whole
    assert go_template(STYLES["chatml"], "<|begin_of_text|>") == go_template(STYLES["chatml"])


def test_what_ollama_cannot_do_is_said() -> None:
    assert "cuts blanks" in go_template(STYLES["llama3"])[1][0]
    assert '"### Input:"' in go_template(STYLES["alpaca"])[1][0]
    assert go_template(STYLES["chatml"])[1] == []
    source = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    template, notes = go_template(JinjaStyle(source, name="jinja:mine"))
    assert template is None
    assert "the Modelfile has no TEMPLATE" in notes[0]


def test_a_modelfile() -> None:
    facts = OllamaFacts("a.gguf", None, ["<|endoftext|>"], 256)
    assert modelfile(facts, "a")[0] == (
        "# ollama create a -f Modelfile\n# ollama run a\nFROM ./a.gguf\n"
        'TEMPLATE """{{ .Prompt }}"""\nPARAMETER stop "<|endoftext|>"\nPARAMETER num_ctx 256\n'
    )
    with pytest.raises(ExportError, match="cannot hold the stop text"):
        modelfile(OllamaFacts("a.gguf", None, ['"'], 256), "a")
