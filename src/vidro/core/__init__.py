"""Knows nothing of language: errors, shapes, files, events. Read next: `errors`."""
