"""A model that runs without this package, and the card that describes it: `t5x export`."""
