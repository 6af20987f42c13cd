"""Exercise for bpe: joining, learning what to join, and reading with it.

Encoding is where most first attempts go wrong: joins must be made in the order in which they were learned, not the
longest first and not from the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vidro.learn.adapt import build
from vidro.learn.exercise import Exercise, Solution, Step, Wrong

STUB = '''\
"""Exercise bpe: byte-pair encoding. Check it with: vidro learn check bpe FILE"""


def join(ids, pair, number):
    """The ids with every occurrence of `pair` replaced by `number`, from the left."""
    raise NotImplementedError


class BPE:
    """What was learned; it encodes and decodes."""

    def encode(self, text):
        # Cut into words, turn each into its bytes, and make the joins in the order in which they were learned.
        raise NotImplementedError

    def decode(self, ids):
        # Put the bytes together, then read them as UTF-8.
        raise NotImplementedError


def train(text, n_merges):
    """A BPE that learned `n_merges` joins: the most frequent pair first, numbered from 256 on."""
    # Cut into words first, a blank with the word after it: re.findall(r" ?[^\\W\\d_]+|\\s|.", text) is a beginning.
    raise NotImplementedError
'''

CLASSES = ("BPE", "BPETokenizer", "BPETokenizerSimple", "BasicTokenizer", "Tokenizer")
JOINS = ("join", "merge", "replace_pair", "merge_pair")


def joined(solution: Solution, ids: Sequence[int], pair: tuple[int, int], number: int) -> list[int]:
    """The reader's `join`, a function of the file or of its class."""
    kind = next((getattr(solution.module, name) for name in CLASSES if hasattr(solution.module, name)), None)
    method = next((getattr(kind, name) for name in JOINS if hasattr(kind, name)), None)
    found = any(hasattr(solution.module, name) for name in JOINS)
    answer = (method if method is not None and not found else solution.get(*JOINS))(ids, pair, number)
    if not isinstance(answer, list | tuple):
        raise Wrong("join must give a list of ids", found=answer)
    return list(answer)


def trained(solution: Solution, text: str, n_merges: int) -> Any:
    """The reader's tokenizer after learning from a text: from `train`, or from a class with a method `train`."""
    sizes = {"texts": [text], "text": text, "n_merges": n_merges, "num_merges": n_merges, "vocab_size": 256 + n_merges}
    train = getattr(solution.module, "train", None)
    if callable(train):
        bpe = build(train, **sizes)
    else:
        bpe = build(solution.get("train", *CLASSES), **sizes)
        if hasattr(bpe, "train"):
            build(bpe.train, **sizes)
    if not (hasattr(bpe, "encode") and hasattr(bpe, "decode")):
        hint = "Return an object of your class."
        raise Wrong("what was trained cannot encode and decode", found=type(bpe).__name__, hint=hint)
    return bpe


def encoded(bpe: Any, text: str) -> list[int]:
    """The ids of a text as a list."""
    ids = bpe.encode(text)
    if not isinstance(ids, list | tuple) or not all(isinstance(number, int) for number in ids):
        raise Wrong("encode must give a list of whole numbers", found=ids)
    return list(ids)


def a_pair_is_joined(solution: Solution) -> None:
    """Everywhere, and nothing else."""
    cases = [((1, 2, 3, 1, 2), [256, 3, 256]), ((3, 1, 4), [3, 1, 4]), ((2, 1, 2), [2, 256]), ((5,), [5])]
    for ids, expected in cases:
        found = joined(solution, ids, (1, 2), 256)
        if found != expected:
            raise Wrong(f"1, 2 joined to 256 in {list(ids)}", found=found, expected=expected)


def pairs_do_not_overlap(solution: Solution) -> None:
    """7, 7, 7 holds one pair of sevens, the left one, and a seven."""
    for ids, expected in [((7, 7, 7, 5), [256, 7, 5]), ((7, 7, 7, 7), [256, 256])]:
        found = joined(solution, ids, (7, 7), 256)
        if found != expected:
            hint = "After a join go on behind both of its halves."
            raise Wrong(f"7, 7 joined to 256 in {list(ids)}", found=found, expected=expected, hint=hint)


def the_commonest_is_learned_first(solution: Solution) -> None:
    """One join, of `ab`, which is the commonest."""
    bpe = trained(solution, "ab\nab\nab\ncd\ncd\nabab", 1)
    if encoded(bpe, "ab") != [256]:
        raise Wrong('"ab" is the commonest pair of the text, so one join makes it 256', found=encoded(bpe, "ab"))
    if encoded(bpe, "cd") != [99, 100]:
        raise Wrong('"cd" was not joined yet: its two bytes', found=encoded(bpe, "cd"), expected=[99, 100])
    second = encoded(trained(solution, "abc\nabc\nabc\nab", 2), "abc")
    if second != [257]:
        hint = "Join in all pieces, then count everything again."
        raise Wrong('a second join takes up the first: "abc" = 256 + "c"', found=second, expected=[257], hint=hint)


def first_learned_first_joined(solution: Solution) -> None:
    """`bc` was learned before `ab`: in `abc` it wins."""
    bpe = trained(solution, "bc\nbc\nbc\nab\nab", 2)
    found = encoded(bpe, "abc")
    if found == [257, 99]:
        hint = "Of the pairs in a word, join the one that was learned first, and look again."
        raise Wrong('"bc" was learned before "ab", but in "abc" the left pair was joined', hint=hint)
    if found != [97, 256]:
        raise Wrong('"abc" after learning "bc" and then "ab"', found=found, expected=[97, 256])


def words_stay_apart(solution: Solution) -> None:
    """No token reaches over a blank into the next word."""
    bpe = trained(solution, "on it " * 30, 12)
    found = encoded(bpe, "on it")
    if len(found) < 2:
        hint = "Cut the text into words first, and count pairs inside of each."
        raise Wrong('"on it" became one token, half of two words', found=found, hint=hint)


def everything_can_be_read(solution: Solution) -> None:
    """Letters that were never seen, signs, line ends: bytes can write it all."""
    bpe = trained(solution, "low lower lowest", 4)
    for text in ("slower lows", "", "  two  blanks ", "ação 玻璃 👍 ☃", "line\n\nline\t1999, isn't it_?"):
        ids = encoded(bpe, text)
        over = [number for number in ids if not 0 <= number < 260]
        if over:
            raise Wrong(f"after 4 joins ids are below 260; {text!r} gave others", found=over)
        if bpe.decode(ids) != text:
            hint = "Does the pattern that cuts words drop something? Are they bytes, not characters?"
            raise Wrong("the text did not come back", found=repr(bpe.decode(ids)), expected=repr(text), hint=hint)


def half_a_character_is_no_end(solution: Solution) -> None:
    """A model may stop inside a character."""
    bpe = trained(solution, "low lower lowest", 4)
    try:
        found = bpe.decode([195])
    except UnicodeDecodeError:
        hint = 'errors="replace" writes � for what is no character yet.'
        raise Wrong("195 is the first half of “é”, and decode([195]) stops there", hint=hint) from None
    if not isinstance(found, str):
        raise Wrong("decode must give text", found=type(found).__name__)
    if bpe.decode([195, 169]) != "é":
        raise Wrong("195, 169 are the bytes of “é”", found=repr(bpe.decode([195, 169])))


EXERCISE = Exercise(
    "bpe",
    STUB,
    (
        Step("a pair is joined wherever it occurs", a_pair_is_joined),
        Step("pairs that overlap are joined from the left", pairs_do_not_overlap),
        Step("the commonest pair is learned first", the_commonest_is_learned_first),
        Step("what was learned first is joined first", first_learned_first_joined),
        Step("no token is half of two words", words_stay_apart),
        Step("everything can be read and comes back", everything_can_be_read),
        Step("half a character does not stop it", half_a_character_is_no_end),
    ),
    solution="vidro.learn.bpe",
)
