"""Workers on a SLURM cluster: teachers in one array, students in arrays behind their teachers.

Every job has its own runs; claims keep a run from being trained twice whatever else is going on.
The launcher may leave at any time: ``runs/<experiment>/jobs.jsonl`` says which job has which run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError

from suite.config import RunSpec, Runtime
from suite.interface.errors import UserError
from suite.store.claims import locked
from suite.store.states import directory_of, failed_since, teacher_directory
from sweeps.slurm import jobs, snapshot
from sweeps.slurm.arrays import Array, lanes, student_arrays, teacher_arrays
from sweeps.slurm.closing import Closing
from sweeps.slurm.cluster import Cluster
from sweeps.slurm.private import private
from sweeps.slurm.refusal import refusal
from sweeps.workers.worker_job import WorkerJob

ASK_SECONDS = 10.0  # between questions to SLURM
REPORT_SECONDS = 300.0  # to wait for a report job that has begun
REQUEUES = 1000  # submitit counts time limits and gives up after 3 otherwise

POOL = "queue"  # stands for the runs of a job that takes what it finds in a search's queue


@dataclass
class SlurmWorkers:
    """The jobs that train the runs of a sweep, submitted now or before."""

    jobs: Sequence[jobs.Job]
    submitted: int  # jobs that are new
    farewell = "the jobs go on in SLURM; the same command watches them again"
    poll_seconds = 2.0
    _asked: float = 0.0
    _done: bool = False

    @classmethod
    def start(
        cls,
        experiment: str,
        specs: Sequence[RunSpec],
        runtime: Runtime,
        cluster: Cluster,
        closing: Closing | None = None,
    ) -> SlurmWorkers:
        """Submit jobs for the runs that no living job has yet.

        Raises :class:`UserError` when SLURM does not answer or refuses the jobs.
        """
        runtime = _for_jobs(runtime, cluster)
        with locked(runtime.runs_root / "jobs" / "submission"):
            cover = _covered(specs, runtime)
            missing = [spec for spec in specs if spec not in cover]
            old = list(dict.fromkeys(cover.values()))
            if not missing:
                return cls(old, 0)
            submission = _Submission.prepare(experiment, runtime, cluster)
            new = submission.submit(missing, cover)
            if closing is not None:
                new.append(submission.submit_closing(closing, [*old, *new]))
        return cls([*old, *new], len(new))

    @classmethod
    def keep(
        cls,
        experiment: str,
        job: Callable[[Runtime], WorkerJob],
        runtime: Runtime,
        cluster: Cluster,
    ) -> SlurmWorkers:
        """Have ``max_jobs`` copies of one job in SLURM's queue, those of earlier calls included."""
        runtime = _for_jobs(runtime, cluster)
        with locked(runtime.runs_root / "jobs" / "submission"):
            name = f"{experiment}/{POOL}"
            noted = [it for it in jobs.read(runtime.runs_root, experiment) if name in it.runs]
            states = jobs.queued(noted)
            old = [it for it in noted if it.id in states]
            missing = cluster.max_jobs - len(old)
            if missing <= 0:
                return cls(old, 0)
            submission = _Submission.prepare(experiment, runtime, cluster)
            called = jobs.new_name(experiment)
            ids = submission.sbatch([job(runtime)] * missing, called, missing, ())
            new = submission.note([(id_, (name,)) for id_ in ids], called)
        return cls([*old, *new], len(new))

    def done(self) -> bool:
        """Whether every job has left SLURM; asks at most every few seconds."""
        if not self._done and time.monotonic() - self._asked > ASK_SECONDS:
            self._asked = time.monotonic()
            try:
                self._done = not jobs.queued(self.jobs)
            except jobs.SlurmSilent:
                return False  # a controller that restarts; the jobs go on
        return self._done

    def close(self) -> None:
        """The runs are settled: take back the report that still waits, the launcher makes it."""
        reports = [job for job in self.jobs if not job.runs]
        deadline = time.monotonic() + REPORT_SECONDS
        with suppress(jobs.SlurmSilent):
            while (left := jobs.queued(reports)) and time.monotonic() < deadline:
                jobs.cancel([job for job in reports if job.id in left], pending_only=True)
                time.sleep(self.poll_seconds)

    def stop(self) -> None:
        """Nothing: the launcher may leave, the jobs go on."""

    def fates(self, specs: Sequence[RunSpec]) -> dict[RunSpec, str]:
        """How the jobs of these runs ended, or their state if they have not."""
        try:
            known = jobs.ended(self.jobs) | jobs.queued(self.jobs)
        except jobs.SlurmSilent:
            known = {}
        by_run = {
            run: f"job {job.id}: {known[job.id]}"
            for job in self.jobs
            if job.id in known
            for run in job.runs
        }
        return {spec: by_run[_name(spec)] for spec in specs if _name(spec) in by_run}


def _for_jobs(runtime: Runtime, cluster: Cluster) -> Runtime:
    """The runtime inside a job: whole paths, and beside GPUs the cores that the job asks for."""
    places = {name: getattr(runtime, name).resolve() for name in ("runs_root", "data_root")}
    threads = runtime.threads
    if threads is None and cluster.gpus_of(runtime):
        threads = max(1, cluster.cpus // runtime.devices)
    return runtime.model_copy(update={**places, "threads": threads})


def _covered(specs: Sequence[RunSpec], runtime: Runtime) -> dict[RunSpec, jobs.Job]:
    """The runs that a job in the queue will still train, or is training.

    A job tries each of its runs once: what has failed in it needs another job.
    """
    noted = jobs.read(runtime.runs_root)
    states = jobs.queued(noted)
    by_run = {run: job for job in noted if job.id in states for run in job.runs}
    return {
        spec: by_run[_name(spec)]
        for spec in specs
        if _name(spec) in by_run
        and not failed_since(directory_of(spec, runtime.runs_root), by_run[_name(spec)].since)
    }


def _name(spec: RunSpec) -> str:
    return f"{spec.experiment}/{spec.run_id}"


@dataclass(frozen=True)
class _Submission:
    experiment: str
    runtime: Runtime
    cluster: Cluster
    max_size: int  # of an array
    source: Path

    @classmethod
    def prepare(cls, experiment: str, runtime: Runtime, cluster: Cluster) -> _Submission:
        source = snapshot.take(runtime.runs_root / experiment)
        return cls(experiment, runtime, cluster, jobs.max_array_size(), source)

    def submit(self, specs: Sequence[RunSpec], cover: Mapping[RunSpec, jobs.Job]) -> list[jobs.Job]:
        """Submit teachers, then students: at once if ``max_jobs`` allows, else one by one."""
        teachers = [spec for spec in specs if spec.role == "teacher"]
        students = [spec for spec in specs if spec.role != "teacher"]
        new = self._in_lanes(teacher_arrays(teachers, self.max_size), [])
        jobs_of = {spec.run_id: job.id for spec, job in cover.items()}
        jobs_of |= {run.partition("/")[2]: job.id for job in new for run in job.runs}
        arrays = student_arrays(
            students,
            lambda spec: self._awaited(spec, jobs_of),
            self.cluster.runs_per_job,
            self.max_size,
        )
        return new + self._in_lanes(arrays, new)

    def submit_closing(self, closing: Closing, after: Sequence[jobs.Job]) -> jobs.Job:
        """A job that makes the report once all others have ended, well or not."""
        one_core = self.runtime.model_copy(update={"accelerator": "cpu", "devices": 1, "nodes": 1})
        waits = [f"afterany:{_arrays_of(after)}"]
        called = jobs.new_name(f"{self.experiment} report")
        (job,) = self.sbatch([closing], called, 1, waits, one_core)
        return self.note([(job, ())], called)[0]

    def _in_lanes(self, arrays: Sequence[Array], before: Sequence[jobs.Job]) -> list[jobs.Job]:
        """Submit arrays; if that is too much at once, lanes of them behind the jobs ``before``."""
        most = self.cluster.max_jobs
        crowded = len(before) + sum(len(array.tasks) for array in arrays) > most
        new = []
        for lane in lanes(arrays, most if crowded else len(arrays)):
            ahead = before
            for array in lane.arrays:
                after = [f"afterok:{array.after}"] if array.after else []
                if crowded and ahead:
                    after.append(f"afterany:{_arrays_of(ahead)}")
                ahead = self._submit_array(array, lane.limit if crowded else most, after)
                new += ahead
        return new

    def _submit_array(self, array: Array, limit: int, after: Sequence[str]) -> list[jobs.Job]:
        now = time.time()
        work = [WorkerJob.of(task, self.runtime, now) for task in array.tasks]
        called = jobs.new_name(self.experiment)
        ids = self.sbatch(work, called, limit, after)
        names = [tuple(_name(spec) for spec in task) for task in array.tasks]
        return self.note(list(zip(ids, names, strict=True)), called, now)

    def sbatch(
        self,
        work: Sequence[Callable[[], object]],
        name: str,
        limit: int,
        after: Sequence[str],
        runtime: Runtime | None = None,
    ) -> list[str]:
        """Submit one array (or a plain job, if it is only one); returns the ids."""
        folder = private(self.runtime.runs_root / "jobs") / "%j"
        pool = SlurmExecutor(folder=folder, max_num_timeout=REQUEUES)
        further: dict[str, Any] = {"job_name": name, "array_parallelism": limit}
        if after:
            further["dependency"] = ",".join(after)
        lines = snapshot.shell_setup(self.source)
        pool.update_parameters(**self.cluster.sbatch(runtime or self.runtime, lines, **further))
        try:
            with pool.batch():
                submitted = [pool.submit(task) for task in work]
        except FailedJobError as error:
            raise UserError(refusal(" ".join(str(error).split())[-300:])) from None
        return [job.job_id for job in submitted]

    def note(
        self, found: Sequence[tuple[str, tuple[str, ...]]], name: str, now: float | None = None
    ) -> list[jobs.Job]:
        """Write down which job has which runs, before anything else can go wrong."""
        since = time.time() if now is None else now
        source = self.source.name
        noted = [jobs.Job(id_, runs, since, source=source, name=name) for id_, runs in found]
        jobs.add(self.runtime.runs_root, self.experiment, noted)
        return noted

    def _awaited(self, spec: RunSpec, jobs_of: Mapping[str, str]) -> str | None:
        teacher = teacher_directory(spec, self.runtime.runs_root)
        if teacher is None or teacher.finished():
            return None
        return jobs_of.get(teacher.path.name)


def _arrays_of(noted: Sequence[jobs.Job]) -> str:
    return ":".join(sorted({job.id.partition("_")[0] for job in noted}, key=int))


def last_line(runs_root: Path, job: str) -> str:
    """The last line that a job has written, or where its log would be."""
    log = runs_root / "jobs" / job / f"{job}_0_log.out"
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        return f"no log {log}"
    written = [line.strip() for line in lines if line.strip()]
    return f"{written[-1][:300]} ({log})" if written else f"{log} is empty"
