"""Strings to ids and back, without torch.

`tokenizer` is the one class everybody uses; `train` makes one from a text, `foreign` reads other people's, `stream`
decodes token by token, `describe` shows what a vocabulary is like. Below them: `special` (reserved names), `patterns`
(how a text is cut before merging), `layout` (the parts of a `tokenizer.json`), `fast` (the quick engines and when they
may be used). Read next: `tokenizer`.
"""
