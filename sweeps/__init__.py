"""Which runs: recipes and experiments as data, and thin launchers."""
