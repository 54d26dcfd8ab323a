"""What a run writes down: its folder, its record, its history, its evaluations."""
