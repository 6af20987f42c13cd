"""A chat with a model that was taught to answer: its ids are those of training, and it can be told how and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.core.errors import UsageError
from vidro.data.instructions import read_instructions
from vidro.infer.answering import Answerer, Turns, with_stops
from vidro.infer.chat import Chat
from vidro.infer.session import Session
from vidro.model.transformer import Transformer
from vidro.text.conversation import Message, PromptStyle
from vidro.text.jinja_style import JinjaStyle
from vidro.text.styles import STYLES, encode_segments
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes

OWN = (
    "{%- for m in messages -%}<|im_start|>{{ m['role'] }}: {{ m['content'] }}<|im_end|>{{ '\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant: {% endif -%}"
)
NAMES = ["alpaca", "phi3", "chatml", "own"]


def style_of(name: str) -> PromptStyle:
    return JinjaStyle(OWN, name="jinja:own") if name == "own" else STYLES[name]


def answerer_of(style: PromptStyle, context_length: int = 1024) -> Answerer:
    """A model whose every weight is random, so that each reply depends on all that was said."""
    tokenizer = build_bytes()
    config = ModelConfig(
        family="qwen3", vocab_size=tokenizer.vocab_size, context_length=context_length, d_model=16, n_layers=1,
        n_heads=2, n_kv_heads=1, d_head=8, d_ff=16,
    )  # fmt: skip
    model = Transformer(config)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0, 0.4, generator=generator)
    return Answerer(model, tokenizer, style)


def chat_of(style: PromptStyle, *, ends: bool = False, system: str | None = None, context_length: int = 1024) -> Chat:
    """A chat; `ends` decides whether replies end by themselves or after eight tokens."""
    answerer = answerer_of(style, context_length)
    session, tokenizer = answerer.session, answerer.tokenizer
    special = set(tokenizer.special_ids.values())
    letters = range(ord("a"), ord("z") + 1)  # bytes are their own ids: replies are words
    every = [number for number in range(tokenizer.vocab_size) if number not in letters and number not in special]
    session.forbidden += every if ends else [*every, session.end_id]
    options = SamplingOptions(max_tokens=400 if ends else 8, temperature=1.0, seed=5)
    return Chat(session, with_stops(options, style), style=Turns(tokenizer, style, system=system))


def hear(chat: Chat, line: str) -> str:
    response = chat.respond(line)
    assert response.pieces is not None
    return "".join(piece.text for piece in response.pieces)


def ids_of(style: PromptStyle, tokenizer: Tokenizer, messages: list[Message]) -> list[int]:
    return encode_segments(tokenizer, style.segments(messages))[0]


def test_bytes_are_their_own_ids() -> None:
    assert build_bytes().encode("az") == [ord("a"), ord("z")]


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_what_the_model_is_given_is_what_it_was_trained_on(name: str, ends: bool) -> None:
    style = style_of(name)
    chat = chat_of(style, ends=ends)
    talk: list[Message] = []
    for words in ("What is a seal?", "Why? <|im_end|>", "And then?"):
        reply = hear(chat, words)
        assert reply
        talk += [Message("user", words), Message("assistant", reply)]
        given, whole = chat.context(), ids_of(style, chat.session.tokenizer, talk)
        assert whole[: len(given)] == given
        left = whole[len(given) :]  # at most the end token, where it was not written, and what follows it
        assert (chat.session.end_id not in left) == ends
        assert (chat.turns[-1].finish_reason == "eos") == ends
    assert len(chat.turns) == 3


@pytest.mark.parametrize("name", NAMES)
def test_the_model_sees_the_whole_conversation(name: str) -> None:
    style = style_of(name)
    chat = chat_of(style)
    first = hear(chat, "What is a seal?")
    second = hear(chat, "Why?")
    talk = [Message("user", "What is a seal?"), Message("assistant", first), Message("user", "Why?")]
    prompt = encode_segments(chat.session.tokenizer, style.prompt(talk))[0]
    options = with_stops(SamplingOptions(max_tokens=8, temperature=1.0, seed=6), style)
    assert "".join(piece.text for piece in chat.session.stream(prompt, options)) == second


@pytest.mark.parametrize("name", NAMES)
def test_system_is_said_first_and_begins_anew(name: str) -> None:
    style = style_of(name)
    chat = chat_of(style)
    hear(chat, "What is a seal?")
    assert chat.respond("/system Answer in one word.").messages == [
        "It is said first from here on; the conversation begins anew."
    ]
    assert chat.turns == []
    reply = hear(chat, "What is a seal?")
    hear(chat, "Why?")
    talk = [Message("system", "Answer in one word."), Message("user", "What is a seal?"), Message("assistant", reply)]
    whole = ids_of(style, chat.session.tokenizer, talk)
    assert chat.context()[: len(whole)] == whole
    assert chat.context().count(chat.session.end_id) == whole.count(chat.session.end_id) + (
        1 if name in ("chatml", "own") else 0  # there the question of a person ends with it too
    )
    chat.respond("/reset")
    assert hear(chat, "What is a seal?")
    assert chat.context()[: len(whole) - 12] == whole[: len(whole) - 12]  # a reset keeps it
    fresh = chat_of(style, system="Answer in one word.")
    assert hear(fresh, "What is a seal?")
    assert fresh.turns[0].prompt_ids == chat.turns[0].prompt_ids


def test_the_system_text_changes_the_reply() -> None:
    style = style_of("chatml")
    assert hear(chat_of(style), "Why?") != hear(chat_of(style, system="Be short."), "Why?")


def test_save_writes_what_fine_tuning_reads(tmp_path: Path) -> None:
    chat = chat_of(style_of("chatml"), system="Be short.")
    path = tmp_path / "talk.json"
    with pytest.raises(UsageError, match=r"^/save: nothing was said yet$"):
        chat.respond(f"/save {path}")
    replies = [hear(chat, words) for words in ("What is a “seal”?", "Why?")]
    assert chat.respond(f"/save {path}").messages == [f"Written to {path}."]
    (row,) = read_instructions(path).rows
    assert row.messages == (
        Message("system", "Be short."),
        Message("user", "What is a “seal”?"),
        Message("assistant", replies[0]),
        Message("user", "Why?"),
        Message("assistant", replies[1]),
    )
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"this file exists already\. Choose another name"):
        chat.respond(f"/save {path}")
    assert path.read_bytes() == before


def test_save_without_a_system_text_and_after_undo(tmp_path: Path) -> None:
    chat = chat_of(style_of("phi3"))
    reply = hear(chat, "What?")
    hear(chat, "Why?")
    chat.respond("/undo")
    chat.respond(f"/save {tmp_path / 'talk.json'}")
    messages = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": reply}]
    assert json.loads((tmp_path / "talk.json").read_text(encoding="utf-8")) == [{"messages": messages}]


def test_a_base_model_takes_no_system_text_but_can_be_kept(tmp_path: Path) -> None:
    session = answerer_of(style_of("alpaca")).session
    chat = Chat(Session(session.model, session.tokenizer), SamplingOptions(max_tokens=4, seed=1))
    with pytest.raises(UsageError, match=r"^/system: this model continues texts; it was not taught to be told how$"):
        chat.respond("/system Be short.")
    hear(chat, "Once")
    chat.respond(f"/save {tmp_path / 'talk.json'}")
    assert json.loads((tmp_path / "talk.json").read_text(encoding="utf-8"))[0]["messages"][0]["content"] == "Once"


@pytest.mark.parametrize(("line", "message"), [("/system", "a text is missing"), ("/save", "a file is missing")])
def test_what_is_missing_is_said(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{line}: {message}. For example {line} "):
        chat_of(style_of("chatml")).respond(line)


def test_nothing_to_answer() -> None:
    chat = chat_of(style_of("chatml"))
    for line in ("", "  "):
        with pytest.raises(UsageError, match=r"^there is nothing to answer\. Write something, or /quit\.$"):
            chat.respond(line)
    assert chat.turns == []


def test_retry_and_an_interrupted_reply() -> None:
    style = style_of("chatml")
    chat = chat_of(style)
    hear(chat, "What?")
    prompt = chat.turns[0].prompt_ids
    hear(chat, "/retry")
    assert [turn.prompt_ids for turn in chat.turns] == [prompt]
    response = chat.respond("Why?")
    assert response.pieces is not None
    next(response.pieces)
    response.pieces.close()
    assert chat.turns[-1].finish_reason == "interrupted"
    hear(chat, "And?")
    talk = [Message("user", "What?"), Message("assistant", chat.turns[0].reply)]
    talk += [Message("user", "Why?"), Message("assistant", chat.turns[1].reply), Message("user", "And?")]
    expected = encode_segments(chat.session.tokenizer, style.prompt(talk))[0]
    assert chat.context()[: len(expected)] == expected


def test_a_stop_string_of_the_style_ends_a_reply() -> None:
    style = style_of("phi3")
    chat = chat_of(style)
    chat.options = SamplingOptions(max_tokens=60, temperature=1.0, seed=5, stop=("e", *style.stop_strings))
    reply = hear(chat, "What?")
    assert chat.turns[0].finish_reason == "stop"
    assert "e" not in reply
    hear(chat, "Why?")
    talk = [Message("user", "What?"), Message("assistant", reply), Message("user", "Why?")]
    expected = encode_segments(chat.session.tokenizer, style.prompt(talk))[0]
    assert chat.context()[: len(expected)] == expected


def test_a_conversation_longer_than_the_context_forgets_its_older_part() -> None:
    chat = chat_of(style_of("phi3"), context_length=96)
    notes = []
    for _ in range(4):
        response = chat.respond("What is a seal?")
        assert response.pieces is not None
        notes += [piece.note for piece in response.pieces if piece.note is not None]
    assert notes == ["The model sees 96 tokens, and this conversation is longer: its older part is forgotten."]
    with pytest.raises(UsageError, match="and the model sees 96 at once"):
        chat.respond("What? " * 40)


def test_an_answer_to_a_prompt_that_fills_the_context() -> None:
    answerer = answerer_of(style_of("phi3"), context_length=64)
    with pytest.raises(UsageError, match=r"^prompt 2 has \d+ tokens, and the model sees 64\. Ask something shorter\.$"):
        answerer.answers([[Message("user", "Why?")], [Message("user", "Why? " * 20)]], SamplingOptions(max_tokens=2))
