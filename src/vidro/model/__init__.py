"""Ids to logits; knows no text. Read next: `attention`, then `transformer`."""
