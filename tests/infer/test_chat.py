"""A chat with a base model: turns are put behind each other, commands change it, mistakes change nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.core.errors import TokenizerError, UsageError, VidroError
from vidro.infer.chat import Chat, Turn
from vidro.infer.reading import count_words
from vidro.infer.session import Session
from vidro.model.transformer import Transformer
from vidro.text.train import build_chars

ALPHABET = "abcdefghijklmnopqrstuvwxyz .\n"


def make_session(context_length: int = 256, alphabet: str = ALPHABET) -> Session:
    tokenizer = build_chars([alphabet], unk=False)
    model = Transformer(
        ModelConfig(
            family="qwen3", vocab_size=tokenizer.vocab_size, context_length=context_length, d_model=16, n_layers=1,
            n_heads=2, n_kv_heads=1, d_head=8, d_ff=16,
        )
    )  # fmt: skip
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0, 0.4, generator=generator)
    session = Session(model, tokenizer, draw_seed=lambda: 100)
    session.forbidden.append(tokenizer.eot_id)  # every reply has its full length
    return session


def make_chat(session: Session | None = None, **options) -> Chat:
    settings = SamplingOptions(**{"max_tokens": 8, "temperature": 1.0, "seed": 5, **options})
    return Chat(make_session() if session is None else session, settings)


def hear(chat: Chat, line: str) -> str:
    """The text of the reply to a line."""
    response = chat.respond(line)
    assert response.pieces is not None
    return "".join(piece.text for piece in response.pieces)


def shown(chat: Chat) -> str:
    return chat.session.tokenizer.decode(chat.context())


def test_turns_run_on_each_on_a_line_of_its_own():
    chat = make_chat()
    first = hear(chat, "the fox")
    assert shown(chat) == f"<|endoftext|>the fox{first}"
    second = hear(chat, "and the hen")
    gap = "" if first.endswith("\n") else "\n"
    assert shown(chat) == f"<|endoftext|>the fox{first}{gap}and the hen{second}"
    assert [turn.words for turn in chat.turns] == ["the fox", "and the hen"]


def test_the_model_sees_the_whole_conversation():
    chat = make_chat()
    hear(chat, "the fox")
    before = chat.context()
    reply = hear(chat, "and")
    given = [*before, *chat.turns[1].prompt_ids]
    options = SamplingOptions(max_tokens=8, temperature=1.0, seed=6)
    assert "".join(piece.text for piece in chat.session.stream(given, options)) == reply


def test_an_empty_line_lets_it_write_on():
    chat = make_chat()
    first = hear(chat, "the fox")
    second = hear(chat, "")
    assert shown(chat) == f"<|endoftext|>the fox{first}{second}"


def test_after_the_end_mark_a_new_document_begins():
    chat = make_chat()
    eot = chat.session.tokenizer.eot_id
    ended = chat.session.tokenizer.encode("a.")
    chat.turns = [Turn("a", [eot, *ended], "", [eot], 1, "eos")]
    hear(chat, "the hen")
    assert shown(chat).startswith("<|endoftext|>a.<|endoftext|>the hen")


def test_a_vocabulary_without_line_ends_joins_turns_with_a_space():
    chat = make_chat(make_session(alphabet="abc "))
    first = hear(chat, "ab")
    hear(chat, "ca")
    assert shown(chat).startswith(f"<|endoftext|>ab{first} ca")


def test_seeds_count_up_and_can_be_set():
    chat = make_chat()
    first = hear(chat, "the fox")
    hear(chat, "on")
    assert [turn.seed for turn in chat.turns] == [5, 6]
    hear(chat, "/retry")
    assert chat.turns[-1].seed == 7
    assert chat.respond("/reset").messages == ["Forgotten. The next words begin a new text."]
    assert chat.respond("/seed 5").messages == ["seed is 5 from here on."]
    assert hear(chat, "the fox") == first
    assert make_chat(seed=None).next_seed == 100


def test_retry_replaces_the_last_reply_only():
    chat = make_chat()
    hear(chat, "the fox")
    kept = chat.turns[0]
    old = hear(chat, "and the hen")
    new = hear(chat, "/retry")
    assert new != old
    assert [turn.words for turn in chat.turns] == ["the fox", "and the hen"]
    assert chat.turns[0] == kept
    assert chat.turns[1].reply == new


def test_undo_takes_back_one_turn():
    chat = make_chat()
    hear(chat, "the fox")
    before = chat.context()
    hear(chat, "and the hen " * 5)
    assert chat.respond("/undo").messages == ["Taken back: and the hen and the hen and the hen and …"]
    assert chat.context() == before
    chat.respond("/undo")
    assert chat.context() == []


def test_settings_change_for_the_next_words():
    chat = make_chat(temperature=0.8, greedy=False)
    assert chat.respond("/temperature 0").messages == ["temperature is 0.0 from here on."]
    first = hear(chat, "the fox")
    chat.respond("/reset")
    assert hear(chat, "the fox") == first
    assert chat.turns[-1].seed is None
    assert chat.respond("/temperature 1.2").messages == ["temperature is 1.2 from here on."]
    assert chat.respond("/top-k 3").messages == ["top-k is 3 from here on."]
    assert chat.respond("/top-k off").messages == ["top-k is off from here on."]
    assert chat.options.top_k is None
    warm = make_chat(greedy=True, temperature=0.8)
    warm.respond("/temperature 0.5")
    assert not warm.options.greedy


def test_help_and_quit():
    chat = make_chat()
    (page,) = chat.respond("/help").messages
    assert all(name in page for name in ("/retry", "/undo", "/reset", "/seed N", "/temperature X", "/top-k N", "/quit"))
    assert chat.respond("/quit").quit
    assert not chat.respond("/help").quit


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("/retry", UsageError, "/retry: nothing was said yet"),
        ("/undo", UsageError, "/undo: nothing was said yet"),
        ("/temperature -1", UsageError, "temperature: -1.0 is too small. It must be at least 0."),
        ("/top-k 0", UsageError, "top-k: 0 is too small. It must be at least 1."),
        ("/hlep", UsageError, "/hlep: there is no such command. Did you mean /help?"),
        ("École", TokenizerError, "the character 'É'"),
        ("a" * 300, UsageError, "prompt: it is 301 tokens long, and the model sees 256 at once"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(line, kind, message):
    chat = make_chat()
    options, seed = chat.options, chat.next_seed
    with pytest.raises(kind) as caught:
        chat.respond(line)
    assert str(caught.value).startswith(message)
    assert (chat.turns, chat.options, chat.next_seed) == ([], options, seed)


def test_contradictions_are_refused():
    chat = make_chat(top_k=5)
    hear(chat, "the fox")
    with pytest.raises(VidroError, match="top-k: with temperature 0"):
        chat.respond("/temperature 0")
    assert chat.options.temperature == 1.0
    chat.respond("/top-k off")
    chat.respond("/temperature 0")
    with pytest.raises(UsageError, match="/retry: the most probable reply would be the same again"):
        chat.respond("/retry")
    assert len(chat.turns) == 1


def test_a_reply_that_was_not_waited_for_is_kept_as_far_as_it_came():
    chat = make_chat()
    response = chat.respond("the fox")
    assert response.pieces is not None
    pieces = [next(response.pieces) for _ in range(3)]
    response.pieces.close()
    (turn,) = chat.turns
    assert (turn.reply, turn.finish_reason) == ("".join(piece.text for piece in pieces), "interrupted")
    assert turn.reply_ids == [piece.id for piece in pieces]


def test_a_stop_string_is_not_remembered():
    chat = make_chat(max_tokens=200, stop=("e", "a", "o"))
    reply = hear(chat, "th")
    assert chat.turns[0].finish_reason == "stop"
    assert shown(chat) == f"<|endoftext|>th{reply}"


def test_a_long_conversation_forgets_its_older_half_and_says_so_once():
    chat = make_chat(make_session(context_length=32))
    notes = []
    for _ in range(8):
        response = chat.respond("the fox runs")
        assert response.pieces is not None
        notes += [piece.note for piece in response.pieces if piece.note is not None]
    assert notes == ["The model sees 32 tokens, and this conversation is longer: its older part is forgotten."]
    assert len(chat.context()) > 64
    reply = hear(chat, ALPHABET[:-1] + "xyz")  # with the line end before it, all that the model can see
    again = chat.session.stream(chat.turns[-1].prompt_ids, replace(chat.options, seed=chat.turns[-1].seed))
    assert "".join(piece.text for piece in again) == reply
    with pytest.raises(UsageError, match="it is 41 tokens long, and the model sees 32 at once"):
        chat.respond("b" * 40)


def test_one_long_reply_says_that_the_context_is_full():
    chat = make_chat(make_session(context_length=16), max_tokens=60)
    response = chat.respond("fox")
    assert response.pieces is not None
    notes = [piece.note for piece in response.pieces if piece.note is not None]
    assert notes == ["The context of 16 tokens is full: its older half is dropped, now and whenever it fills again."]


def test_a_context_of_one_token_can_be_chatted_with():
    chat = make_chat(make_session(context_length=1))
    assert len(hear(chat, "a")) == 8
    assert len(hear(chat, "")) == 8


def test_words_the_training_text_never_had_are_marked():
    chat = Chat(make_session(), SamplingOptions(max_tokens=3, seed=1), known_words=count_words(["the fox and the hen"]))
    assert chat.respond("the robot fox").messages == [
        "In its training text: robot 0 times. What it says about this is a guess."
    ]
    assert chat.respond("the fox").messages == []
    assert make_chat().respond("the robot").messages == []
