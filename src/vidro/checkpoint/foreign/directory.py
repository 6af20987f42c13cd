"""Hugging Face directories: what ``save_pretrained`` wrote, or the hub holds, of GPT-2, Llama and Qwen3.

    config.json                                shape; what cannot be computed is refused by name
    model.safetensors, or shards and an index  weights, read one at a time (`checkpoint/weights`)
    tokenizer.json, or other vocabularies      (`text/foreign`)
    chat_template.jinja, tokenizer_config.json how a conversation is written

Not here: fetching it (`hub`), the config's keys (`checkpoint/huggingface`), making a run of it (`api/importing`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.checkpoint.foreign.model import ForeignModel
from vidro.core.errors import CheckpointError, ModelError, TokenizerError, VidroError
from vidro.core.files import read_json

if TYPE_CHECKING:
    from vidro.checkpoint.weights import Lazy
    from vidro.config.schema import ModelConfig
    from vidro.text.tokenizer import Tokenizer

FORM = "a Hugging Face directory"
TEMPLATE, SETTINGS, TIKTOKEN = "chat_template.jinja", "tokenizer_config.json", "tokenizer.model"
CLASS_BIAS = "score.bias"

ENDS_OF_TURNS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<|eom_id|>")
"""What tokenizers of chat models call the end; texts end with another token, where the vocabulary has it."""
ENDS_OF_TEXTS = ("<|endoftext|>", "<|end_of_text|>")

_NAME_ONE = "Name one: --tokenizer FILE, a tokenizer.json or the folder it lies in."


def read(path: Path, *, tokenizer: Tokenizer | None = None) -> ForeignModel:
    """The model of a directory; with `tokenizer`, that one instead of the directory's own.

    Weights are read when they are asked for; all names, shards and settings are checked here. Raises ModelError for
    what this model cannot compute, by name; CheckpointError for files that are damaged, missing or do not fit each
    other; TokenizerError for a vocabulary that is missing, unknown or larger than the embedding.
    """
    from vidro.checkpoint.huggingface import CONFIG, from_hf_config
    from vidro.checkpoint.names import from_foreign_lazily
    from vidro.checkpoint.weights import open_weights

    config = from_hf_config(read_json(path / CONFIG, error=CheckpointError), where=path / CONFIG)
    _refuse_pickles(path)
    tensors, notes = open_weights(path), []
    _check_head(tensors, config, path)
    bias = CLASS_BIAS in tensors
    found = tensors if not bias else type(tensors)({n: m for n, m in tensors.makers.items() if n != CLASS_BIAS})
    state = from_foreign_lazily(found, config, where=path)
    if bias:
        state = _without_bias(tensors, state, config, path)
        notes.append("the bias of the class head went into the last norm, which gives the same scores")
    if tokenizer is None:
        tokenizer, more = read_tokenizer(path)
        notes += more
    _check_size(tokenizer, config, path)
    return ForeignModel(FORM, config, state, tokenizer, read_template(path), tuple(notes))


def is_model(path: Path) -> bool:
    """Whether the directory is one of this form: it has a ``config.json``."""
    from vidro.checkpoint.huggingface import CONFIG

    return (path / CONFIG).is_file()


def files_of(path: Path) -> list[Path]:
    """The files that a model is read from, for its record; those that are there."""
    from vidro.checkpoint.huggingface import CONFIG
    from vidro.checkpoint.weights import INDEX, WEIGHTS

    single = [path / WEIGHTS] if (path / WEIGHTS).exists() else [path / INDEX, *sorted(path.glob("*.safetensors"))]
    named = (CONFIG, "tokenizer.json", SETTINGS, TEMPLATE, "vocab.json", "merges.txt", TIKTOKEN)
    return [file for file in (*(path / name for name in named), *single) if file.is_file()]


def _refuse_pickles(path: Path) -> None:
    from vidro.checkpoint.weights import INDEX, PICKLED, WEIGHTS

    pickled = next((name for name in PICKLED if (path / name).is_file()), None)
    if pickled is None or any((path / name).is_file() for name in (WEIGHTS, INDEX)):
        return
    what = f"its weights are only there as a pickle ({pickled}), which may run code when it is opened"
    if pickled.endswith(".json"):
        raise CheckpointError(what, where=path, hint="Save it as safetensors: model.save_pretrained(DIR).")
    hint = f"vidro import {path / pickled} --from-pickle opens it in a process that may not."
    raise CheckpointError(what, where=path, hint=hint)


def _check_head(tensors: Mapping[str, Any], config: ModelConfig, path: Path) -> None:
    """A head that is neither there nor tied: Transformers would draw a random one, with a warning."""
    if config.tie_embeddings or config.labels or "lm_head.weight" in tensors:
        return
    hint = 'Put "tie_word_embeddings": true into config.json if the embedding is the head.'
    raise CheckpointError("there is no head (lm_head.weight), and config.json does not tie it", where=path, hint=hint)


def _without_bias(tensors: Lazy, state: Lazy, config: ModelConfig, path: Path) -> Lazy:
    """The state with the bias of a class head folded into the last norm's, in fp32; exact."""
    from vidro.checkpoint.foreign.layouts import fold_head_bias

    if config.family != "gpt2" or not config.labels:
        what = "its class head has a bias (score.bias), which this family cannot express"
        raise ModelError(what, where=path, hint="Train the head without one.")
    weight, shift, bias = state["head.weight"], state["final_norm.bias"], tensors[CLASS_BIAS]
    if weight.dim() != 2 or shift.shape != weight.shape[1:] or bias.shape != weight.shape[:1]:
        raise CheckpointError("score.bias does not fit score.weight and the last norm", where=path)
    folded = fold_head_bias(weight, bias, shift.float(), path)
    return type(state)({**state.makers, "final_norm.bias": partial(_given, folded)})


def _given(tensor: Any) -> Any:
    return tensor


# -- text ----------------------------------------------------------------------------------------------------------


def read_tokenizer(path: Path) -> tuple[Tokenizer, list[str]]:
    """The tokenizer of a directory, and what to say about it. Raises TokenizerError."""
    from vidro.text.foreign import load_any

    if (path / TIKTOKEN).is_file() and not (path / "tokenizer.json").is_file():
        return _from_model_file(path / TIKTOKEN)
    places = ("tokenizer.json", "vocab.json", "encoder.json")
    if not any((path / name).is_file() for name in places) and not list(path.glob("*.tiktoken")):
        raise TokenizerError("there is no tokenizer in this directory", where=path, hint=_NAME_ONE)
    try:
        tokenizer = load_any(path)
        tokenizer, notes = _with_text_end(tokenizer, path)
    except VidroError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError) as problem:
        what = f"this tokenizer.json cannot be used ({type(problem).__name__}: {str(problem)[:80]})"
        raise TokenizerError(what, where=path, hint="The file is cut short or altered.") from None
    notes.extend(start_notes(tokenizer))
    return tokenizer, notes


def start_notes(tokenizer: Tokenizer) -> list[str]:
    """What to say where texts begin with a token of their own."""
    names = {number: name for name, number in tokenizer.special_ids.items()}
    try:
        start, end = tokenizer.start_id, tokenizer.eot_id
    except TokenizerError:
        return []
    return [] if start == end else [f"every text begins with {names[start]}, as this tokenizer asks for"]


def _with_text_end(tokenizer: Tokenizer, path: Path) -> tuple[Tokenizer, list[str]]:
    """The end of a turn is not the end of a text: where both tokens are there, texts end with theirs."""
    from vidro.text.recognise import read_settings
    from vidro.text.tokenizer import Tokenizer

    settings = read_settings(path / SETTINGS)
    end = next((name for name in ENDS_OF_TEXTS if name in tokenizer.special_ids), None)
    if settings.get("eos") not in ENDS_OF_TURNS or end is None:
        return tokenizer, []
    better = Tokenizer.from_json(tokenizer.to_json(), eot=end, pad=settings.get("pad"))
    return better, [f"texts end with {end}, answers with {settings['eos']}"]


def _from_model_file(file: Path) -> tuple[Tokenizer, list[str]]:
    """Meta's ``tokenizer.model`` of Llama 3 is a rank file; the older ones are SentencePiece, which is refused."""
    from vidro.text.foreign import LLAMA3_SPECIAL, load_tiktoken

    with file.open("rb") as stream:
        first = stream.readline(4096).split()
    try:
        ranks = len(first) == 2 and int(first[1]) >= 0 and bool(base64.b64decode(first[0], validate=True))
    except (ValueError, binascii.Error):
        ranks = False
    if not ranks:
        hint = f"Its tokenizer.json says the same in a form that is read. {_NAME_ONE}"
        raise TokenizerError("a SentencePiece model cannot be read", where=file, hint=hint)
    tokenizer = with_start(load_tiktoken(file, pattern="llama3", special=LLAMA3_SPECIAL), "<|begin_of_text|>")
    return tokenizer, ["tokenizer: the ranks of tokenizer.model, cut as Llama 3 cuts", *start_notes(tokenizer)]


def with_start(tokenizer: Tokenizer, name: str) -> Tokenizer:
    """The same tokenizer, whose tokenizer.json says that a text begins with the special token `name`."""
    import json

    from vidro.text.tokenizer import Tokenizer

    spec = json.loads(tokenizer.to_json())
    one = {"SpecialToken": {"id": name, "type_id": 0}}
    spec["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [one, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [one, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {name: {"id": name, "ids": [tokenizer.special_ids[name]], "tokens": [name]}},
    }
    return Tokenizer(spec)


def _check_size(tokenizer: Tokenizer, config: ModelConfig, path: Path) -> None:
    if tokenizer.vocab_size > config.vocab_size:
        what = f"the tokenizer has {tokenizer.vocab_size:,} tokens, but the model knows {config.vocab_size:,}"
        raise TokenizerError(what, where=path, hint="They do not belong together.")


def read_template(path: Path) -> str | None:
    """The Jinja source of its conversations: a file of its own, or the tokenizer's settings ("default" of several)."""
    if (path / TEMPLATE).is_file():
        try:
            return (path / TEMPLATE).read_text(encoding="utf-8")
        except UnicodeDecodeError as problem:
            raise TokenizerError(f"this is not UTF-8 text (byte {problem.start})", where=path / TEMPLATE) from None
    if not (path / SETTINGS).is_file():
        return None
    settings = read_json(path / SETTINGS, error=TokenizerError)
    found = settings.get("chat_template") if isinstance(settings, dict) else None
    if isinstance(found, list):
        named = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
        found = named.get("default")
    return found if isinstance(found, str) and found.strip() else None
