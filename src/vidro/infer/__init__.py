"""Generating: ids (`decode`), text (`session`), one token slowly (`explain`), turns (`chat`). Read next: `decode`."""
