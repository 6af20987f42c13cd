"""What kind of tokenizer a tokenizer.json is, and whether it may be trusted: the checks made while one is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers

from vidro.core.errors import TokenizerError
from vidro.text.decoding import TokenTable
from vidro.text.layout import BYTE_LETTERS
from vidro.text.patterns import CHARACTER, GPT2, WORD, known_pattern, split_step
from vidro.text.special import EOT, SPECIAL_TOKENS


def build_engine(spec: dict[str, Any]) -> tokenizers.Tokenizer:
    """The library's tokenizer, told that special tokens in a text are text. Raises TokenizerError."""
    try:
        engine = tokenizers.Tokenizer.from_str(json.dumps(spec))
    except Exception as problem:  # the library raises bare Exception
        what = f"this tokenizer.json cannot be used ({str(problem).splitlines()[0]})"
        raise TokenizerError(what, hint="The file is cut short, altered, or from a newer version.") from None
    engine.encode_special_tokens = True
    return engine


def check_ids(vocab: dict[str, int], added: list[dict[str, Any]]) -> None:
    """Refuse ids that are there twice, and added tokens that leave a gap.

    The library numbers the latter anew without a word, and every id after them would mean something else.
    """
    if not vocab:
        raise TokenizerError("this tokenizer.json has an empty vocabulary")
    if len(set(vocab.values())) < len(vocab):
        raise TokenizerError("two tokens of this vocabulary have the same id")
    for token in added:
        if vocab.get(token["content"]) != token["id"]:
            raise TokenizerError(f"the added token {token['content']!r} cannot have the id {token['id']}")


def named_id(vocab: dict[str, int], name: str | None, usual: Sequence[str]) -> int | None:
    """The id of `name`, else of the first usual name that is there. Raises TokenizerError for an unknown `name`."""
    if name is not None and name not in vocab:
        raise TokenizerError(f"tokenizer_config.json names the token {name!r}, which the vocabulary lacks")
    return next((vocab[each] for each in (name, *usual) if each is not None and each in vocab), None)


def read_settings(path: Path) -> dict[str, str]:
    """The names of the end ("eos") and padding ("pad") tokens in a tokenizer_config.json, if there is one."""
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as problem:
        raise TokenizerError(f"this is not valid JSON ({problem})", where=path) from None
    if not isinstance(settings, dict):
        raise TokenizerError("this is not a JSON object", where=path)
    tokens = {key: settings.get(f"{key}_token") for key in ("eos", "pad")}
    plain = {key: token.get("content") if isinstance(token, dict) else token for key, token in tokens.items()}
    return {key: token for key, token in plain.items() if isinstance(token, str)}


def kind_of(spec: dict[str, Any], special: dict[str, int], vocab_size: int) -> str:
    """ "bpe", "words", "chars" or "bytes" when home-made (the sixteen reserved names come last), "gpt2", or "other"."""
    model, cutter = spec["model"], spec.get("pre_tokenizer")
    home_made = [special.get(name) for name in SPECIAL_TOKENS] == list(range(vocab_size - 16, vocab_size))
    if model["type"] == "WordLevel" and home_made:
        cutters = {"words": split_step(WORD), "chars": split_step(CHARACTER)}
        return next((kind for kind, step in cutters.items() if step == cutter), "other")
    if model["type"] == "BPE" and home_made:
        return "bpe" if known_pattern(cutter) is not None else "bytes"
    is_gpt2 = model["type"] == "BPE" and special == {EOT: 50_256} and known_pattern(cutter) == GPT2
    return "gpt2" if is_gpt2 else "other"


def is_lossless(spec: dict[str, Any], vocab: dict[str, int], table: TokenTable) -> bool:
    """Whether every text that can be encoded comes back as it was."""
    strips = any(token["lstrip"] or token["rstrip"] for token in spec["added_tokens"] if not token["special"])
    alters = spec.get("normalizer") is not None or _adds_space(spec.get("pre_tokenizer")) or strips
    return table.joins and not alters and _says_unknown(spec["model"], vocab)


def _says_unknown(model: dict[str, Any], vocab: dict[str, int]) -> bool:
    """Whether nothing is lost in silence: all bytes are known, or what is unknown is an error."""
    if model["type"] == "WordLevel":
        return model.get("unk_token") not in vocab
    return model["type"] == "BPE" and vocab.keys() >= set(BYTE_LETTERS)


def _adds_space(step: dict[str, Any] | None) -> bool:
    if step is None:
        return False
    if step.get("type") == "Sequence":
        return any(_adds_space(inner) for inner in step.get("pretokenizers", []))
    return step.get("type") == "Metaspace" or bool(step.get("add_prefix_space", step.get("type") == "ByteLevel"))
