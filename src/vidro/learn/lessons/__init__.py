"""The lessons, one percent script each: run by `vidro.learn.lesson_run`, never imported. Their order is in `path`."""
