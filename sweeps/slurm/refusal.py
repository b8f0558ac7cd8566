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
    "submitjob": "max_jobs",
    "job submit limit": "max_jobs",
}
"""Words of SLURM's message, in the order in which they are looked for -> field."""
LIMIT = ("submitjob", "job submit limit")


def refusal(reason: str) -> str:
    """One line: what SLURM says, the field of the cluster file to change, and the way without."""
    low = reason.lower()
    fields = ["max_jobs"] if any(word in low for word in LIMIT) else []
    fields += [field for word, field in FIELDS.items() if word in low]
    field = fields[0] if fields else "a field"
    return (
        f"SLURM refused the jobs: {reason}; change {field} in your cluster file (--cluster FILE or "
        "DSKD_CLUSTER=FILE; sweeps/clusters/default.yaml explains the fields), or train here: "
        "make sweep ARGS=--executor=local"
    )
