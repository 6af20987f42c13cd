"""The ladder: one idea a file, each proved equal to the production code. Read next: `bpe`, `attention_1`."""
