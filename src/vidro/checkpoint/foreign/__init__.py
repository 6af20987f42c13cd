"""Models made elsewhere, in every form that is read. Read next: `model`."""
