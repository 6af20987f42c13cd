"""Tiny world: a village told by a grammar; the text of quickstart, and tasks with exact answers.

Stories (`story`, `stories`, `text`), how far a perfect model could get on them (`told`, `floor_bits_per_byte`),
labelled messages (`messages`), and instructions with exact answers (`instructions`). All of it is written by hand, is
the same on every machine for the same seed, and needs the standard library only.
"""

from vidro.data.tinyworld.instructions import KINDS, Instruction, instructions
from vidro.data.tinyworld.messages import Labelled, messages
from vidro.data.tinyworld.stories import Told, floor_bits_per_byte, stories, story, text, told

__all__ = [
    "KINDS", "Instruction", "Labelled", "Told", "floor_bits_per_byte", "instructions", "messages", "stories", "story",
    "text", "told",
]  # fmt: skip
