"""An `Explanation` as plain text that a beginner can follow: seven steps, aligned columns, at most 100 wide.

Not here: the numbers (`explain`), colours (the command line may grey what is cut).
"""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Sequence

import numpy as np

from vidro.infer.explain import Explanation

WIDTH = 100
_CUT = "cut"


def render(explanation: Explanation, *, candidates: int = 8, tokens: int = 10, numbers: int = 3) -> str:
    """The steps from text to the next token.

    `candidates`: rows in the table of probabilities; `tokens`: how many of the last tokens are listed; `numbers`: how
    many of each vector's numbers are shown.
    """
    steps = [
        _tokens(explanation, tokens),
        _embeddings(explanation, tokens, numbers),
        _blocks(explanation),
        _logits(explanation),
        _probabilities(explanation, candidates),
        _choice(explanation),
        _append(explanation),
    ]
    parts = ["How the next token is made. Every number is real: this model, this text, this moment."]
    for number, (title, lines) in enumerate(steps, start=1):
        wrapped = [part for line in lines for part in (_wrap(line) if len(line) > WIDTH - 3 else [line])]
        parts.append("\n".join([f"{number}  {title}", *(f"   {line}".rstrip() for line in wrapped)]))
    return "\n\n".join(parts) + "\n"


def _tokens(e: Explanation, tokens: int) -> tuple[str, list[str]]:
    rows = [[str(place), str(number), quoted(piece)] for place, number, piece in _last_places(e, tokens)]
    lines = ["The tokenizer cuts the text into pieces it knows; each piece has a number, its id.", ""]
    if e.marked:
        lines[1:1] = ["The first is the end mark of the document before: in training every text began after one."]
    return "Text → tokens", [*lines, *_skipped(e, tokens), *table(["place", "id", "token"], rows, left=(2,))]


def _embeddings(e: Explanation, tokens: int, numbers: int) -> tuple[str, list[str]]:
    width = e.config.d_model
    dots = " …" if numbers < width else ""
    parts: list[tuple[str, np.ndarray]] = [("token embedding", e.token_vectors)]
    lines = [f"Each id has its own row of {width} numbers, learned in training; the first {numbers} are shown."]
    if e.position_vectors is None:
        lines += [
            "The place of a token enters inside the blocks: there each query and key is turned by an angle "
            "that grows with the place (rotary positions). Nothing is added here."
        ]
    else:
        lines += ["Each place has such a row too. Their sum goes into the first block: what, and where."]
        parts += [("+ position", e.position_vectors), ("= sum", e.token_vectors + e.position_vectors)]
    rows = [
        [str(place), quoted(piece, 14), *(_vector(array[place], numbers) + dots for _, array in parts)]
        for place, _, piece in _last_places(e, tokens)
    ]
    body = table(["place", "token", *(name for name, _ in parts)], rows, left=(1,))
    return "Ids → vectors", [*lines, "", *_skipped(e, tokens), *body]


def _blocks(e: Explanation) -> tuple[str, list[str]]:
    many = f"{e.config.n_layers} block{'' if e.config.n_layers == 1 else 's'}"
    lines = [
        "Each block lets every token look back (attention) and then think alone (feed-forward), and adds "
        "what it found to the token's vector. Followed here: the last token, which predicts the next; the "
        "right column asks steps 4 and 5 already after this block.",
        "",
    ]
    rows = [["the input", f"{e.input_norm:.2f}", "", ""]]
    for number, block in enumerate(e.blocks, start=1):
        look = f"{quoted(e.pieces[block.looks_at], 14)} at {block.looks_at}, {percent(block.look_share)}"
        guess = f"{quoted(e.named[block.guess], 14)} {percent(block.guess_probability)}"
        rows.append([f"block {number}", f"{block.norm:.2f}", look, guess])
    if len(rows) > 1 + 16:
        rows = [*rows[:5], ["…", "", "", ""], *rows[-8:]]
    header = ["after", "length of vector", "looks most at", "would say already"]
    return f"Through {many}", [*lines, *table(header, rows, left=(0, 2, 3))]


def _logits(e: Explanation) -> tuple[str, list[str]]:
    best, worst, size = int(e.logits.argmax()), float(e.logits.min()), len(e.logits)
    shown = _vector(e.last_vector, 6) + (" …" if len(e.last_vector) > 6 else "")
    return "Last vector → scores (logits)", [
        f"The last token's vector, normalised: {shown}",
        f"It is multiplied with {size:,} rows of {len(e.last_vector)} numbers, one row per token of the vocabulary.",
        f"That gives {size:,} scores: the highest {e.logits[best]:.2f} for {quoted(e.named[best])}, "
        f"the lowest {worst:.2f}.",
    ]


def _probabilities(e: Explanation, candidates: int) -> tuple[str, list[str]]:
    lines = ["Softmax turns scores into probabilities: e to the score, divided by the sum of all of these."]
    best = int(e.logits.argmax())
    if abs(float(e.logits.max())) < 300:  # e to more than that is no number to look at
        power, total = math.exp(e.logits[best]), float(np.exp(e.logits.astype(np.float64)).sum())
        share = percent(float(e.stages[0].probabilities[best]))
        lines += [f"{quoted(e.named[best])}: e^{e.logits[best]:.2f} = {power:.4g}, of {total:.4g} in all, is {share}."]
    if len(e.stages) > 1:
        lines += ["Then the filters, in this order; what is cut has probability 0, and the rest shares its part."]
    first = ["", "id", "token", "logit", *(stage.label.split(" ")[0].replace("÷", "temper-") for stage in e.stages)]
    second = ["", "", "", "", *(_value(stage.label) for stage in e.stages)]
    rows = [second] if any(second) else []
    for number in e.best(candidates):
        shares = [float(stage.probabilities[number]) for stage in e.stages]
        cells = [percent(share) if share > 0 else _CUT for share in shares]
        mark = "→" if number == e.chosen else ""
        rows.append([mark, str(number), quoted(e.named[number], 14), f"{e.logits[number]:.2f}", *cells])
    rows.append(["", "", "tokens left", "", *(f"{stage.n_left:,}" for stage in e.stages)])
    return "Scores → probabilities → filters", [*lines, "", *table(first, rows, left=(2,))]


def _choice(e: Explanation) -> tuple[str, list[str]]:
    name = quoted(e.named[e.chosen])
    if e.u is None:
        return "The choice", [f"Greedy: the most probable token is taken, {name}."]
    start, end = e.chosen_span
    return "The draw", [
        "The tokens left lie side by side on a line from 0 to 1, by id, each as long as its probability.",
        f"Dice with seed {e.seed} fall on {e.u:.4f}: that is {name}, which lies from {start:.4f} to {end:.4f}.",
    ]


def _append(e: Explanation) -> tuple[str, list[str]]:
    if e.chosen_ends:
        return "Id → end", [f"Id {e.chosen} is the end mark: the model says that the text is over."]
    before = _tail(e.prompt, 36)
    after = _tail(e.prompt + e.chosen_text, 36 + len(e.chosen_text))
    return "Id → text, appended", [
        f"{quoted(before, 60)} and {quoted(e.named[e.chosen])} make {quoted(after, 60)}.",
        "The longer text goes in again at step 1, and the next token comes out: that is all there is to it.",
    ]


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH - 3, break_on_hyphens=False)


def _last_places(e: Explanation, tokens: int) -> list[tuple[int, int, str]]:
    return list(zip(range(len(e.ids)), e.ids, e.pieces, strict=True))[-tokens:]


def _skipped(e: Explanation, tokens: int) -> list[str]:
    hidden = len(e.ids) - tokens
    return [f"(the last {tokens} of {len(e.ids)} tokens)"] if hidden > 0 else []


def _value(label: str) -> str:
    """What follows the first word of a filter's label: "ature 0.8" under "temper-", "40" under "top-k"."""
    return label.partition(" ")[2].replace("temperature", "ature")


def _tail(text: str, length: int) -> str:
    return text if len(text) <= length else "…" + text[-length:]


def _vector(values: Sequence[float] | np.ndarray, count: int) -> str:
    return " ".join(f"{value:6.2f}" for value in values[:count])


def percent(share: float) -> str:
    """A probability for people: "42.1 %", and never a false zero.

    >>> percent(0.4213), percent(0.00004), percent(1.0)
    ('42.1 %', '<0.1 %', '100.0 %')
    """
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def quoted(piece: str, width: int = 24) -> str:
    """A token between quotes, on one line, no wider than `width` columns.

    >>> quoted(" time"), quoted("a\\nb"), quoted("abcdefghij", 8)
    ('" time"', '"a\\\\nb"', '"abcde…"')
    """
    text = piece.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    if display_width(text) + 2 > width:
        while display_width(text) + 3 > width:
            text = text[:-1]
        text += "…"
    return f'"{text}"'


def display_width(text: str) -> int:
    """Columns a text takes in a terminal: two for East Asian wide letters, none for combining marks."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = ()) -> list[str]:
    """Aligned lines, two spaces between columns; numbers to the right, the columns of `left` to the left."""
    everything = [header, *rows]
    widths = [max(display_width(row[column]) for row in everything) for column in range(len(header))]

    def cell(text: str, column: int) -> str:
        space = " " * (widths[column] - display_width(text))
        return text + space if column in left else space + text

    return ["  ".join(cell(text, column) for column, text in enumerate(row)).rstrip() for row in everything]
