"""Training: optimizers, schedule, one step, one loop, and what wires them. Read next: `step`, then `loop`."""
