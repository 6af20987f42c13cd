"""One tokenizer for everybody: text to ids, ids to text, and a directory that `transformers` reads.

A `Tokenizer` *is* a `tokenizer.json`. `tokenizers` is the reference engine that runs it; where a quicker engine is
proved equal (`fast`), it takes over once there is enough text for building it to pay.

Special tokens. In a text they are text: ``encode("<|endoftext|>")`` gives the pieces of those thirteen characters,
never the id, so nobody's document can end a document. `transformers` and most servers do the opposite: their tokenizers
turn such names into ids, because chat templates are rendered to text first. The saved files keep that convention;
``AutoTokenizer.from_pretrained(run)(text, split_special_tokens=True)`` gives the ids that `encode` gives.
Nothing is ever put before or after the text.

Not here: making one (`train`), other people's formats (`foreign`), decoding while tokens arrive (`stream`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidro.core.errors import TokenizerError
from vidro.core.files import sha256_bytes, write_json_atomic
from vidro.text.decoding import TokenTable, printable, token_table
from vidro.text.fast import Engine, Reference, UnknownPiece, fast_engine, is_cuttable
from vidro.text.recognise import build_engine, check_ids, is_lossless, kind_of, named_id, read_settings
from vidro.text.special import EOT, PAD, UNK

# Building the quick engine costs about as much as encoding this many characters with the reference.
FAST_FROM_CHARS = 100_000

_EOT_NAMES = (EOT, "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "[SEP]")
_PAD_NAMES = (PAD, "<pad>", "[PAD]")


class Tokenizer:
    """Strings to ids and back. Make one with `load`, `from_json`, or the functions of `train` and `foreign`.

    kind         "bpe", "words", "chars", "bytes" (home-made), "gpt2", or "other"
    vocab_size   the largest id plus one; ids are below it
    special_ids  name to id of every special token
    lossless     whether decode(encode(text)) == text for every text that encode accepts
    fingerprint  SHA-256 of the canonical tokenizer.json: the same ids for ever, the same fingerprint
    notes        what its maker had to say ("the text supports only …"); not saved
    """

    def __init__(
        self, spec: dict[str, Any], *, eot: str | None = None, pad: str | None = None, notes: Sequence[str] = ()
    ) -> None:
        self._spec = {**spec, "truncation": None, "padding": None, "added_tokens": spec.get("added_tokens") or []}
        self._named = (eot, pad)
        self.notes = list(notes)
        self._engine = build_engine(self._spec)
        self._reference = Reference(self._engine, cuttable=is_cuttable(self._spec))
        self._fast: Engine | None = None
        self._n_encoded_chars = 0

        vocab = self._engine.get_vocab(with_added_tokens=True)
        added = self._spec["added_tokens"]
        check_ids(vocab, added)
        self.vocab_size: int = max(vocab.values()) + 1
        self.special_ids: dict[str, int] = {token["content"]: token["id"] for token in added if token["special"]}
        self._eot_id = named_id(vocab, eot, _EOT_NAMES)
        self.pad_id: int | None = named_id(vocab, pad, _PAD_NAMES)
        self._put_first = self._engine.encode("").ids[:1]
        self._table = token_table(self._spec, vocab)
        self._special_names = {number: name for name, number in self.special_ids.items()}
        self.kind: str = kind_of(self._spec, self.special_ids, self.vocab_size)
        self.lossless: bool = is_lossless(self._spec, vocab, self._table)

    # Making, saving

    @classmethod
    def from_json(cls, text: str, *, eot: str | None = None, pad: str | None = None) -> Tokenizer:
        """A tokenizer from the text of a tokenizer.json; `eot` and `pad` name tokens where the usual names do not fit.

        Raises TokenizerError when the text is not one.
        """
        try:
            spec = json.loads(text)
        except (ValueError, RecursionError) as problem:
            hint = "The file is cut short or altered."
            raise TokenizerError(f"this is not valid JSON ({problem})", hint=hint) from None
        if not isinstance(spec, dict) or not isinstance(spec.get("model"), dict):
            hint = "A vocab.json needs its merges.txt: name the directory that holds both."
            raise TokenizerError("this is JSON, but not a tokenizer.json", hint=hint)
        return cls(spec, eot=eot, pad=pad)

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """A tokenizer from a tokenizer.json or the directory that holds one. Raises TokenizerError."""
        path = Path(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        settings = read_settings(file.with_name("tokenizer_config.json"))
        try:
            return cls.from_json(file.read_text(encoding="utf-8"), eot=settings.get("eos"), pad=settings.get("pad"))
        except FileNotFoundError:
            raise TokenizerError("there is no such file", where=file) from None
        except UnicodeDecodeError as problem:
            raise TokenizerError(f"this is not UTF-8 text (byte {problem.start})", where=file) from None
        except TokenizerError as problem:
            raise TokenizerError(problem.what, where=file, hint=problem.hint) from None

    def to_json(self) -> str:
        """The tokenizer.json; `from_json` of it is this tokenizer again, fingerprint and all."""
        return json.dumps(self._spec, ensure_ascii=False)

    def save(self, directory: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, each in one step. Raises StorageError."""
        names = {number: name for name, number in self._engine.get_vocab(with_added_tokens=True).items()}
        settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        # Else Transformers 4 hands models token_type_ids, which Llama refuses and GPT-2 adds to its input.
        settings["model_input_names"] = ["input_ids", "attention_mask"]
        if self._eot_id is not None:
            settings |= {"bos_token": names[self.start_id], "eos_token": names[self._eot_id]}
        if self.pad_id is not None:
            settings["pad_token"] = names[self.pad_id]
        if UNK in self.special_ids:
            settings["unk_token"] = UNK
        write_json_atomic(directory / "tokenizer.json", self._spec)
        write_json_atomic(directory / "tokenizer_config.json", settings)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the tokenizer.json, keys sorted."""
        return sha256_bytes(json.dumps(self._spec, sort_keys=True, separators=(",", ":")).encode())

    @property
    def padding_id(self) -> int:
        """What rows of unequal length are filled up with: the pad token, or the end mark where there is none.

        What is padding is known from lengths, so the same id may still be learned where it ends a text.
        """
        return self.eot_id if self.pad_id is None else self.pad_id

    @property
    def eot_id(self) -> int:
        """The id that ends a document. Raises TokenizerError when the vocabulary has none."""
        if self._eot_id is None:
            hint = 'Say which token it is as "eos_token" in tokenizer_config.json.'
            raise TokenizerError("this tokenizer has no end-of-text token", hint=hint)
        return self._eot_id

    @property
    def start_id(self) -> int:
        """What stands before a text that has nothing before it: the end mark of "the document before".

        Some models were trained with a token of its own there, and their tokenizer.json says so (Llama 3's
        `<|begin_of_text|>`). `encode` adds neither; who feeds a model does.
        """
        return self._put_first[0] if self.puts_start_first else self.eot_id

    @property
    def puts_start_first(self) -> bool:
        """Whether other programs that read this tokenizer.json put `start_id` before every text."""
        return bool(self._put_first) and self.is_special(self._put_first[0])

    def __getstate__(self) -> dict[str, Any]:
        return {"spec": self._spec, "eot": self._named[0], "pad": self._named[1], "notes": self.notes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["spec"], eot=state["eot"], pad=state["pad"], notes=state["notes"])

    def __repr__(self) -> str:
        return f"<Tokenizer {self.kind}, {self.vocab_size} tokens>"

    # Text to ids

    def encode(self, text: str) -> list[int]:
        """The ids of `text`. Raises TokenizerError for a piece that the vocabulary lacks, naming it and its offset."""
        return self.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text as a uint32 array; one core does it. Raises TokenizerError, as `encode` does."""
        self._n_encoded_chars += sum(map(len, texts))
        if self._fast is None and self._n_encoded_chars >= FAST_FROM_CHARS:
            self._fast = fast_engine(self._spec, self._engine, self._reference) or self._reference
        engine = self._reference if self._fast is None else self._fast
        encoded: list[np.ndarray] = []
        for text in texts:
            try:
                encoded.append(engine.encode(text))
            except (UnknownPiece, UnicodeEncodeError) as problem:
                where = f"text {len(encoded)}" if len(texts) > 1 else None
                raise self._unencodable(problem, where) from None
        return encoded

    def _unencodable(self, problem: UnknownPiece | UnicodeEncodeError, where: str | None) -> TokenizerError:
        if isinstance(problem, UnicodeEncodeError):
            return half_a_character(problem, where)
        piece, hint = problem.piece, 'Allow it to become <|unk|> (--unk), or train a "bpe" tokenizer, which knows all.'
        is_word = len(piece) > 1 or (self.kind == "words" and piece.isalnum())
        name = f"the word {piece!r}" if is_word else f"the character {piece!r} (U+{ord(piece):04X})"
        return TokenizerError(f"{name} at offset {problem.offset} is not in the vocabulary", where=where, hint=hint)

    # Ids to text

    def decode(self, ids: Iterable[int], *, skip_special: bool = False) -> str:
        """The text of `ids`. Bytes that are not UTF-8 become U+FFFD; special tokens their names, unless skipped.

        Raises TokenizerError for an id that is not in the vocabulary.
        """
        numbers = ids.tolist() if isinstance(ids, np.ndarray) else [int(number) for number in ids]
        if skip_special:
            numbers = [number for number in numbers if not self.is_special(number)]
        try:
            data = b"".join([self._table.bytes_of[number] for number in numbers])
        except KeyError as problem:
            raise self._no_such_id(problem.args[0]) from None
        if not self._table.joins:
            return self._engine.decode(numbers, skip_special_tokens=False)
        return data.decode("utf-8", errors="replace")

    def token_bytes(self, number: int) -> bytes:
        """The UTF-8 bytes of text that this id stands for; none for special tokens. Raises TokenizerError."""
        return b"" if self.is_special(number) else self.shown_bytes(number)

    def token_byte_lengths(self) -> np.ndarray:
        """For every id the number of bytes it stands for: int32 [V]; 0 for special tokens and unused ids."""
        lengths = np.zeros(self.vocab_size, dtype=np.int32)
        for number, data in self._table.bytes_of.items():
            lengths[number] = 0 if self.is_special(number) else len(data)
        return lengths

    def token_text(self, number: int) -> str:
        """One token for people to look at: a half character as \\xe2, never as the replacement character."""
        return printable(self.shown_bytes(number))

    def shown_bytes(self, number: int) -> bytes:
        """What `decode` shows of this id: as `token_bytes`, but a special token's name. Raises TokenizerError."""
        if number not in self._table.bytes_of:
            raise self._no_such_id(number)
        return self._table.bytes_of[number]

    def is_special(self, number: int) -> bool:
        """Whether the id is a special token's."""
        return number in self._special_names

    @property
    def table(self) -> TokenTable:
        """What every id stands for."""
        return self._table

    @property
    def model(self) -> dict[str, Any]:
        """The `model` part of the tokenizer.json: read it, never change it."""
        return self._spec["model"]

    def _no_such_id(self, number: int) -> TokenizerError:
        return TokenizerError(f"id {number} is not in the vocabulary", hint=f"Ids go from 0 to {self.vocab_size - 1}.")


def half_a_character(problem: UnicodeEncodeError, where: str | None = None) -> TokenizerError:
    """The user's mistake behind a str that is not text: half of a surrogate pair, from a wrong decoding or bad JSON."""
    what = f"U+{ord(problem.object[problem.start]):04X} at offset {problem.start} is half a surrogate pair"
    return TokenizerError(what, where=where, hint="Read the text again with the encoding it was written in.")
