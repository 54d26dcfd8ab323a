"""How a run runs: configuration, data, partitioning, optimizers, step, checkpoints, loop."""
