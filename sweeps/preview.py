"""What a sweep would train, and with what: told without starting or writing a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from suite.config import RunSpec, Runtime
from suite.train.preflight import Findings
from sweeps.executors.local import with_pack, workers_for
from sweeps.slurm.arrays import student_arrays, teacher_arrays
from sweeps.slurm.cluster import Cluster
from sweeps.workers.worker import packs

ONE_ARRAY = 10**9  # jobs are counted, whatever arrays SLURM takes


def lines(
    specs: Sequence[RunSpec],
    findings: Findings,
    runtime: Runtime,
    cluster: Cluster | None,
    jobs: int | None,
) -> Iterator[str]:
    """Lines on the missing runs ``specs``: rows with their seeds, what is left out, the means."""
    possible = [spec for spec in specs if spec not in findings.faults]
    yield f"dry run: {len(possible)} runs would be trained, {len(findings.faults)} left out"
    yield from _rows(possible)
    yield from (f"memory: {note}" for note in findings.notes)
    reasons = ((spec.label, str(fault)) for spec, fault in findings.faults.items())
    yield from (f"left out: {label}: {reason}" for label, reason in dict.fromkeys(reasons))
    if possible:
        yield _on_slurm(possible, cluster) if cluster else _here(possible, runtime, jobs)
    yield "dry run: nothing was started"


def _rows(specs: Sequence[RunSpec]) -> Iterator[str]:
    rows: dict[str, list[str]] = {}
    for spec in specs:
        teacher, student = spec.config.teacher, spec.config.student.name
        pair = f"{teacher.name}/{student}" if teacher else student
        epochs = spec.config.train.epochs
        row = f"  {spec.role} {spec.label}: {pair}, {epochs} epochs, seeds"
        rows.setdefault(row, []).append(str(spec.config.seed))
    yield from (f"{row} {' '.join(seeds)}" for row, seeds in rows.items())


def _here(specs: Sequence[RunSpec], runtime: Runtime, jobs: int | None) -> str:
    workers = min(workers_for(runtime, jobs), len(specs))
    groups = list(packs(specs, with_pack(runtime, len(specs), workers)))
    largest = max(map(len, groups))
    return f"on this machine: {workers} workers, {len(groups)} packs of at most {largest} runs"


def _on_slurm(specs: Sequence[RunSpec], cluster: Cluster) -> str:
    teachers = [spec for spec in specs if spec.role == "teacher"]
    students = [spec for spec in specs if spec.role != "teacher"]
    trained = {spec.run_id for spec in teachers}

    def awaited(spec: RunSpec) -> str | None:
        run_id = spec.config.teacher.run_id if spec.config.teacher else None
        return run_id if run_id in trained else None

    arrays = student_arrays(students, awaited, cluster.runs_per_job, ONE_ARRAY)
    count = sum(len(it.tasks) for it in [*teacher_arrays(teachers, ONE_ARRAY), *arrays])
    return (
        f"on SLURM: {count} jobs, at most {cluster.max_jobs} at a time, {cluster.gpus} GPUs, "
        f"{cluster.cpus} cores, {cluster.memory_gb} GB and {cluster.minutes} minutes each; "
        "what has a job already gets no other"
    )
