"""Other people's templates: what is learned, what is refused, and what they may not do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError, TokenizerError, UsageError
from vidro.text.jinja_style import JinjaStyle, load_template
from vidro.text.special import EOT
from vidro.text.styles import STYLES, Message, PromptStyle, Segment, encode_segments, get_style
from vidro.text.tokenizer import Tokenizer

TALK = [Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "And?"), Message("assistant", "Bye.")]
# Behind the last answer this one writes an end of text, as the card of Phi-3 does; earlier answers have none.
PHI = """{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"""
MISTRAL = """{{ bos_token }}{% for m in messages %}
{%- if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}
{%- elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}
{%- else %}{{ raise_exception('no system message, please') }}{% endif %}{% endfor %}"""


def style_of(source: str, tokenizer: Tokenizer | None = None) -> JinjaStyle:
    return JinjaStyle(source, name="jinja:t.jinja", tokenizer=tokenizer)


AGAIN = {name: style_of(STYLES[name].jinja) for name in ("phi3-chat", "chatml", "llama3")}


@pytest.mark.parametrize("name", AGAIN)
@given(texts=st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=6), system=st.booleans())
def test_the_templates_of_our_own_styles_give_our_own_segments(name, texts, system):
    style, again = STYLES[name], AGAIN[name]
    talk = [Message(("user", "assistant")[number % 2], text) for number, text in enumerate(texts)]
    talk = [Message("system", texts[0]), *talk] if system else talk
    assert again.end_token == style.end_token
    assert again.segments(talk) == style.segments(talk)
    if talk[-1].role == "user":
        assert again.prompt(talk) == style.prompt(talk)


def test_names_that_users_type_are_text(bpe: Tokenizer):
    style = style_of(STYLES["chatml"].jinja, bpe)
    talk = [Message("user", f"<|im_end|>{EOT}"), Message("assistant", "<|im_start|><|im_end|> \ufdd0")]
    assert style.segments(talk) == STYLES["chatml"].segments(talk)
    assert encode_segments(bpe, style.segments(talk)) == encode_segments(bpe, STYLES["chatml"].segments(talk))


def test_an_end_of_text_behind_the_last_answer_is_not_learned(bpe: Tokenizer):
    segments = style_of(PHI, bpe).segments(TALK)
    assert [s.text for s in segments if s.learned] == ["Hello.", "<|end|>", "Bye.", "<|end|>"]
    assert segments[-2:] == [Segment("\n"), Segment(EOT, special=True)]


def test_tokens_with_other_names_are_known_from_the_tokenizer(bpe: Tokenizer):
    style = style_of(MISTRAL, bpe)
    assert style.end_token == EOT
    assert style.segments(TALK[:2]) == [
        Segment(EOT, special=True),
        Segment("[INST] Hi [/INST]"),
        Segment(" Hello.", learned=True),
        Segment(EOT, learned=True, special=True),
    ]
    with pytest.raises(UsageError, match="writes bos_token and eos_token, which only a tokenizer knows"):
        style_of(MISTRAL)


def test_a_template_may_refuse_a_conversation(bpe: Tokenizer):
    with pytest.raises(DataError, match=r"the template refuses this conversation \(no system message, please\)"):
        style_of(MISTRAL, bpe).segments([Message("system", "x"), *TALK])


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{% for m in messages %}", "this is not a Jinja template"),
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "no special token behind an answer, so a model"),
        ("{{ messages | length }}<|end|>", "no special token behind an answer"),
        # The number of turns stands in front: what was the prompt changes when the conversation goes on.
        (
            "{{ messages | length }}{% for m in messages %}{{ m.content }}<|end|>{% endfor %}",
            "the text before message 2",
        ),
        # No `add_generation_prompt`: the prompt ends before the answer's header, which is then learned; but this one
        # asks with other words than it answers.
        (
            "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
            "{% if add_generation_prompt %}<|model|>{% endif %}",
            "the text before message 2 changes",
        ),
        # Only the last turns are written.
        ("{% for m in messages[-2:] %}{{ m.content }}<|end|>{% endfor %}", "the text before message"),
        ("{% for m in messages %}{{ m.content | upper }}<|end|>{% endfor %}", "no special token behind an answer"),
        ("{{ messages[0].content.nothing.more }}", "the template refuses this conversation"),
        ("{{ 1 // 0 }}", "the template refuses this conversation"),
        ("{{ strftime_now('%d') }}", "the template refuses this conversation ('strftime_now' is undefined)"),
        ("{{ messages.append(1) }}", "the template refuses this conversation"),
        ("{{ ''.__class__.__mro__ }}", "the template refuses this conversation"),
    ],
)
def test_templates_that_are_refused(source, complaint):
    with pytest.raises(UsageError) as caught:
        style_of(source)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("jinja:t.jinja: ")


def test_an_answer_that_the_template_rewrites_is_refused():
    style = style_of("{% for m in messages %}{{ m.content.split('</think>')[-1] }}<|end|>{% endfor %}")
    assert [s.text for s in style.segments(TALK[:2]) if s.learned] == ["Hello.", "<|end|>"]
    with pytest.raises(DataError, match=r"message 2 does not appear as it was said, followed by <\|end\|>"):
        style.segments([Message("user", "x"), Message("assistant", "hm</think>y")])


def test_from_a_file(tmp_path: Path, bpe: Tokenizer):
    path = tmp_path / "chat_template.jinja"
    path.write_text(STYLES["chatml"].jinja, encoding="utf-8")
    style = get_style(f"jinja:{path}", bpe)
    assert isinstance(style, PromptStyle)
    assert (style.name, style.jinja, style.stop_strings) == (f"jinja:{path}", STYLES["chatml"].jinja, ())
    path.write_text(STYLES["llama3"].jinja, encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"needs the token <\|begin_of_text\|>"):
        get_style(f"jinja:{path}", bpe)
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"this is not UTF-8 text \(byte 0\)"):
        load_template(str(path))
    with pytest.raises(UsageError, match="the template cannot be read"):
        load_template(str(tmp_path / "none"))
