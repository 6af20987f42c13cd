"""The model card says what the record says, and leaves out what it does not. Its Python is run in `tests/reference`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from huggingface_hub import ModelCard

from vidro.checkpoint.model_card import CardFacts, languages_of, licence_of, model_card
from vidro.config.schema import ModelConfig
from vidro.core.errors import UsageError
from vidro.data.catalogue import CORPORA
from vidro.text.styles import STYLES
from vidro.text.train import build_bytes, build_chars

CONFIG = ModelConfig(
    family="llama",
    vocab_size=320,
    context_length=64,
    d_model=32,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    d_head=8,
    d_ff=48,
)
PLAYS = CORPORA["tinyshakespeare"]
BASE: dict[str, Any] = {
    "kind": "base",
    "step": 40,
    "parent": None,
    "data": {
        "name": "input.txt", "source": "/home/ana/secret/input.txt", "sha256": PLAYS.files[0].sha256,
        "train_bytes": 1_003_854, "train_tokens": 1_003_855,
    },
    "versions": {"vidro": "0.1.0"},
    "results": {
        "val_bits_per_byte": 2.3456, "val_perplexity": 5.08, "val_n_bytes": 111_540, "full": True, "epochs": 2.5,
        "tokens": 2_500_000, "minutes": 10.0,
    },
}  # fmt: skip
ANSWERS = {"n": 120, "exact": {"mean": 0.25, "low": 0.2, "high": 0.31}}
TAUGHT = {
    "kind": "instruct", "step": 9, "parent": "/home/ana/secret/run", "prompt_style": "chatml",
    "data": {"name": "asked.jsonl", "source": "/home/ana/secret/asked.jsonl", "sha256": "0" * 64, "n_train": 102},
    "results": {"answers": ANSWERS},
}  # fmt: skip
SORTS = {
    "kind": "classifier", "step": 9, "data": {"name": "mail.tsv", "n_train": 700},
    "results": {
        "test": {"n": 150, "accuracy": 0.96, "accuracy_interval": [0.915, 0.982]}, "bag_of_words": {"accuracy": 0.94},
    },
}  # fmt: skip


def card(*records: dict[str, Any], **changes: Any) -> str:
    facts = CardFacts(name="ana/tale", records=records, config=CONFIG, tokenizer=build_bytes(), step=40)
    return model_card(replace(facts, **changes))


def test_a_language_model() -> None:
    text = card(BASE)
    assert "# tale\n\nA language model that continues texts, trained with Vidro 0.1.0 and written by Vidro" in text
    assert "| architecture | `llama`: 2 layers, width 32, 4 heads (2 of keys and values) |" in text
    assert "| context | 64 tokens |" in text
    assert "| tokenizer | 320 tokens: single bytes |" in text
    assert "Pretraining: `input.txt` (1,003,854 bytes, 1,003,855 tokens), 2.5 epochs, 2,500,000 tokens read" in text
    assert f"{PLAYS.about} Licence: public domain." in text
    assert "2.346 bits per byte on its validation text (111,540 bytes); perplexity 5.08 per token." in text


def test_no_place_of_the_makers_machine_is_in_it() -> None:
    for text in (card(BASE), card(BASE, TAUGHT, style=STYLES["chatml"])):
        assert "secret" not in text
        assert "/home" not in text


def test_a_model_that_answers_names_both_texts() -> None:
    text = card(BASE, TAUGHT, style=STYLES["alpaca"])
    assert text.index("- Pretraining: `input.txt`") < text.index("- Fine-tuning to answer: `asked.jsonl` (102 rows")
    assert "25.0% of 120 test answers are exactly right (95 % interval 20.0% to 31.0%)." in text
    assert "bits per byte" not in text  # that was the parent's
    assert "| prompt style | `alpaca`, in `chat_template.jinja`; an answer ends with `<|endoftext|>` |" in text
    assert "stop it at `### Instruction:`" in text
    assert "apply_chat_template" in text


def test_a_classifier() -> None:
    text = card(SORTS, config=replace(CONFIG, labels=("ham", "spam")))
    assert "A classifier of texts" in text
    assert "Its 2 classes: `ham`, `spam`." in text
    assert (
        "Accuracy 96.0% on 150 test texts (95 % interval 91.5% to 98.2%); bag-of-words regression on the same: 94.0%"
        in text
    )
    assert "700 labelled texts to learn from" in text


@pytest.mark.parametrize("style", [None, "chatml"])
def test_the_hub_reads_its_front_matter(style: str | None) -> None:
    data = ModelCard(card(BASE, style=STYLES[style] if style else None)).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-generation")
    assert data.tags == ["vidro", "llama", *(["conversational"] if style else [])]
    assert data.license is None  # nobody said one
    assert data.language is None
    sorts = ModelCard(card(SORTS, config=replace(CONFIG, labels=("a", "b")))).data
    assert sorts.pipeline_tag == "text-classification"


def test_licence_and_languages_that_were_said() -> None:
    data = ModelCard(card(BASE, license=licence_of("CC-BY-4.0"), languages=languages_of("en, pt"))).data
    assert (data.license, data.language) == ("cc-by-4.0", ["en", "pt"])
    assert "## Licence\n\n- The model: cc-by-4.0.\n- Texts, tinyshakespeare: public domain." in card(
        BASE, license="cc-by-4.0"
    )


def test_licences_that_nobody_said() -> None:
    """Those of known texts are named, of others it is said that they are not known; the model's follows from none."""
    text = card({**BASE, "imported": {}}, TAUGHT)
    assert "- The model: no licence was named by who made it.\n- Texts, tinyshakespeare: public domain.\n" in text
    assert "- Texts, asked.jsonl: unknown here.\n- Texts, what the imported model learned from: unknown here." in text


@pytest.mark.parametrize("said", ["", "MIT or so", "../x", "a\nb"])
def test_what_is_no_licence(said: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a licence"):
        licence_of(said)


@pytest.mark.parametrize("said", ["", "english", "en,", "e\n"])
def test_what_is_no_language(said: str) -> None:
    with pytest.raises(UsageError, match="is not the code of a language"):
        languages_of(said)


def test_what_no_record_says_is_left_out() -> None:
    text = card({"step": 0})
    assert "exported by Vidro" in text
    for heading in ("What it learned from", "What it reaches"):
        assert heading not in text
    assert "None" not in text


def test_scores_of_another_step_are_left_out() -> None:
    assert "What it reaches" not in card(BASE, scored=False)


def test_the_example_begins_with_what_the_vocabulary_can_say() -> None:
    text = card(BASE, tokenizer=build_chars(["Once more"]))
    assert re.search(r'tokenizer\(tokenizer.eos_token \+ "Once ",', text)
    assert re.search(r'tokenizer\(tokenizer.eos_token \+ "",', card(BASE, tokenizer=build_chars(["xyz"])))
    assert "- Its vocabulary has only the characters of its training text." in text
