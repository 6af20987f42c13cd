"""Strings to ids and back, without torch: tokenizers, special tokens, streaming decode. Read next: `tokenizer`."""
