"""Training from a config: the loop, the run directory, and what configs are built into."""
