"""What SLURM knows and gets: jobs, arrays, what a cluster offers, the copy of the code."""
