"""The prompt bank of many tasks: its leaves, choosing and joining tasks, `t5x bank`."""
