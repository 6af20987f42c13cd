"""The exercises, one module each with an `EXERCISE`: graded by `vidro.learn.exercise`. Begin with `attention_3`."""
