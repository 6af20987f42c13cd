"""What a model has read, in words: the line a chat opens with, prompts that suit it, words it never met.

A base model continues text; it knows nothing but its training text. Saying so, and offering openings from that very
text, is kinder than letting people ask it about the world.

Not here: the chat itself (`chat`), how much generated text is copied (`evals/memorisation`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_LONGEST_LABEL = 30


def opening_line(texts: Sequence[tuple[str, int]]) -> str:
    """What the model has read: (name, bytes) of each training text, in the order it was read.

    >>> opening_line([("tinyshakespeare", 1_115_394)])
    'This model has read 1.1 MB of tinyshakespeare and nothing else.'
    """
    if not texts:
        return "What this model has read is not recorded."
    parts = [f"{human_bytes(n_bytes)} of {name}" for name, n_bytes in texts]
    return f"This model has read {', then '.join(parts)}{',' if len(parts) > 1 else ''} and nothing else."


def texts_read(*records: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(name, bytes) of what these runs were trained on, from their ``vidro.json``, the first parent first."""
    found = [record["data"] for record in records if record.get("data") is not None]
    return [(data["name"], data["train_bytes"]) for data in found if "train_bytes" in data]


def taught_line(record: Mapping[str, Any]) -> str:
    """How a chat with a model opens that was taught to answer: on what, in which style.

    >>> taught_line({"data": {"name": "tasks.json", "n_train": 3798}, "prompt_style": "chatml"})
    'Then it learned to answer from 3,798 rows of tasks.json (style chatml).'
    """
    if "imported" in record:
        return f"It was imported from {record['imported']['source']} (style {record['prompt_style']})."
    data = record["data"]
    return (
        f"Then it learned to answer from {data['n_train']:,} rows of {data['name']} (style {record['prompt_style']})."
    )


def introduction(texts: Sequence[tuple[str, int]], prompts: Sequence[str]) -> str:
    """How a chat with a base model opens: what it has read, what it does, and beginnings that suit it."""
    lines = [opening_line(texts), "It does not answer; it continues what you write. An empty line lets it write on."]
    if prompts:
        lines += ["Beginnings that suit it:", *(f"  {prompt.strip()}" for prompt in prompts)]
    return "\n".join(lines)


def human_bytes(n_bytes: int) -> str:
    """A size as people say it, in powers of a thousand.

    >>> human_bytes(999), human_bytes(20_479), human_bytes(68_700_000)
    ('999 bytes', '20 kB', '69 MB')
    """
    if n_bytes < 1000:
        return "1 byte" if n_bytes == 1 else f"{n_bytes} bytes"
    value, unit = float(n_bytes), "bytes"
    for name in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, name
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def suggest_prompts(text: str, *, count: int = 3, n_words: int = 4) -> list[str]:
    """Up to `count` beginnings of paragraphs of the training text, different in their first word.

    Beginnings that come more than once ("Once upon a time", "ROMEO:") first, the most frequent at the head; then
    others from places evenly spread over the text. The same text gives the same prompts.
    """
    openings = [opening for paragraph in re.split(r"\n\s*\n", text) if (opening := _opening(paragraph, n_words))]
    frequent = [opening for opening, times in Counter(openings).most_common(20 * count) if times > 1]
    spread = [openings[(2 * i + 1) * len(openings) // (8 * count)] for i in range(4 * count)] if openings else []
    chosen: dict[str, str] = {}
    for opening in (*frequent, *spread):
        chosen.setdefault(_WORD.findall(opening)[0].casefold(), opening)
    return list(chosen.values())[:count]


def _opening(paragraph: str, n_words: int) -> str | None:
    """The speaker's line of a play, or the first words of a sentence; nothing for headings and rules."""
    first = paragraph.strip().split("\n", 1)[0].strip()
    if first.endswith(":") and len(first) <= _LONGEST_LABEL and _WORD.search(first):
        return first + "\n"
    words = first.split()
    if len(words) <= n_words or first.isupper() or not first[0].isalpha():
        return None
    opening = " ".join(words[:n_words])
    return opening if not any(mark in opening for mark in "<>{}[]|*_=#") else None


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each word (letters and digits, case folded) stands in the texts."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words_of(text))
    return counts


def words_of(text: str) -> list[str]:
    """The words of a text, case folded, one apostrophe form.

    >>> words_of("Don’t PANIC, 42!")
    ["don't", 'panic', '42']
    """
    return [word.replace("’", "'").casefold() for word in _WORD.findall(text)]


def unknown_words(question: str, known_words: Mapping[str, int], *, at_most: int = 0) -> list[tuple[str, int]]:
    """The words of `question`, each once, that the training text has at most `at_most` times, with that count.

    `known_words` comes from `count_words` of the training text.
    """
    counts = {word: known_words.get(word, 0) for word in words_of(question)}
    return [(word, times) for word, times in counts.items() if times <= at_most]


def unknown_words_line(unknown: Sequence[tuple[str, int]]) -> str | None:
    """One line that marks these words with their counts; None where there are none.

    >>> unknown_words_line([("computer", 0), ("moon", 2)])
    'In its training text: computer 0 times, moon 2 times. What it says about these is a guess.'
    """
    if not unknown:
        return None
    marked = ", ".join(f"{word} {times} time{'' if times == 1 else 's'}" for word, times in unknown)
    return f"In its training text: {marked}. What it says about {'this' if len(unknown) == 1 else 'these'} is a guess."
