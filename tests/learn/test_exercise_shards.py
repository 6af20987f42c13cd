"""Exercise shards: usual mistakes are named, another sensible form passes.

The wrong solutions are our own rung, with one thing made wrong.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.learn.grading import problem_of

from vidro.learn import shards

RUNG = Path(shards.__file__).read_text(encoding="utf-8")

OTHER = """
import array, gzip, hashlib, json, os, sys

def packed(kind, numbers):
    row = array.array(kind, numbers)
    if sys.byteorder == "big":
        row.byteswap()
    return row.tobytes()

def make(source, folder, encode, end):
    # Everything is written elsewhere and renamed; the ends come last and carry the name of the shard.
    tokens, ends, made_of = (folder / (source.name + suffix) for suffix in (".tokens", ".ends", ".made_of"))
    digest = hashlib.sha1(source.read_bytes()).hexdigest()
    if made_of.is_file() and made_of.read_text() == digest:
        return False
    ids, places = [], []
    for line in gzip.decompress(source.read_bytes()).splitlines():
        ids += encode(json.loads(line)["text"]) + [end]
        places.append(len(ids))
    made_of.unlink(missing_ok=True)
    for path, content in ((tokens, packed("H", ids)), (ends, packed("Q", places)), (made_of, digest.encode())):
        (folder / "part").write_bytes(content)
        os.replace(folder / "part", path)
    return True

def window(paths, start, length):
    content = b""
    for path in paths:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            file.seek(min(2 * start, size))
            content += file.read(2 * length - len(content))
        start = max(0, start - size // 2)
    row = array.array("H", content)
    if sys.byteorder == "big":
        row.byteswap()
    return row

def shuffled(i, n, seed, epoch):
    side = 1
    while side * side < n:
        side += 1 if side < 1000 else side // 1000
    while True:
        a, b = divmod(i, side)
        for number in range(4):
            said = hashlib.sha256(f"{seed} {epoch} {number} {b}".encode()).digest()
            a, b = b, (a + int.from_bytes(said[:8], "big")) % side
        i = a * side + b
        if i < n:
            return i
"""

MISTAKES = [
    ("[*encode(text), end]", "list(encode(text))", "the end of a document is not to be seen"),
    ("[*encode(text), end]", "[end, *encode(text)]", "the ids in the file are not those of the documents"),
    ("np.array(ids, dtype=ID)", "np.array(ids, dtype='<i8')", "each id takes two bytes (found 8)"),
    ("np.array(ids, dtype=ID)", "np.array(ids, dtype='>u2')", "the high byte stands first"),
    ('for kind in ("tokens",', 'for kind in ("bin",', "there is no file some.jsonl.gz.tokens"),
    ("np.array(place, dtype=PLACE)", "np.array(place, dtype='<u4')", "eight bytes for each document"),
    ("np.array(place, dtype=PLACE)", "np.array(len(ids), dtype=PLACE)", "these are lengths, not places"),
    ("np.array(place, dtype=PLACE)", "np.array(place - len(ids), dtype=PLACE)", "where documents begin"),
    ("place += len(ids)", "place += len(ids) - 1", "the id `end` belongs to its document"),
    ("if record.exists() and", "if False and", "its documents were encoded again (found 4 of 4)"),
    ("        return False\n", "        return True\n", "make gives False when the shard was there"),
    ("if record.exists() and json.loads(record.read_text())[\"source\"] == checksum:", "if record.exists():",
     "the documents had changed, and their old tokens are still there"),
    ("    place = 0\n", "    place = 0\n    record.write_text(json.dumps({'source': checksum}))\n",
     "the next call takes what is there for a whole shard"),
    ("    record.unlink(missing_ok=True)  #", "    pass  #", "what says that it is whole is still there"),
    ("tokens[start : start + length - len(found)]", "tokens[start // 2 : start // 2 + length - len(found)]",
     "the window begins at byte number `start`"),
    ("start = max(0, start - n_here)", "start = n_here", "start 20, length 3: other ids"),
    ("start = max(0, start - n_here)", "start = 0", "start 30, length 10: other ids"),
    ("        start = max(0,", "        if found:\n            break\n        start = max(0,",
     "start 18, length 4: the window ends too early"),
    ('np.memmap(path, dtype=ID, mode="r")', "np.fromfile(path, dtype=ID)", "for 8 ids the whole file was read"),
    ("        if i < n:\n            return i", "        return i", "one outside them is read"),
    ("        if i < n:\n            return i", "        return i % n", "another never"),
    ("left, right = right, left ^ (scrambled(right ^", "left, right = right, left ^ (scrambled(left ^",
     "Each step of the function must be one that can be undone"),
    ("scrambled((seed * 0x9E3779B97F4A7C15 + number) & BITS_64) ^ epoch", "number ^ epoch",
     "another seed gives the same order"),
    ("& BITS_64) ^ epoch)", "& BITS_64))", "another epoch gives the same order"),
    ("    half = max", "    return (8 * i + seed) % n\n    half = max", "of 64 blocks, block 0 is read 8 times"),
    ("    half = max", "    return (i + seed + 3 * epoch) % n\n    half = max", "gives the same order, only moved on"),
    ("    half = max", "    return ((-i if seed else i) + 3 * epoch) % n\n    half = max", "only moved on"),
    ("    half = max", "    import random\n    order = list(range(n))\n    random.Random(f'{seed} {epoch}')"
     ".shuffle(order)\n    return order[i]\n    half = max", "for 50,000 blocks a list is kept"),
    ("    half = max", "    import random\n    order = list(range(n))\n    random.shuffle(order)\n    return order[i]\n"
     "    half = max", "another never"),
]  # fmt: skip


def test_another_sensible_form_passes(tmp_path: Path) -> None:
    assert problem_of("shards", OTHER, tmp_path) is None


@pytest.mark.parametrize(("right", "wrong", "named"), MISTAKES)
def test_mistakes_are_named(right: str, wrong: str, named: str, tmp_path: Path) -> None:
    assert RUNG.count(right) == 1, "the right form is to be found"
    problem = problem_of("shards", RUNG.replace(right, wrong), tmp_path)
    assert problem is not None
    assert named in problem
