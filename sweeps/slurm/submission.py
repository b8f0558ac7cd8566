"""Submits arrays of jobs through submitit and writes down, at once, which job has which runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError

from suite.config import RunSpec, Runtime
from suite.interface.errors import UserError
from suite.store.states import directory_of, failed_since, teacher_directories
from sweeps.slurm import jobs, snapshot
from sweeps.slurm.arrays import Array, lanes, student_arrays, teacher_arrays
from sweeps.slurm.cluster import Cluster
from sweeps.slurm.private import private
from sweeps.slurm.refusal import refusal
from sweeps.slurm.snapshot import Snapshot
from sweeps.slurm.task import Once, Task
from sweeps.workers.job import Job
from sweeps.workers.source import RunList, Work

REQUEUES = 1000  # submitit counts time limits and gives up after 3 otherwise


@dataclass(frozen=True)
class Submission:
    """What one command submits for an experiment or a search."""

    experiment: str
    runtime: Runtime
    cluster: Cluster
    max_size: int  # of an array
    code: Snapshot

    @classmethod
    def prepare(cls, experiment: str, runtime: Runtime, cluster: Cluster) -> Submission:
        """Copy the code. Raises :class:`sweeps.slurm.jobs.SlurmSilent`."""
        shared = cluster.share_jobs_with_group
        code = snapshot.take(runtime.runs_root / experiment, group=shared)
        return cls(experiment, runtime, cluster, jobs.max_array_size(), code)

    def runs(self, specs: Sequence[RunSpec], cover: Mapping[RunSpec, jobs.Job]) -> list[jobs.Job]:
        """Submit teachers, then students: at once if ``max_jobs`` allows, else one by one.

        ``cover`` says which runs have a job already.
        """
        teachers = [spec for spec in specs if spec.role == "teacher"]
        students = [spec for spec in specs if spec.role != "teacher"]
        taught = [spec for spec in teachers if spec.config.teacher is not None]
        first = [spec for spec in teachers if spec.config.teacher is None]
        jobs_of = {spec.run_id: job.id for spec, job in cover.items()}
        submitted = self._in_lanes(teacher_arrays(first, self.max_size), [])
        for depth in sorted({len(spec.ancestors) for spec in taught}):  # assistants in their order
            of_depth = [spec for spec in taught if len(spec.ancestors) == depth]
            submitted += self._behind(of_depth, jobs_of, submitted, 1)
        return submitted + self._behind(students, jobs_of, submitted, self.cluster.runs_per_job)

    def _behind(
        self,
        specs: Sequence[RunSpec],
        jobs_of: dict[str, str],
        before: Sequence[jobs.Job],
        runs_per_job: int,
    ) -> list[jobs.Job]:
        """Submit runs that wait for the jobs of their teachers, which may be among ``before``."""
        jobs_of |= {run.partition("/")[2]: job.id for job in before for run in job.runs}
        arrays = student_arrays(
            specs, lambda spec: self._awaited(spec, jobs_of), runs_per_job, self.max_size
        )
        return self._in_lanes(arrays, before)

    def copies(self, work: Work, count: int) -> list[jobs.Job]:
        """Submit ``count`` workers of the same work."""
        tasks = [Task(Job.of(work, self.runtime), self.code)] * count
        return self._submit(tasks, self.experiment, [(queue_of(work.experiment),)] * count, count)

    def last(self, action: Callable[[], None], after: Sequence[jobs.Job]) -> list[jobs.Job]:
        """A job on one core, once all others have ended, well or not."""
        one_core = self.runtime.model_copy(update={"accelerator": "cpu", "devices": 1, "nodes": 1})
        waits = [f"afterany:{_arrays_of(after)}"]
        name = f"{self.experiment} report"
        return self._submit([Once(action, self.code)], name, [()], 1, waits, one_core)

    def _in_lanes(self, arrays: Sequence[Array], before: Sequence[jobs.Job]) -> list[jobs.Job]:
        """Submit arrays; if that is too much at once, lanes of them behind the jobs ``before``."""
        most = self.cluster.max_jobs
        crowded = len(before) + sum(len(array.tasks) for array in arrays) > most
        submitted: list[jobs.Job] = []
        for lane in lanes(arrays, most if crowded else len(arrays)):
            ahead = before
            for array in lane.arrays:
                after = [f"afterok:{array.after}"] if array.after else []
                if crowded and ahead:
                    after.append(f"afterany:{_arrays_of(ahead)}")
                ahead = self._submit_array(array, lane.limit if crowded else most, after)
                submitted += ahead
        return submitted

    def _submit_array(self, array: Array, limit: int, after: Sequence[str]) -> list[jobs.Job]:
        now = time.time()
        lists = [RunList.of(self.experiment, task, now) for task in array.tasks]
        tasks = [Task(Job.of(runs, self.runtime), self.code) for runs in lists]
        names = [tuple(map(name_of, task)) for task in array.tasks]
        return self._submit(tasks, self.experiment, names, limit, after)

    def _submit(
        self,
        tasks: Sequence[Callable[[], None]],
        name: str,
        runs: Sequence[tuple[str, ...]],
        limit: int,
        after: Sequence[str] = (),
        runtime: Runtime | None = None,
    ) -> list[jobs.Job]:
        """One array (or a plain job, if there is one task), noted as soon as it is submitted."""
        since, job_name = time.time(), jobs.new_name(name)
        shared = self.cluster.share_jobs_with_group
        folder = private(self.runtime.runs_root / "jobs", group=shared) / "%j"
        pool = SlurmExecutor(folder=folder, max_num_timeout=REQUEUES)
        further: dict[str, Any] = {"job_name": job_name, "array_parallelism": limit}
        if after:
            further["dependency"] = ",".join(after)
        shell_lines = self.code.shell_setup()
        pool.update_parameters(
            **self.cluster.sbatch(runtime or self.runtime, shell_lines, **further)
        )
        try:
            with pool.batch():
                submitted = [pool.submit(task) for task in tasks]
        except FailedJobError as error:
            raise UserError(refusal(" ".join(str(error).split())[-300:])) from None
        noted = [
            jobs.Job(job.job_id, run_names, since, source=self.code.folder.name, name=job_name)
            for job, run_names in zip(submitted, runs, strict=True)
        ]
        jobs.add(self.runtime.runs_root, self.experiment, noted)
        return noted

    def _awaited(self, spec: RunSpec, jobs_of: Mapping[str, str]) -> str | None:
        teachers = teacher_directories(spec, self.runtime.runs_root)
        awaited = [teacher.path.name for teacher in teachers if not teacher.finished()]
        return (
            ":".join(sorted({jobs_of[run_id] for run_id in awaited if run_id in jobs_of})) or None
        )


def covered(specs: Sequence[RunSpec], runtime: Runtime) -> dict[RunSpec, jobs.Job]:
    """The runs that a job in the queue will still train, or is training.

    A job tries each of its runs once: what has failed in it needs another job.
    """
    queued = jobs.still_queued(jobs.read(runtime.runs_root))
    by_run = {run: job for job in queued for run in job.runs}
    having = {spec: by_run[name_of(spec)] for spec in specs if name_of(spec) in by_run}
    return {
        spec: job
        for spec, job in having.items()
        if not failed_since(directory_of(spec, runtime.runs_root), job.since)
    }


def name_of(spec: RunSpec) -> str:
    """``<experiment>/<run id>``"""
    return f"{spec.experiment}/{spec.run_id}"


def queue_of(search: str) -> str:
    """Recorded in place of run names for a job that takes its runs from a search's queue."""
    return f"{search}/queue"


def _arrays_of(noted: Sequence[jobs.Job]) -> str:
    return ":".join(sorted({job.id.partition("_")[0] for job in noted}, key=int))
