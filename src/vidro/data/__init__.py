"""From files to batches: documents, corpora, splits, shards, windows. Knows no model. Read next: `documents`."""
