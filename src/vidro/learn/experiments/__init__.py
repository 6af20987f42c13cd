"""Experiments: a question about language models, answered by measuring, in minutes and on an ordinary computer.

`registry` names them all. Each is a module with one function, `run(request) -> Report`. Every budget is in steps or in
tokens and every seed is fixed, so a slower machine needs longer and finds the same. Not here: how a report looks on a
terminal (`cli/experiment`); measured results (`docs/experiments.md`).
"""
