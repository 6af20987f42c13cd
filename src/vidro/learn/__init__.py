"""The ladder: one idea a file, each proved equal to the production code, with lessons and exercises about it.

`path` is the list of lessons. Read next: `words`, `attention_1`, and the lesson of the latter in `lessons/`.
"""
