"""Text in, text out: streaming equals the whole, stop strings and half characters never show, seeds repeat."""

from __future__ import annotations

import itertools

import pytest
import torch

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.core.errors import TokenizerError, UsageError
from vidro.infer.session import Session
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars, build_words

ALPHABET = "abcdefghijklmnopqrstuvwxyz .\n"


def random_model(vocab_size: int, context_length: int = 24) -> Transformer:
    """A tiny model that prefers some tokens over others; new ones have a zero head and predict nothing."""
    model = Transformer(
        ModelConfig(
            family="qwen3", vocab_size=vocab_size, context_length=context_length, d_model=16, n_layers=1, n_heads=2,
            n_kv_heads=1, d_head=8, d_ff=16,
        )
    )  # fmt: skip
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0, 0.5, generator=generator)
    return model


def parrot(tokenizer: Tokenizer, text: str, context_length: int = 64) -> Transformer:
    """A model that says `text`, whose tokens must all differ, after the end mark, and then the end mark."""
    ids = [tokenizer.eot_id, *tokenizer.encode(text), tokenizer.eot_id]
    assert len(set(ids[1:])) == len(ids) - 1
    size = tokenizer.vocab_size
    model = Transformer(
        ModelConfig(
            family="llama", vocab_size=size, context_length=context_length, d_model=size, n_layers=1, n_heads=1,
            n_kv_heads=1, d_head=2, d_ff=1,
        )
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        model.token_embedding.weight.copy_(torch.eye(size))
        for now, following in itertools.pairwise(ids):
            model.head.weight[following, now] = 9.0
    return model


@pytest.fixture(scope="module")
def letters() -> Session:
    tokenizer = build_chars([ALPHABET], unk=False)
    return Session(random_model(tokenizer.vocab_size), tokenizer)


@pytest.fixture(scope="module")
def raw() -> Session:
    """Every token is one byte: most of what a random model says is not even UTF-8."""
    tokenizer = build_bytes()
    return Session(random_model(tokenizer.vocab_size), tokenizer)


def sampled(**more) -> SamplingOptions:
    return SamplingOptions(**{"max_tokens": 30, "temperature": 1.0, "seed": 11, **more})


@pytest.mark.parametrize("kind", ["letters", "raw"])
def test_the_stream_is_the_whole_text_in_pieces(kind, request):
    session = request.getfixturevalue(kind)
    pieces = list(session.stream("abc", sampled(), top=3))
    (whole,) = session.generate(["abc"], sampled(), top=3)
    assert "".join(piece.text for piece in pieces) == whole.text == session.tokenizer.decode(whole.ids)
    assert [piece.id for piece in pieces if piece.finish_reason != "eos"] == whole.ids
    assert [piece.logprob_nats for piece in pieces][: len(whole.ids)] == whole.logprobs_nats
    assert [len(top) for top in whole.top] == [3] * len(whole.ids)
    assert [piece.finish_reason for piece in pieces][:-1] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish_reason == whole.finish_reason
    assert whole.prompt_ids == [session.tokenizer.eot_id, *session.tokenizer.encode("abc")]


def test_half_a_character_is_never_shown():
    tokenizer = build_bytes()
    text = "aé€👍!"
    session = Session(parrot(tokenizer, text), tokenizer)
    pieces = list(session.stream("", SamplingOptions(greedy=True)))
    assert [piece.text for piece in pieces] == ["a", "", "é", "", "", "€", "", "", "", "👍", "!", ""]
    assert pieces[-1].finish_reason == "eos"


def test_the_end_mark_ends_the_text_and_is_not_in_it():
    tokenizer = build_chars([ALPHABET], unk=False)
    (said,) = Session(parrot(tokenizer, "the quick"), tokenizer).generate([""], SamplingOptions(greedy=True))
    assert (said.text, said.finish_reason, said.seed) == ("the quick", "eos", None)
    assert tokenizer.eot_id not in said.ids
    assert len(said.ids) == len(said.logprobs_nats) == len("the quick")


@pytest.mark.parametrize(
    ("stop", "text", "reason"),
    [
        (("quick",), "the ", "stop"),
        (("k b", "qu"), "the ", "stop"),
        (("quicker", "ick!"), "the quick", "eos"),
        (("the",), "", "stop"),
        ((), "the quick", "eos"),
    ],
)
def test_stop_strings_over_several_tokens_are_never_shown(stop, text, reason):
    tokenizer = build_chars([ALPHABET], unk=False)
    session = Session(parrot(tokenizer, "the quick"), tokenizer)
    options = SamplingOptions(greedy=True, stop=stop)
    pieces = list(session.stream("", options))
    shown = "".join(piece.text for piece in pieces)
    assert (shown, pieces[-1].finish_reason) == (text, reason)
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1), "nothing is made after the end"
    assert session.generate([""], options)[0].text == text
    for end in range(len(pieces)):
        assert text.startswith("".join(piece.text for piece in pieces[:end]))


def test_a_length_that_cuts_a_possible_stop_string_gives_back_what_was_held():
    tokenizer = build_chars([ALPHABET], unk=False)
    session = Session(parrot(tokenizer, "the quick"), tokenizer)
    (said,) = session.generate([""], SamplingOptions(greedy=True, stop=("quicker",), max_tokens=7))
    assert (said.text, said.finish_reason) == ("the qui", "length")


def test_samples_take_the_seeds_one_after_another(letters):
    three = letters.generate(["abc", "de"], sampled(seed=5), n=3)
    assert [(said.prompt, said.seed) for said in three] == [(p, s) for p in ("abc", "de") for s in (5, 6, 7)]
    assert len({said.text for said in three}) == 6
    for said in three:
        (again,) = letters.generate([said.prompt], sampled(seed=said.seed))
        assert again.ids == said.ids, "alone it is what it was in company"


def test_a_seed_that_was_not_said_is_fresh_and_told(letters):
    seeds = iter([41, 42])
    session = Session(letters.model, letters.tokenizer, draw_seed=lambda: next(seeds))
    options = SamplingOptions(max_tokens=20, temperature=1.0)
    first, second = session.generate(["abc"], options)[0], session.generate(["abc"], options)[0]
    assert (first.seed, second.seed) == (41, 42)
    assert first.text != second.text
    assert letters.generate(["abc"], sampled(max_tokens=20, seed=41))[0].text == first.text
    assert Session(letters.model, letters.tokenizer).draw_seed() != letters.draw_seed()


def test_a_full_context_is_said_once(letters):
    (said,) = letters.generate(["abc"], sampled(max_tokens=120))
    assert len(said.ids) == 120 or said.finish_reason == "eos"
    assert said.notes == [
        "The context of 24 tokens is full: its older half is dropped, now and whenever it fills again."
    ]
    assert [piece.note for piece in letters.stream("abc", sampled(max_tokens=120)) if piece.note] == said.notes
    (stopped,) = letters.generate(["abc"], sampled(max_tokens=120, on_full="stop"))
    assert (stopped.finish_reason, stopped.notes) == ("context", [])
    assert len(stopped.prompt_ids) + len(stopped.ids) == 24 + 1


def test_speed_is_tokens_by_seconds_of_the_clock(letters):
    ticks = itertools.count()
    session = Session(letters.model, letters.tokenizer, clock=lambda: float(next(ticks)))
    (said,) = session.generate(["abc"], sampled(max_tokens=12))
    assert said.tokens_per_s == len(said.ids) / 1.0


def test_a_prompt_of_exactly_the_context_goes_without_the_mark(letters):
    assert letters.encode("") == [letters.tokenizer.eot_id]
    assert len(letters.encode("a" * 23)) == 24
    assert letters.encode("a" * 24) == letters.tokenizer.encode("a" * 24)
    with pytest.raises(UsageError) as caught:
        letters.stream("a" * 25, sampled())
    assert str(caught.value) == (
        "prompt: it is 25 tokens long, and the model sees 24 at once. Shorten it to at most 24 tokens."
    )


def test_a_context_of_one_token_writes_all_the_same():
    tokenizer = build_chars([ALPHABET], unk=False)
    session = Session(random_model(tokenizer.vocab_size, context_length=1), tokenizer)
    (said,) = session.generate(["a"], sampled(max_tokens=9))
    assert said.prompt_ids == tokenizer.encode("a")
    assert len(said.ids) == 9


def test_a_prompt_the_tokenizer_cannot_write_is_its_error(letters):
    with pytest.raises(TokenizerError, match="'É'"):
        letters.stream("É", sampled())


def test_ids_can_be_given_instead_of_text(letters):
    ids = letters.encode("abc")
    given = [piece.id for piece in letters.stream(ids, sampled())]
    assert given == [piece.id for piece in letters.stream("abc", sampled())]
    with pytest.raises(UsageError, match="no token to continue from"):
        letters.stream([], sampled())


def test_contradictions_are_refused_before_anything_runs(letters):
    with pytest.raises(UsageError, match="with greedy all 2 samples would be the same"):
        letters.generate(["a"], SamplingOptions(greedy=True), n=2)
    with pytest.raises(UsageError, match="n: 0 is too small"):
        letters.generate(["a"], sampled(), n=0)
    with pytest.raises(UsageError, match="top-k: with greedy"):
        letters.stream("a", SamplingOptions(greedy=True, top_k=3))
    with pytest.raises(UsageError, match="stop: an empty text"):
        letters.stream("a", sampled(stop=("",)))


def test_no_prompts_give_no_texts(letters):
    assert letters.generate([], sampled()) == []


def test_names_that_are_no_text_are_not_chosen_unless_taught(letters):
    """A random model would say them as often as letters: half of the vocabulary is fillers and names."""
    said = letters.generate(["abc", "x", "z"], sampled(max_tokens=200), n=2)
    special = set(letters.tokenizer.special_ids.values())
    assert not special & {number for each in said for number in each.ids}
    taught = Session(letters.model, letters.tokenizer, special=["<|im_end|>"])
    assert letters.tokenizer.special_ids["<|im_end|>"] in letters.forbidden
    assert set(letters.forbidden) - set(taught.forbidden) == {letters.tokenizer.special_ids["<|im_end|>"]}


def test_a_vocabulary_padded_by_the_model_is_never_chosen_from():
    tokenizer = build_bytes()
    session = Session(random_model(tokenizer.vocab_size + 64), tokenizer)
    (said,) = session.generate(["a"], sampled(max_tokens=100))
    assert max(said.ids) < tokenizer.vocab_size


def test_a_tokenizer_larger_than_the_model_is_refused():
    tokenizer = build_bytes()
    with pytest.raises(TokenizerError, match=r"has 320 tokens and the model only 64\. They do not belong together"):
        Session(random_model(64), tokenizer)


def test_words_and_their_unknown():
    tokenizer = build_words(["the fox and the hen and the wolf"], unk=True)
    session = Session(random_model(tokenizer.vocab_size), tokenizer)
    pieces = list(session.stream("the fox", sampled()))
    (whole,) = session.generate(["the fox"], sampled())
    assert "".join(piece.text for piece in pieces) == whole.text
    assert tokenizer.special_ids["<|unk|>"] not in session.forbidden


def test_a_stream_left_early_gives_the_model_back(letters):
    letters.model.train()
    stream = letters.stream("abc", sampled())
    next(stream)
    stream.close()
    assert letters.model.training
    letters.model.eval()
