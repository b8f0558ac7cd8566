"""A worker trains runs from a list, one after the other, sharing the list with other workers."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from suite.claims import ClaimLost, claim, holder, is_alive
from suite.config import RunSpec, Runtime
from suite.record import RunDirectory
from suite.tracker import Follower

POLL_SECONDS = 0.3
STOPPED = 128 + signal.SIGTERM  # exit status of a worker that was asked to stop
log = logging.getLogger(__name__)

Run = Callable[[RunSpec, Runtime, Callable[[], bool]], None]
Announce = Callable[[Path], None]
"""Told the directory of every run that starts."""


class State(Enum):
    """What a run needs now."""

    FINISHED = "finished"
    FAILED = "failed"  # in this sweep
    RUNNING = "running"  # somebody holds its claim
    WAITING = "waiting"  # its teacher is not finished
    BLOCKED = "blocked"  # its teacher failed in this sweep
    READY = "ready"


def directory_of(spec: RunSpec, runs_root: Path) -> RunDirectory:
    """The folder of a run."""
    return RunDirectory.of(runs_root, spec.experiment, spec.run_id)


def teacher_directory(spec: RunSpec, runs_root: Path) -> RunDirectory | None:
    """The folder of the run that trains this run's teacher, if one does."""
    teacher = spec.config.teacher
    if teacher is None or teacher.run_id is None:
        return None
    return RunDirectory.of_teacher(runs_root, teacher.run_id)


def state_of(spec: RunSpec, runs_root: Path, since: float) -> State:
    """The state of a run in a sweep that began at time ``since``; older failures do not count."""
    run, teacher = directory_of(spec, runs_root), teacher_directory(spec, runs_root)
    if run.finished():
        return State.FINISHED
    if holder(run.path) is not None:
        return State.RUNNING
    if failed_since(run, since):
        return State.FAILED
    if teacher is None or teacher.finished():
        return State.READY
    return State.BLOCKED if failed_since(teacher, since) else State.WAITING


def failed_since(run: RunDirectory, since: float) -> bool:
    """Whether the last attempt failed after time ``since``."""
    try:
        return run.failure.stat().st_mtime >= since
    except FileNotFoundError:
        return False


def work(
    specs: Sequence[RunSpec],
    runtime: Runtime,
    since: float,
    should_stop: Callable[[], bool],
    run: Run,
    announce: Announce,
) -> None:
    """Train whatever is ready until nothing is left to train or to wait for.

    Raises :class:`suite.run.Interrupted` (from ``run``) after ``should_stop()`` became true.
    """
    while not should_stop():
        states = {spec: state_of(spec, runtime.runs_root, since) for spec in specs}
        ready = [spec for spec, state in states.items() if state is State.READY]
        trained = any(_try(spec, runtime, should_stop, run, announce) for spec in ready)
        if trained:
            continue
        if not ready and not {State.RUNNING, State.WAITING} & set(states.values()):
            return
        time.sleep(POLL_SECONDS)


def _try(
    spec: RunSpec,
    runtime: Runtime,
    should_stop: Callable[[], bool],
    run: Run,
    announce: Announce,
) -> bool:
    """Claim and train one run; False if somebody else was quicker."""
    from suite.run import Interrupted

    directory = directory_of(spec, runtime.runs_root)
    held = claim(directory.path)
    if held is None:
        return False

    def stop() -> bool:
        held.check()
        return should_stop()

    with held:
        announce(directory.path)
        try:
            run(spec, runtime, stop)
        except (Interrupted, ClaimLost):
            raise
        except Exception as error:  # noqa: BLE001  (recorded; the other runs go on)
            log.warning("%s seed %d failed: %s", spec.label, spec.config.seed, error)
            directory.write_failure(error)
    return True


@contextmanager
def mirror(runtime: Runtime) -> Iterator[Announce]:
    """A process beside the worker that mirrors its runs to W&B, if the runtime wants it."""
    if runtime.tracker == "none":
        yield lambda _: None
        return
    log_file = runtime.runs_root / "jobs" / f"wandb-{os.getpid()}.log"
    with Follower(log_file) as follower:
        yield follower.follow


@dataclass
class Job:
    """What one submitit job calls: a worker over its share of a sweep, picklable."""

    specs: list[str]  # RunSpec as JSON
    runtime: str  # Runtime as JSON
    since: float
    launcher: tuple[int, str | None] | None = None  # local workers stop with their launcher
    _stop: bool = field(default=False, init=False)
    _requeue_asked: bool = field(default=False, init=False)

    @classmethod
    def of(
        cls,
        specs: Sequence[RunSpec],
        runtime: Runtime,
        since: float,
        launcher: tuple[int, str | None] | None = None,
    ) -> Job:
        """The job of a worker for these runs."""
        texts = [spec.model_dump_json() for spec in specs]
        return cls(texts, runtime.model_dump_json(), since, launcher)

    def __call__(self) -> None:
        """Work until nothing is left.

        A job that was stopped leaves by SystemExit: had it returned, submitit would write a
        result and take the job for finished for ever, also after SLURM has requeued it.
        """
        from suite.run import Interrupted, run

        requeue = self._install_signals()
        specs = [RunSpec.model_validate_json(text) for text in self.specs]
        runtime = Runtime.model_validate_json(self.runtime)
        try:
            with mirror(runtime) as announce:
                work(specs, runtime, self.since, self._should_stop, run, announce)
        except Interrupted as stop:
            log.info("%s", stop)
        if self._requeue_asked and callable(requeue):
            requeue(signal.SIGUSR2, None)
        if self._stop:
            raise SystemExit(STOPPED)

    def checkpoint(self) -> Any:
        """submitit asks for the job to requeue: the same work, from the runs' checkpoints."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Job(self.specs, self.runtime, self.since, self.launcher))

    def _install_signals(self) -> Any:
        """USR2 (preemption, time limit) stops and requeues; TERM stops. Returns submitit's own."""

        def on_term(*_: object) -> None:
            self._stop = True

        def on_usr2(*_: object) -> None:
            self._stop = self._requeue_asked = True

        signal.signal(signal.SIGTERM, on_term)
        return signal.signal(signal.SIGUSR2, on_usr2)

    def _should_stop(self) -> bool:
        if self.launcher is not None and not is_alive(*self.launcher):
            self._stop = True
        return self._stop


def this_process() -> tuple[int, str | None]:
    """Identity of the calling process, for :attr:`Job.launcher`."""
    from suite.claims import process_started

    return os.getpid(), process_started(os.getpid())
