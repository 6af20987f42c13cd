"""``vidro data show FILE --as instruct``: one batch of instructions, token by token, as the loss sees it.

The prompt is dim, what is learned is green, the end token yellow, padding is told by its length. Without colours a
learned text stands in «…». Not here: making the batch (`data/collate`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.cli.terminal import note, print_json, show, table
from vidro.core.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from vidro.data.collate import Example
    from vidro.text.tokenizer import Tokenizer

ROWS = 4


def show_batch(file: str, run: str, style: str | None, *, json: bool) -> int:
    """The first rows that fit the run's context, padded to one batch: ids, targets, and what is counted."""
    from vidro.api.run import load
    from vidro.data.collate import IGNORE, collate, fit_lengths, make_example
    from vidro.data.instructions import read_instructions
    from vidro.text.styles import default_style, get_style, special_id

    opened = load(run)
    tokenizer, own = opened.tokenizer, opened.style
    if own is not None and style is not None:
        raise UsageError(f"this run answers in the style {own.name}", where="style", hint="Leave --style out.")
    chosen = own or get_style(style or default_style(tokenizer), tokenizer)
    rows = read_instructions(Path(file), skip_empty=True)
    made = [make_example(chosen, tokenizer, row) for row in rows.rows]
    end_id, context = special_id(tokenizer, chosen.end_token), opened.config.context_length
    kept, n_dropped, _ = fit_lengths(made, context, end_id=end_id)
    batch = kept[:ROWS]
    pad = tokenizer.padding_id
    ids, targets = collate(batch, pad_id=pad)
    if json:
        print_json({"style": chosen.name, "ids": ids.tolist(), "targets": targets.tolist(), "n_dropped": n_dropped})
        return 0
    for message in rows.notes:
        note(message)
    note(f"Style {chosen.name}; {len(kept):,} of {len(made):,} rows fit {context} tokens. The first {len(batch)}:")
    longest = ids.shape[1]
    for example in batch:
        show(coloured(example, tokenizer, end_id, n_padding=longest - example.n_inputs), "")
    grid = table("row", "read", "learned", "padding", right=("row", "read", "learned", "padding"))
    for number, example in enumerate(batch, start=1):
        learned = int((targets[number - 1] != IGNORE).sum())
        grid.add_row(str(number), str(example.n_inputs), str(learned), str(longest - example.n_inputs))
    total = int((targets != IGNORE).sum())
    grid.add_row(
        "all", str(sum(one.n_inputs for one in batch)), str(total), str(ids.size - sum(one.n_inputs for one in batch))
    )
    show(grid)
    print(f"The loss is divided by {total}: targets that are not −100. Each target is the next token.")
    return 0


def coloured(example: Example, tokenizer: Tokenizer, end_id: int, *, n_padding: int) -> Text:
    """The text of an example, its parts told apart."""
    from rich.text import Text

    from vidro.api.words import visible

    plain = not sys.stdout.isatty()
    names = {number: name for name, number in tokenizer.special_ids.items()}
    line = Text()
    for learned, ids in stretches(example):
        if plain and learned:
            line.append("«")
        for piece in pieces(ids, names, tokenizer):
            end = piece == names.get(end_id)
            line.append(visible(piece), style="bold yellow" if end and learned else "green" if learned else "dim")
        if plain and learned:
            line.append("»")
    if n_padding:
        line.append(f" +{n_padding} padding", style="dim italic")
    return line


def stretches(example: Example) -> list[tuple[bool, list[int]]]:
    """Neighbouring ids that are learned, or only read."""
    found: list[tuple[bool, list[int]]] = []
    for number, learned in zip(example.ids, example.learned, strict=True):
        if not found or found[-1][0] != learned:
            found.append((learned, []))
        found[-1][1].append(number)
    return found


def pieces(ids: list[int], names: dict[int, str], tokenizer: Tokenizer) -> list[Any]:
    """Texts of the ids, special tokens by their names."""
    found: list[str] = []
    waiting: list[int] = []
    for number in [*ids, None]:
        if number is None or number in names:
            if waiting:
                found.append(tokenizer.decode(waiting))
                waiting = []
            if number is not None:
                found.append(names[number])
        else:
            waiting.append(number)
    return found
