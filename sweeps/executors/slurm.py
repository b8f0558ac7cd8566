"""SLURM jobs: teachers in one array, students in arrays behind theirs; or workers of a queue.

Every job of a sweep has its own runs; leases keep a run from being trained twice whatever else is
going on. The launcher may leave at any time: ``runs/<experiment>/jobs.jsonl`` says which job has
which run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from suite.config import RunSpec, Runtime
from suite.device.limits import check_jobs
from suite.interface.errors import UserError
from suite.store.lease import locked
from sweeps.executors.base import ExecutorOptions, Workers, last_words
from sweeps.slurm import jobs
from sweeps.slurm.arrays import student_arrays, teacher_arrays
from sweeps.slurm.cluster import Cluster
from sweeps.slurm.submission import Submission, covered, queue_of
from sweeps.workers.source import RunList, Work

POLL_SECONDS = 2.0
ASK_SECONDS = 10.0  # between questions to SLURM
REPORT_SECONDS = 300.0  # to wait for a report job that has begun
TOP_UP_SECONDS = 20.0
"""Between looks at how many workers of a queue are left."""
FAILURES = 2
"""So many workers of a queue may fail for every one that SLURM runs at a time."""
TAKEN_AWAY = ("CANCELLED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "TIMEOUT", "REQUEUED")
"""States of jobs that ended for a reason outside of them."""
UNLIMITED = 10**9  # --dry-run counts jobs, whatever arrays SLURM takes


class Slurm:
    """Jobs of a cluster, as its YAML wants them."""

    detaches = True

    def __init__(self, runtime: Runtime, options: ExecutorOptions) -> None:
        check_jobs(options.jobs)
        cluster = Cluster.load(options.cluster)
        update = {} if options.jobs is None else {"max_jobs": options.jobs}
        self._cluster = cluster.model_copy(update=update)
        self._runtime, self._options = runtime, options

    def check(self) -> None:
        """Refuse more threads or processes than a job has room for."""
        self._cluster.check(self._runtime)

    def parallel(self) -> int:
        """``max_jobs``."""
        return self._cluster.max_jobs

    def device_bytes(self) -> int | None:
        """Memory of a job without GPUs; None with GPUs, which only the jobs see."""
        gpus = self._cluster.gpus_of(self._runtime)
        return None if gpus else self._cluster.memory_gb * 2**30

    def outlook(self, specs: Sequence[RunSpec]) -> str:
        """How many jobs, and what each asks for."""
        cluster = self._cluster
        teachers = [spec for spec in specs if spec.role == "teacher"]
        students = [spec for spec in specs if spec.role != "teacher"]
        trained = {spec.run_id for spec in teachers}

        def awaited(spec: RunSpec) -> str | None:
            run_ids = spec.config.teacher.run_ids if spec.config.teacher else ()
            return ":".join(run_id for run_id in run_ids if run_id in trained) or None

        arrays = teacher_arrays(teachers, UNLIMITED)
        arrays += student_arrays(students, awaited, cluster.runs_per_job, UNLIMITED)
        return (
            f"on SLURM: {sum(len(array.tasks) for array in arrays)} jobs, at most "
            f"{cluster.max_jobs} at a time, {cluster.gpus} GPUs, {cluster.cpus} cores, "
            f"{cluster.memory_gb} GB and {cluster.minutes} minutes each; "
            "what has a job already gets no other"
        )

    def start(self, work: Work, look: Callable[[], object]) -> Workers:
        """Submit jobs for the runs, or workers of the queue, that no living job has yet.

        Raises :class:`UserError` when SLURM does not answer or refuses the jobs.
        """
        runtime = self._in_jobs()
        if not isinstance(work, RunList):
            return _QueueJobs(work, runtime, self._cluster)
        with locked(runtime.runs_root / "jobs" / "submission"):
            specs = work.specs()
            cover = covered(specs, runtime)
            missing = [spec for spec in specs if spec not in cover]
            covering = list(dict.fromkeys(cover.values()))
            submitted = self._submit(work.experiment, runtime, missing, cover) if missing else []
        return _Jobs([*covering, *submitted], len(submitted), runtime)

    def _submit(
        self,
        experiment: str,
        runtime: Runtime,
        specs: Sequence[RunSpec],
        cover: Mapping[RunSpec, jobs.Job],
    ) -> list[jobs.Job]:
        submission = Submission.prepare(experiment, runtime, self._cluster)
        submitted = submission.runs(specs, cover)
        if self._options.finalize is not None:
            submitted += submission.last(self._options.finalize, [*cover.values(), *submitted])
        return submitted

    def _in_jobs(self) -> Runtime:
        """The runtime of a job: whole paths, threads and processes for the cores it asks for."""
        runtime = self._runtime
        update = {name: getattr(runtime, name).resolve() for name in ("runs_root", "data_root")}
        if runtime.threads is None and self._cluster.gpus_of(runtime):
            update["threads"] = self._cluster.cpus  # of each process
        if runtime.workers is None:
            update["workers"] = self._cluster.cpus
        return runtime.model_copy(update=update)


class _Jobs:
    """The jobs that train the runs of a sweep, submitted now or before."""

    farewell = "the jobs go on in SLURM; the same command watches them again"

    def __init__(self, noted: list[jobs.Job], submitted: int, runtime: Runtime) -> None:
        before = len(noted) - submitted
        self.started = f"SLURM: {submitted} jobs submitted, {before} were there before"
        self._jobs, self._runs_root = noted, runtime.runs_root
        self._asked, self._done = 0.0, False

    def attend(self) -> None:
        """Wait: the jobs run on their own."""
        time.sleep(POLL_SECONDS)

    def done(self) -> bool:
        """Whether every job has left SLURM; asks at most every few seconds."""
        if not self._done and time.monotonic() - self._asked > ASK_SECONDS:
            self._asked = time.monotonic()
            with suppress(jobs.SlurmSilent):  # a controller that restarts; the jobs go on
                self._done = not jobs.queued(self._jobs)
        return self._done

    def close(self) -> None:
        """Cancel a pending report job: the runs are settled, the launcher makes the report."""
        reports = [job for job in self._jobs if not job.runs]
        deadline = time.monotonic() + REPORT_SECONDS
        with suppress(jobs.SlurmSilent):
            while (left := jobs.queued(reports)) and time.monotonic() < deadline:
                jobs.cancel([job for job in reports if job.id in left], pending_only=True)
                time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Nothing: jobs go on without the launcher, workers of a queue await another driver."""

    def cancel(self) -> None:
        """Cancel all; running ones save first. Raises :class:`sweeps.slurm.jobs.SlurmSilent`."""
        jobs.cancel(jobs.still_queued(self._jobs))

    def outcomes(self) -> Mapping[str, str]:
        """How the jobs of the runs ended, or their state if they have not."""
        try:
            known = jobs.ended(self._jobs) | jobs.queued(self._jobs)
        except jobs.SlurmSilent:
            return {}
        ended = [job for job in self._jobs if job.id in known]
        told = {job: _outcome(job, known[job.id], self._runs_root) for job in ended}
        return {run: text for job, text in told.items() for run in job.runs}


class _QueueJobs(_Jobs):
    """As many workers of a search as the cluster file wants."""

    def __init__(self, work: Work, runtime: Runtime, cluster: Cluster) -> None:
        self._work, self._runtime, self._cluster = work, runtime, cluster
        self._failures, self._looked = 0, time.monotonic()
        super().__init__(*self._top_up(), runtime)

    def attend(self) -> None:
        """Submit what is missing. Raises :class:`UserError` when jobs fail again and again."""
        time.sleep(POLL_SECONDS)
        if time.monotonic() - self._looked > TOP_UP_SECONDS:
            before, self._looked = self._jobs, time.monotonic()
            self._jobs, _ = self._top_up()
            self._count_failures([job for job in before if job not in self._jobs])

    def _top_up(self) -> tuple[list[jobs.Job], int]:
        """All workers, ``max_jobs`` with those of earlier drivers, and how many of them are new."""
        root, search = self._runtime.runs_root, self._work.experiment
        with locked(root / "jobs" / "submission"):
            noted = [job for job in jobs.read(root, search) if queue_of(search) in job.runs]
            workers = jobs.still_queued(noted)
            missing = self._cluster.max_jobs - len(workers)
            if missing <= 0:
                return workers, 0
            submission = Submission.prepare(search, self._runtime, self._cluster)
            return workers + submission.copies(self._work, missing), missing

    def _count_failures(self, ended_jobs: Sequence[jobs.Job]) -> None:
        """Count failed jobs, without those cancelled, preempted or lost with their node."""
        states = jobs.ended(ended_jobs)
        failed = [job for job in ended_jobs if not states.get(job.id, "").startswith(TAKEN_AWAY)]
        self._failures += len(failed)
        if failed and self._failures > FAILURES * self._cluster.max_jobs:
            state = states.get(failed[-1].id, "ended")
            raise UserError(
                f"{self._failures} jobs of the search failed, the last: "
                f"{_outcome(failed[-1], state, self._runtime.runs_root)}"
            )


def _outcome(job: jobs.Job, state: str, runs_root: Path) -> str:
    """One line on how a job ended; for a failed one with the last line of its log."""
    if state in jobs.ALIVE or state.startswith(TAKEN_AWAY):
        return f"job {job.id}: {state}"
    return (
        f"job {job.id} {state}: {last_words(runs_root / 'jobs' / job.id / f'{job.id}_0_log.out')}"
    )
