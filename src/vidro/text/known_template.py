"""Which prompt style a model's own chat template is: one of ours by name, the template itself, or none.

A template is compared by what it writes, never by its source: a style of ours is meant where both put the same
conversations into the same segments. Not here: running templates (`jinja_style`), the styles (`styles`).
"""

from __future__ import annotations

from vidro.core.errors import VidroError
from vidro.text.conversation import Message, PromptStyle
from vidro.text.jinja_style import JinjaStyle, render_prompt
from vidro.text.styles import get_style, styles_for
from vidro.text.tokenizer import Tokenizer

ITSELF = "template"
"""The name of a style that is the model's own template."""

_QUESTION = [Message("user", "What is a cat?")]
_TALK = [*_QUESTION, Message("assistant", "A pet."), Message("user", "And a dog?")]
_TALKS = (_TALK, [Message("system", "Be brief."), *_TALK])


def recognise(source: str, tokenizer: Tokenizer) -> tuple[str | None, list[str]]:
    """(a name in `styles.STYLES`, `ITSELF` or None, what to say about it).

    `ITSELF`: no style of ours writes the same, and the template can be used and learned from. None: it cannot, and no
    style of ours writes its first turn the same.
    """
    try:
        own = JinjaStyle(source, name="its chat template", tokenizer=tokenizer)
    except VidroError as problem:
        return _by_first_turn(source, tokenizer, problem)
    for name in styles_for(tokenizer):
        if _writes_the_same(get_style(name, tokenizer), own):
            return name, [f"conversations: the style {name}, which writes what its template writes"]
    try:
        for talk in _TALKS:
            own.segments([*talk, Message("assistant", "A pet too.")])
    except VidroError as problem:
        return _by_first_turn(source, tokenizer, problem)
    return ITSELF, ["conversations: as its own template writes them"]


def _writes_the_same(style: PromptStyle, own: PromptStyle) -> bool:
    try:
        for talk in _TALKS:
            whole = [*talk, Message("assistant", "A pet too.")]
            if style.prompt(talk) != own.prompt(talk) or style.end_token != own.end_token:
                return False
            if _learned(style, whole) != _learned(own, whole):
                return False
    except VidroError:
        return False
    return True


def _learned(style: PromptStyle, talk: list[Message]) -> list[tuple[str, bool]]:
    """All segments; blanks behind the very last end token, which some templates leave out, do not count."""
    pieces = [(piece.text, piece.learned) for piece in style.segments(talk)]
    return pieces[:-1] if pieces and not pieces[-1][0].strip() else pieces


def _by_first_turn(source: str, tokenizer: Tokenizer, problem: VidroError) -> tuple[str | None, list[str]]:
    """A template that rewrites earlier turns cannot be taught, but a style that begins alike can speak for it."""
    refused = f"its chat template cannot be used as it is ({problem.what})"
    for name in styles_for(tokenizer):
        if name in ("alpaca", "phi3"):
            continue
        wanted = "".join(piece.text for piece in get_style(name, tokenizer).prompt(_QUESTION))
        if render_prompt(source, _QUESTION, tokenizer) == wanted:
            return name, [f"{refused}; conversations: the style {name}, which begins them the same"]
    return None, [f"{refused}; name a style with --style to chat with it"]


def check_style(name: str, tokenizer: Tokenizer) -> str:
    """The name of a style of ours that this tokenizer can write. Raises UsageError, TokenizerError."""
    get_style(name, tokenizer)
    return name
