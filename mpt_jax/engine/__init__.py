"""How a run runs: partitioning, optimizers, step, checkpoints, loop."""
