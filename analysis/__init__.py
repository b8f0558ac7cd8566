"""From records to the paper: pure functions that read the run store and nothing else."""
