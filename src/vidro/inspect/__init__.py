"""The inside of a model as arrays, for pages and plots. Read next: `probes`."""
