"""The run directory: what is on disk of a run, who holds it, where it came from."""
