"""What a run needs now, read from the run store alone."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from suite.config import RunSpec
from suite.store.claims import holder
from suite.store.record import RunDirectory


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
