"""Where workers run: in processes of this machine or as SLURM jobs."""
