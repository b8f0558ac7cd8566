"""How far the runs are: the status board, the live view."""
