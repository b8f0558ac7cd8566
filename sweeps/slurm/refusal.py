"""What to do when SLURM refuses a job: SLURM's own words, and the field that they are about."""

from __future__ import annotations

FIELDS = {
    "generic resource": "gpus",
    "gres": "gpus",
    "invalid account": "account",
    "partition": "partition",
    "qos": "qos",
    "feature": "constraint",
    "memory": "memory_gb",
    "time limit": "minutes",
    "cpu count": "cpus",
    "node configuration": "gpus, cpus or memory_gb",
}
"""Words of SLURM's message, in the order in which they are looked for -> field."""
LIMIT = ("submitjob", "job submit limit")


def refusal(reason: str) -> str:
    """One line: SLURM's message, the field of the cluster file to change, or how to do without."""
    lowered = reason.lower()
    fields = [field for word, field in FIELDS.items() if word in lowered]
    change = f"change {fields[0] if fields else 'a field'} in"
    if any(word in lowered for word in LIMIT):
        change = (
            "those submitted before stay, and the same command submits the rest when some have "
            "ended; for fewer jobs raise runs_per_job (a search: lower max_jobs) in"
        )
    return (
        f"SLURM refused the jobs: {reason}; {change} your cluster file (--cluster FILE or "
        "DSKD_CLUSTER=FILE; sweeps/clusters/default.yaml explains the fields), or train here: "
        "make sweep ARGS=--executor=local"
    )
