"""Which SLURM job trains which run, and what SLURM says of it.

``runs/<experiment>/jobs.jsonl`` has a line for every job that a sweep of the experiment submitted,
teachers' jobs included, so that launchers may come and go.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from suite.interface.errors import UserError

LEDGER = "jobs.jsonl"
ASK_TIMEOUT_SECONDS = 60.0
PREFIX = "dskd-bench"
"""How the names of all jobs begin."""
ALIVE = {
    *("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED"),
    *("REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "SIGNALING", "STAGE_OUT"),
}
"""SLURM's states of jobs that have not ended."""
AT_ONCE = 500  # job ids in one command line


class SlurmSilent(UserError):
    """SLURM did not answer."""


@dataclass(frozen=True)
class Job:
    """One job, or one task of an array."""

    id: str  # 123 or 123_4
    runs: tuple[str, ...]  # <experiment>/<run id>; none for the job that makes the report
    since: float  # when it was submitted, seconds since 1970
    user: str = field(default_factory=getpass.getuser)
    source: str = ""  # hash of the code it runs
    name: str = ""
    """Its name in SLURM, which ends in random digits: a number alone may be anybody's job, after
    SLURM was installed anew or in a run store that was copied from another cluster."""


def new_name(experiment: str) -> str:
    """A name for jobs that no other job has."""
    return f"{PREFIX} {experiment} {secrets.token_hex(6)}"


def add(runs_root: Path, experiment: str, jobs: Iterable[Job]) -> None:
    """Note jobs, safely on the disk when this returns."""
    path = runs_root / experiment / LEDGER
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"\n{json.dumps(asdict(job))}" for job in jobs) + "\n"
    with path.open("ab") as file:  # starts on a new line, even after a torn one
        file.write(lines.encode())
        file.flush()
        os.fsync(file.fileno())


def read(runs_root: Path, experiment: str = "*") -> list[Job]:
    """The jobs of an experiment, or of all, oldest first."""
    noted = [
        _parse(line, path.parent.name)
        for path in runs_root.glob(f"{experiment}/{LEDGER}")
        for line in path.read_bytes().splitlines()
    ]
    return sorted(filter(None, noted), key=lambda job: job.since)


def faults(runs_root: Path, experiment: str) -> list[str]:
    """One line when the experiment's list of jobs has damaged lines, else empty.

    Jobs whose lines are damaged are in SLURM all the same and can be found there by their names;
    leases keep their runs from being trained twice.
    """
    path = runs_root / experiment / LEDGER
    if not path.is_file():
        return []
    lines = enumerate(path.read_bytes().splitlines(), 1)
    damaged = [str(i) for i, line in lines if line and _parse(line, experiment) is None]
    if not damaged:
        return []
    return [
        f"damaged: {path}, line {', '.join(damaged)}: these jobs are not shown by status and not "
        f"ended by cancel; squeue --me lists those called {PREFIX} {experiment} ..."
    ]


def _parse(line: bytes, experiment: str) -> Job | None:
    """None for an empty or torn line. Older lines lack a name: all jobs then had the same one."""
    try:
        row = json.loads(line)
        job = Job(**{**row, "runs": tuple(row["runs"])})
        older = f"{PREFIX} {experiment}" if job.runs else f"{PREFIX} {experiment} report"
        return replace(job, name=job.name or older)
    except (ValueError, KeyError, TypeError):
        return None


def available() -> bool:
    """Whether this machine can submit to a SLURM whose controller answers."""
    if shutil.which("sbatch") is None or shutil.which("scontrol") is None:
        return False
    try:
        return " UP" in _ask("scontrol", "ping")
    except SlurmSilent:
        return False


def queued(jobs: Sequence[Job]) -> dict[str, str]:
    """Id -> state (PENDING, RUNNING, COMPLETING...) of those that are still in SLURM's queue.

    Raises :class:`SlurmSilent`.
    """
    if not jobs:
        return {}
    users = ",".join(sorted({job.user for job in jobs}))
    lines = _ask("squeue", "-h", "-r", "-u", users, "-o", "%i|%T|%u|%j").splitlines()
    return _states_of(jobs, [line.split("|", 3) for line in lines])


def still_queued(jobs: Sequence[Job]) -> list[Job]:
    """The jobs that are still in SLURM's queue. Raises :class:`SlurmSilent`."""
    states = queued(jobs)
    return [job for job in jobs if job.id in states]


def _states_of(jobs: Sequence[Job], rows: Iterable[Sequence[str]]) -> dict[str, str]:
    """Id -> state of those whose id, user and name SLURM knows; rows: id, state, user, name."""
    known = {(row[0], *row[2:]): row[1] for row in rows if len(row) == 4}
    named = {job.id: (job.id, job.user, job.name) for job in jobs}
    return {id_: known[key] for id_, key in named.items() if key in known}


def state(job_id: str) -> str | None:
    """SLURM's state of one job in its queue; None when it is not there or nobody answers."""
    try:
        return _ask("squeue", "-h", "-j", job_id, "-o", "%T").strip() or None
    except SlurmSilent:
        return None


def ended(jobs: Sequence[Job]) -> dict[str, str]:
    """Id -> how it ended (``CANCELLED by 0``, ``NODE_FAIL``, ``OUT_OF_MEMORY``...), as far as
    SLURM's accounting knows; empty without accounting.
    """
    rows: list[list[str]] = []
    ids = sorted({job.id.partition("_")[0] for job in jobs})
    for start in range(0, len(ids), AT_ONCE):
        batch = ",".join(ids[start : start + AT_ONCE])
        try:
            text = _ask("sacct", "-X", "-n", "-P", "-o", "JobID,State,User,JobName", "-j", batch)
        except SlurmSilent:
            continue
        rows += [line.split("|", 3) for line in text.splitlines()]
    return _states_of(jobs, rows)


def cancel(jobs: Sequence[Job], *, pending_only: bool = False) -> None:
    """Take jobs out of the queue; those that run save first. Raises :class:`SlurmSilent`."""
    ids = [job.id for job in jobs]
    which = ["--state=PENDING"] if pending_only else []
    for start in range(0, len(ids), AT_ONCE):
        _ask("scancel", *which, *ids[start : start + AT_ONCE])


def max_array_size() -> int:
    """How many tasks the cluster allows in one array."""
    for line in _ask("scontrol", "show", "config").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize":
            return max(1, int(value))
    return 1001  # SLURM's default


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ASK_TIMEOUT_SECONDS, check=True
        )
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split())
        raise SlurmSilent(f"{command[0]}: {reason or f'exit status {error.returncode}'}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmSilent(f"{command[0]}: {error}") from None
    return done.stdout
