"""The Python surface: `pretrain` a text, `load` a run, and the `Run` object that both return.

    run = vidro.pretrain("book.txt", minutes=10)
    print(run.generate("Once upon a time", temperature=0.9))
    vidro.load("last").plot()

Names and defaults are the command line's, because both are made from `config.schema` (`settings`). The command line
calls this package, never the other way. torch is imported by the first call that computes. Read next: `run`.
"""

from __future__ import annotations

from vidro.api.finetune import finetune
from vidro.api.importing import import_model
from vidro.api.planning import plan
from vidro.api.pretrain import pretrain
from vidro.api.run import Run, load

__all__ = ["Run", "finetune", "import_model", "load", "plan", "pretrain"]
