"""The states of a run, the same for workers, status and reports; read from the run store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.names import JOIN
from suite.store.lease import holder
from suite.store.record import RunDirectory

if TYPE_CHECKING:  # a status or a report imports no torch
    from suite.config import RunSpec


class State(StrEnum):
    """One word for each state, wherever one is shown."""

    FINISHED = "finished"
    FAILED = "failed"  # in this sweep
    RUNNING = "running"  # somebody holds its lease
    QUEUED = "queued"  # a job of the scheduler will train it
    STOPPED = "stopped"  # begun, and nobody trains it
    READY = "ready"  # not begun; nothing is in its way
    WAITING = "waiting"  # its teacher is not finished
    BLOCKED = "blocked"  # its teacher, or one above that, failed in this sweep
    # In a report, which does not ask who trains:
    UNFINISHED = "unfinished"
    MISSING = "missing"
    DAMAGED = "damaged"
    CONFLICT = "conflict"  # two different runs claim the same label, pair, recipe and seed


TRAINABLE = {State.READY, State.STOPPED}
"""A worker may start or resume such a run."""
SETTLED = {State.FINISHED, State.FAILED, State.BLOCKED}
"""A sweep no longer waits for such a run."""


def directory_of(spec: RunSpec, runs_root: Path) -> RunDirectory:
    """Folder of a run in the run store."""
    return RunDirectory.of(runs_root, spec.experiment, spec.run_id)


def teacher_run_ids(config: Mapping[str, Any]) -> tuple[str, ...]:
    """``TeacherConfig.run_ids`` of a ``config`` as in ``config.json``, without checking it."""
    teacher = config.get("teacher") or {}
    members = teacher.get("ensemble") or [teacher]
    return tuple(member["run_id"] for member in members if member.get("run_id"))


def together(config: Mapping[str, Any]) -> str | None:
    """The same as one text, ``TeacherConfig.trained_by``."""
    return JOIN.join(teacher_run_ids(config)) or None


def apart(text: object) -> list[str]:
    """The ids in ``teacher_run_id`` of a manifest or record, several of an ensemble, if any."""
    return text.split(JOIN) if isinstance(text, str) and text else []


def teacher_directories(spec: RunSpec, runs_root: Path) -> list[RunDirectory]:
    """The folders of the runs that train this run's teacher, several of an ensemble, if any do."""
    teacher = spec.config.teacher
    run_ids = () if teacher is None else teacher.run_ids
    return [RunDirectory.of_teacher(runs_root, run_id) for run_id in run_ids]


def state_of(spec: RunSpec, runs_root: Path, since: float) -> State:
    """The state of a run in a sweep that began at time ``since``; older failures do not count."""
    teachers = teacher_directories(spec, runs_root)
    above = [RunDirectory.of_teacher(runs_root, run_id) for run_id in spec.ancestors]
    return state_in(directory_of(spec, runs_root), teachers, since, above)


def state_in(
    run: RunDirectory,
    teachers: Sequence[RunDirectory],
    since: float,
    above: Sequence[RunDirectory] = (),
) -> State:
    """As :func:`state_of`, from the folders of the run, its teachers' runs and those above."""
    if run.finished():
        return State.FINISHED
    if holder(run.path) is not None:
        return State.RUNNING
    if failed_since(run, since):
        return State.FAILED
    awaited = [teacher for teacher in teachers if not teacher.finished()]
    if not awaited:
        return State.STOPPED if run.metrics.is_file() else State.READY
    failed = any(failed_since(teacher, since) for teacher in (*awaited, *above))
    return State.BLOCKED if failed else State.WAITING


def failed_since(run: RunDirectory, since: float) -> bool:
    """Whether the last attempt failed after time ``since``."""
    try:
        return run.failure.stat().st_mtime >= since
    except FileNotFoundError:
        return False
