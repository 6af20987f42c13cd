"""Generating: logits to ids (`decode`), text to text (`session`). Read next: `decode`."""
