"""Prompt styles: the texts that the world knows, ids that never depend on what follows, and users who type tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError, TokenizerError, UsageError
from vidro.text.conversation import join_plain
from vidro.text.layout import added_token
from vidro.text.special import EOT
from vidro.text.styles import (
    STYLES,
    Message,
    PromptStyle,
    Segment,
    encode_segments,
    get_style,
    special_id,
    special_names,
    styles_for,
)
from vidro.text.tokenizer import Tokenizer

HOME = ["alpaca", "phi3", "phi3-chat", "chatml"]  # those that a home-made tokenizer has the tokens of
TALKS: list[list[Message]] = [
    [Message("user", "Hi"), Message("assistant", "Hello.")],
    [Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello.")],
    [Message("user", "Make it plural.", input="cat"), Message("assistant", " cats\n")],
    [
        Message("system", "Be {{ brief }}.\n"),
        *(Message(role, f" {role} \n {n} 'é' {{% if %}}") for n in range(4) for role in ("user", "assistant")),
    ],
]


def text_of(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def as_dicts(style: str, messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as Transformers takes them; only alpaca has a place for an input."""
    if style == "alpaca":
        return [{"role": m.role, "content": m.content, "input": m.input} for m in messages]
    return [{"role": m.role, "content": m.text} for m in messages]


def test_alpaca_is_the_books_text():
    talk = [Message("user", "Fix it.", input="freind"), Message("assistant", "friend")]
    assert text_of(get_style("alpaca").segments(talk)) == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the task.\n\n"
        "### Instruction:\nFix it.\n\n### Input:\nfreind\n\n### Response:\nfriend<|endoftext|>"
    )
    assert "Input" not in text_of(get_style("alpaca").prompt([Message("user", "Fix it.")]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("phi3", "Be brief.\n<|user|>\nHi\n<|assistant|>:\nHello.<|endoftext|>"),
        ("phi3-chat", "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello.<|end|>\n"),
        (
            "chatml",
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nHello.<|im_end|>\n",
        ),
        (
            "llama3",
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>",
        ),
    ],
)
def test_the_texts_of_the_other_styles(name, text):
    assert text_of(get_style(name).segments(TALKS[1])) == text


def test_phi3_puts_the_input_on_a_line_of_its_own_and_its_marks_are_plain_text():
    segments = get_style("phi3").prompt([Message("user", "Fix it.", input="freind")])
    assert segments == [Segment("<|user|>\nFix it.\nfreind\n<|assistant|>:\n")]


@pytest.mark.parametrize("name", STYLES)
def test_learned_is_the_answer_with_its_end_and_nothing_else(name):
    style = get_style(name)
    assert isinstance(style, PromptStyle)
    for talk in TALKS:
        learned = [segment for segment in style.segments(talk) if segment.learned]
        answers = [m.text.strip() if name == "llama3" else m.text for m in talk if m.role == "assistant"]
        assert [s.text for s in learned if not s.special] == answers
        assert [s.text for s in learned if s.special] == [style.end_token] * len(answers)


@pytest.mark.parametrize("name", HOME)
@given(texts=st.lists(st.text(min_size=1), min_size=2, max_size=6), system=st.none() | st.text(min_size=1))
def test_prompt_ids_are_the_first_ids_of_the_whole(name, bpe: Tokenizer, texts, system):
    style = get_style(name)
    roles = ["user", "assistant"] * 3
    talk = [Message(role, text) for role, text in zip(roles, texts[: len(texts) // 2 * 2], strict=False)]
    talk = talk if system is None else [Message("system", system), *talk]
    whole, learned = encode_segments(bpe, style.segments(talk))
    for number, message in enumerate(talk):
        if message.role == "assistant":
            prompt, flags = encode_segments(bpe, style.prompt(talk[:number]))
            assert whole[: len(prompt)] == prompt
            assert learned[: len(prompt)] == flags
            assert not flags[-1]
            assert learned[len(prompt)]


def test_special_tokens_are_one_id_and_the_same_words_from_a_user_are_text(bpe: Tokenizer):
    talk = [Message("user", f"a<|im_end|>\n<|im_start|>{EOT}"), Message("assistant", "b<|im_end|>")]
    ids, learned = encode_segments(bpe, get_style("chatml").segments(talk))
    assert [bpe.token_text(number) for number in ids if bpe.is_special(number)] == ["<|im_start|>", "<|im_end|>"] * 2
    end = bpe.special_ids["<|im_end|>"]
    answer = [number for number, is_learned in zip(ids, learned, strict=True) if is_learned]
    assert answer == [*bpe.encode("b<|im_end|>"), end]
    assert not learned[-1], "the line end behind the last token is not learned"


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("talk", TALKS)
def test_the_jinja_template_gives_the_same_text_in_transformers(name, talk):
    transformers = pytest.importorskip("transformers.utils.chat_template_utils")
    style = get_style(name)
    for number in range(1, len(talk) + 1):
        part = talk[:number]
        if part[-1].role == "system":
            continue
        asks = part[-1].role == "user"
        rendered, _ = transformers.render_jinja_template(
            [as_dicts(name, part)], chat_template=style.jinja, add_generation_prompt=asks
        )
        assert rendered == [text_of(style.prompt(part) if asks else style.segments(part))]


@pytest.mark.parametrize("name", ["alpaca", "phi3-chat", "chatml"])
def test_transformers_gives_the_same_prompt_ids_from_the_saved_files(name, bpe: Tokenizer, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    bpe.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    theirs.chat_template = get_style(name).jinja
    for talk in (TALKS[1][:-1], TALKS[2][:-1], [Message("user", "the cat\n\nsat on the mat")]):
        ids = theirs.apply_chat_template(as_dicts(name, talk), add_generation_prompt=True, return_dict=False)
        assert ids == encode_segments(bpe, get_style(name).prompt(talk))[0]


def test_a_tokenizer_without_the_tokens_is_told_what_works(bpe: Tokenizer):
    assert styles_for(bpe) == HOME
    with pytest.raises(TokenizerError) as caught:
        get_style("llama3", bpe)
    assert str(caught.value) == (
        "the style llama3 needs the token <|begin_of_text|>, which this tokenizer does not have. "
        "Styles that work with it: alpaca, phi3, phi3-chat, chatml."
    )
    with pytest.raises(TokenizerError, match=r"needs the token <\|eot_id\|>"):
        encode_segments(bpe, [Segment("<|eot_id|>", special=True)])
    bare = Tokenizer.from_json('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": []}')
    with pytest.raises(TokenizerError, match="No named style works with it; give jinja:FILE"):
        special_id(bare, EOT)
    assert get_style("chatml", bpe) is STYLES["chatml"]


def test_plain_styles_end_an_answer_as_the_tokenizer_ends_a_text():
    """Llama 2 and llama2.c have no <|endoftext|>; styles with tokens of their own stay as they are."""
    model = {"type": "BPE", "vocab": {"a": 0, "</s>": 1}, "merges": []}
    llama2 = Tokenizer({"model": model, "added_tokens": [added_token("</s>", 1)]})
    assert styles_for(llama2) == ["alpaca", "phi3"]
    style = get_style("alpaca", llama2)
    talk = [Message("user", "a"), Message("assistant", "a")]
    assert [piece.text for piece in style.segments(talk) if piece.special] == ["</s>"]
    assert style.jinja == get_style("alpaca").jinja.replace(EOT, "</s>")
    with pytest.raises(TokenizerError, match="Styles that work with it: alpaca, phi3"):
        get_style("chatml", llama2)


def test_gpt2_has_what_the_books_styles_need(shared_data: Path):
    from vidro.text.foreign import load_gpt2

    folder = shared_data / "tokenizers" / "gpt2"
    gpt2 = load_gpt2(folder / "encoder.json", folder / "vocab.bpe")
    assert styles_for(gpt2) == ["alpaca", "phi3"]
    talk = [Message("user", "Fix it.", input="freind"), Message("assistant", "friend")]
    ids, learned = encode_segments(gpt2, get_style("alpaca", gpt2).segments(talk))
    # The border of prompt and answer is a border of GPT-2's tokens anyway: the ids are those of the whole text.
    assert ids == [*gpt2.encode(text_of(get_style("alpaca").segments(talk)).removesuffix(EOT)), 50256]
    assert ids[learned.index(True) :] == [*gpt2.encode("friend"), 50256]


def test_what_styles_need():
    assert special_names(STYLES["chatml"]) == ["<|im_start|>", "<|im_end|>"]
    assert special_names(STYLES["phi3"]) == [EOT]


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([], "this conversation has no turns"),
        ([Message("system", "x")], "this conversation has no turns"),
        ([Message("assistant", "x")], "message 1 is the assistant's, not the user's. A system message may come first"),
        (
            [Message("system", "x"), Message("user", "y"), Message("user", "z")],
            "message 3 is the user's, not the assis",
        ),
        ([Message("user", "y"), Message("system", "z")], "message 2 is the system's, not the assistant's"),
    ],
)
@pytest.mark.parametrize("name", STYLES)
def test_turns_out_of_order(name, messages, complaint):
    with pytest.raises(DataError) as caught:
        get_style(name).segments(messages)
    assert str(caught.value).startswith(complaint)


def test_other_mistakes():
    with pytest.raises(DataError, match="there is nothing to answer"):
        get_style("alpaca").prompt(TALKS[0])
    with pytest.raises(DataError, match=r"unknown role 'bot'. Roles: system, user, assistant."):
        Message("bot", "x")
    with pytest.raises(UsageError, match=r"there is no prompt style 'chatlm'. Did you mean chatml\?"):
        get_style("chatlm")


def test_neighbouring_plain_segments_become_one():
    pieces = [Segment("a"), Segment(""), Segment("b"), Segment("c", True), Segment("d", True, True), Segment("e")]
    assert join_plain(pieces) == [Segment("ab"), Segment("c", True), Segment("d", True, True), Segment("e")]
