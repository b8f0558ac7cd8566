"""From the run store to one grid of rows, pairs and seeds."""
