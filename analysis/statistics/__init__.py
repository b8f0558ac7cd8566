"""What varies between runs, and what may therefore be said of the differences between methods."""
