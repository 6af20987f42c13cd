"""Honest numbers: perplexity, yardsticks, memorisation, plots. Read next: `perplexity`."""
