"""Other people's vocabularies: GPT-2's pair of files, tiktoken's rank files, any tokenizer.json.

Each becomes a `tokenizer.json` in memory, so everything else treats it like our own. Files may be gzipped. Nothing is
downloaded. Not here: vocabularies inside GGUF files (`checkpoint/gguf`).
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

from vidro.core.errors import TokenizerError, did_you_mean
from vidro.text.layout import byte_bpe, from_letters
from vidro.text.patterns import PATTERNS, byte_level
from vidro.text.special import EOT
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes

# Llama 3's 256 special tokens follow its 128,000 others and are in none of the two files. (Later releases gave some of
# the reserved ones a use and another name; the ids stayed.)
_LLAMA3_NAMED = {
    0: "<|begin_of_text|>",
    1: "<|end_of_text|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    9: "<|eot_id|>",
}
_LLAMA3_FREE = [number for number in range(256) if number not in _LLAMA3_NAMED]
LLAMA3_SPECIAL: dict[str, int] = {name: 128_000 + number for number, name in _LLAMA3_NAMED.items()} | {
    f"<|reserved_special_token_{rank}|>": 128_000 + number for rank, number in enumerate(_LLAMA3_FREE)
}

# The rank files of tiktoken do not hold their pattern and special tokens; these are the published ones.
TIKTOKEN_FILES: dict[str, tuple[str, dict[str, int]]] = {
    "r50k_base": ("gpt2", {EOT: 50_256}),
    "cl100k_base": (
        "cl100k",
        {
            EOT: 100_257,
            "<|fim_prefix|>": 100_258,
            "<|fim_middle|>": 100_259,
            "<|fim_suffix|>": 100_260,
            "<|endofprompt|>": 100_276,
        },
    ),
}

_AGAIN = "Fetch it again."
_CONVERT = "Convert it to a tokenizer.json with the tool it came from; that file says how a text is cut."


def load_gpt2(
    encoder_json: Path,
    vocab_bpe: Path,
    *,
    pattern: str = "gpt2",
    special: Mapping[str, int] | None = None,
    ignore_merges: bool = False,
) -> Tokenizer:
    """A byte-level BPE from a token list and a merge list, the format of GPT-2's release.

    `special` defaults to `<|endoftext|>` where the list has it. Llama 3 in this format needs `pattern="llama3"`,
    `LLAMA3_SPECIAL` and `ignore_merges` (a piece that is a token is taken whole). Raises TokenizerError.
    """
    vocab = _read_vocab(encoder_json)
    if special is None:
        special = {name: number for name, number in vocab.items() if name == EOT}
    data = {letters: from_letters(letters) for letters in vocab if letters not in special}
    broken = next((letters for letters, raw in data.items() if raw is None), None)
    if broken is not None:
        what = f"the token {broken!r} is not written in GPT-2's byte letters"
        raise TokenizerError(what, where=encoder_json, hint=_CONVERT)
    tokens = {raw: vocab[letters] for letters, raw in data.items() if raw is not None}
    merges = _read_merges(vocab_bpe)
    cutter = byte_level(_known(pattern))
    return Tokenizer(byte_bpe(tokens, merges, pre_tokenizer=cutter, special=special, ignore_merges=ignore_merges))


def load_tiktoken(path: Path, *, pattern: str | None = None, special: Mapping[str, int] | None = None) -> Tokenizer:
    """A byte-level BPE from a tiktoken rank file: one `base64(token) rank` a line.

    `pattern` and `special` are known for files named r50k_base and cl100k_base and must be given for others.
    A rank file has no merges: tiktoken joins any two neighbours whose joined bytes are a token, lowest rank first. So
    every way to cut a token into two tokens becomes a merge, in the order of ranks. Raises TokenizerError.
    """
    stem = path.name.split(".")[0]
    if pattern is None:
        if stem not in TIKTOKEN_FILES:
            hint = f"Give pattern= ({', '.join(PATTERNS)}). {did_you_mean(stem, TIKTOKEN_FILES)}"
            raise TokenizerError("the way this vocabulary cuts a text is not known", where=path, hint=hint)
        pattern, usual = TIKTOKEN_FILES[stem]
        special = usual if special is None else special
    ranks = _read_ranks(path)
    in_order = sorted(ranks, key=ranks.__getitem__)
    halves = ((token[:cut], token[cut:]) for token in in_order for cut in range(1, len(token)))
    merges = [(left, right) for left, right in halves if left in ranks and right in ranks]
    cutter, special = byte_level(_known(pattern)), {} if special is None else special
    return Tokenizer(byte_bpe(ranks, merges, pre_tokenizer=cutter, special=special, ignore_merges=True))


TRAINED_KINDS = ("bpe", "words", "chars")


def load_any(spec: str | Path, *, cache_dir: Path | None = None) -> Tokenizer:
    """A tokenizer by what the user typed: a file, a directory (a run too), "bytes", or "gpt2".

    "gpt2" is looked for in `cache_dir`/gpt2. Raises TokenizerError that says what can be given instead.
    """
    path = Path(spec)
    if path.is_dir():
        return _from_directory(path)
    if path.is_file():
        return _from_file(path)
    if spec == "bytes":
        return build_bytes()
    if spec == "gpt2":
        if cache_dir is not None and (cache_dir / "gpt2").is_dir():
            return _from_directory(cache_dir / "gpt2")
        hint = "Name the directory that holds encoder.json and vocab.bpe from OpenAI's GPT-2 release."
        raise TokenizerError("the GPT-2 vocabulary is not on this machine", hint=hint)
    if spec in TRAINED_KINDS:
        hint = "Make one with vidro tokenizer train FILE --out DIR, then name DIR."
        raise TokenizerError(f"{spec!r} is a kind of tokenizer that is made from a text; none is given here", hint=hint)
    hint = "Give a file or a directory, or one of: bpe, words, chars, bytes."
    raise TokenizerError("there is no such tokenizer", where=spec, hint=hint)


def _from_directory(path: Path) -> Tokenizer:
    if (path / "tokenizer.json").is_file():
        return Tokenizer.load(path)
    for vocab_name, merges_name in (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")):
        vocab, merges = _plain_or_gz(path / vocab_name), _plain_or_gz(path / merges_name)
        if vocab is not None and merges is not None:
            return _from_pair(vocab, merges)
    ranks = sorted(path.glob("*.tiktoken"))
    if len(ranks) == 1:
        return load_tiktoken(ranks[0])
    hint = "It would be a tokenizer.json, or encoder.json with vocab.bpe, or one .tiktoken file."
    raise TokenizerError("there is no tokenizer in this directory", where=path, hint=hint)


def _from_file(path: Path) -> Tokenizer:
    name = path.name.removesuffix(".gz")
    if name.endswith(".tiktoken"):
        return load_tiktoken(path)
    if name in ("encoder.json", "vocab.bpe", "vocab.json", "merges.txt"):
        return _from_directory(path.parent)
    if name.endswith(".json"):
        return Tokenizer.load(path)
    if name.endswith((".gguf", ".model")):
        what = "a vocabulary in a GGUF or SentencePiece file is read with its model only"
        hint = "vidro import FILE.gguf does; else give the tokenizer.json of the same model."
        raise TokenizerError(what, where=path, hint=hint)
    raise TokenizerError("this is not a tokenizer file", where=path, hint="Known: tokenizer.json, *.tiktoken.")


def _from_pair(vocab: Path, merges: Path) -> Tokenizer:
    """GPT-2's or Llama 3's pair of files, told apart by their size; a pair cannot say how it cuts a text."""
    size = len(_read_vocab(vocab))
    if size == 50_257:
        return load_gpt2(vocab, merges)
    if size == 128_000:
        return load_gpt2(vocab, merges, pattern="llama3", special=LLAMA3_SPECIAL, ignore_merges=True)
    what = f"a pair of files with {size} tokens is neither GPT-2's nor Llama 3's"
    raise TokenizerError(what, where=vocab, hint=_CONVERT)


def _known(pattern: str) -> str:
    if pattern not in PATTERNS:
        raise TokenizerError(f"there is no pattern {pattern!r}", hint=did_you_mean(pattern, PATTERNS))
    return pattern


def _plain_or_gz(path: Path) -> Path | None:
    zipped = path.with_name(path.name + ".gz")
    return path if path.is_file() else zipped if zipped.is_file() else None


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except FileNotFoundError:
        raise TokenizerError("there is no such file", where=path) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise TokenizerError(f"the gzip file is damaged or cut short ({problem})", where=path, hint=_AGAIN) from None
    except UnicodeDecodeError as problem:
        raise TokenizerError(f"this is not UTF-8 text (byte {problem.start})", where=path, hint=_AGAIN) from None


def _read_vocab(path: Path) -> dict[str, int]:
    try:
        vocab = json.loads(_read_text(path))
    except json.JSONDecodeError as problem:
        raise TokenizerError(f"this is not valid JSON ({problem})", where=path, hint=_AGAIN) from None
    if not isinstance(vocab, dict) or not all(isinstance(number, int) for number in vocab.values()):
        hint = 'It should look like {"the": 262, …}.'
        raise TokenizerError("this is not a list of tokens with their ids", where=path, hint=hint)
    return vocab


def _read_merges(path: Path) -> list[tuple[bytes, bytes]]:
    merges = []
    # Not splitlines: a token may hold what Python takes for a line end.
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        pair = [from_letters(letters) for letters in line.removesuffix("\r").split(" ")]
        if len(pair) != 2 or pair[0] is None or pair[1] is None:
            raise TokenizerError("this line is not two tokens", where=f"{path}, line {number}", hint=_AGAIN)
        merges.append((pair[0], pair[1]))
    return merges


def _read_ranks(path: Path) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            place = f"{path}, line {number}"
            raise TokenizerError("this line is not base64(token) and rank", where=place, hint=_AGAIN) from None
    if len(set(ranks.values())) < len(ranks) or not all(bytes([byte]) in ranks for byte in range(256)):
        what = "this rank file is damaged: a byte is missing or a rank is there twice"
        raise TokenizerError(what, where=path, hint=_AGAIN)
    return ranks
