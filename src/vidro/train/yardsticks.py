"""The yardsticks of a run's text, measured once and kept in the cache; what they are: `evals/yardsticks`.

A text that Vidro wrote itself has one more, the floor: its grammar knows how probable each story is.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

from vidro.config.load import to_dict
from vidro.config.schema import DataOptions
from vidro.core.errors import DataError
from vidro.core.files import read_json, sha256_bytes, write_json_atomic
from vidro.data.corpora import CORPORA
from vidro.data.made import story_floor
from vidro.data.prepare import Prepared
from vidro.evals.yardsticks import TRAIN_BYTES, VAL_BYTES, text_yardsticks

FLOOR = "floor"
VERSION = 1  # of the measuring: one higher when the same text would give other numbers


def known_yardsticks(
    prepared: Prepared, data: DataOptions, *, val_sha256: str | None, cache_dir: Path
) -> dict[str, float]:
    """Bits per byte of the validation text for each yardstick, from the cache where it was measured before.

    `val_sha256` is the checksum of a validation text of its own (``--val``). The tokenizer has no part in it.
    """
    reading = to_dict(replace(data, val=None, tokenizer=None, vocab_size=None, unk=False))
    texts = [prepared.source_sha256, val_sha256, reading, prepared.val_bytes]
    key = json.dumps([VERSION, *texts, TRAIN_BYTES, VAL_BYTES], sort_keys=True)
    path = cache_dir / "yardsticks" / f"{sha256_bytes(key.encode())[:32]}.json"
    with contextlib.suppress(DataError):  # none yet, or damaged: it is made again
        known = read_json(path, error=DataError)
        if isinstance(known, dict) and all(isinstance(bits, float) for bits in known.values()):
            return known
    found = text_yardsticks(prepared.train_texts(), prepared.val_texts())
    if prepared.source_sha256 == CORPORA["tinyworld"].files[0].sha256:
        floor = story_floor(prepared.val_texts())
        found |= {} if floor is None else {FLOOR: floor}
    write_json_atomic(path, found)
    return found
