"""Before a sweep trains: what is damaged of its runs is set aside, named, and so made anew.

A damaged file keeps its content under ``<name>.damaged``. The plan knows every configuration, so
that ``config.json`` is written anew; what only training knows is trained again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from safetensors import SafetensorError

from suite.config import RunSpec
from suite.store.claims import holder
from suite.store.record import RecordError, RunDirectory, read_object, write_json
from suite.store.states import directory_of, failed_since, teacher_directory

SUFFIX = ".damaged"


def mend(specs: Sequence[RunSpec], runs_root: Path) -> Iterator[str]:
    """Set aside what is damaged; a line for each file. Runs that somebody trains are left alone.

    Raises :class:`RecordError` where a file cannot be moved.
    """
    for spec in specs:
        run = directory_of(spec, runs_root)
        if run.path.exists() and holder(run.path) is None:
            yield from _mend(spec, run)
    missing = [spec for spec in specs if not directory_of(spec, runs_root).finished()]
    teachers = {it.path: it for spec in missing if (it := teacher_directory(spec, runs_root))}
    for teacher in teachers.values():
        if teacher.finished() and (fault := _weights_fault(teacher)):
            yield from _aside(teacher.weights, fault) if teacher.weights.exists() else ()
            yield from _aside(teacher.result, fault)


def forget_failures(specs: Sequence[RunSpec], runs_root: Path, since: float) -> None:
    """Date back failures from before a sweep that a wrong clock has dated after its beginning."""
    for spec in specs:
        run = directory_of(spec, runs_root)
        if failed_since(run, since):
            os.utime(run.failure, (since - 1, since - 1))


def _mend(spec: RunSpec, run: RunDirectory) -> Iterator[str]:
    if not run.path.is_dir():
        yield from _aside(run.path, "it must be a folder")
        return
    for path in sorted(run.path.iterdir()):
        if path.is_dir() and SUFFIX not in path.name:
            yield from _aside(path, "it must be a file")
    if run.result.exists() and (fault := _result_fault(spec, run)):
        yield from _aside(run.result, fault)
    if run.config.exists() and (fault := _config_fault(spec, run)):
        yield from _aside(run.config, fault)
    if run.result.exists() and not run.config.exists():
        write_json(run.config, spec.model_dump(mode="json"))


def _result_fault(spec: RunSpec, run: RunDirectory) -> str | None:
    try:
        result = run.read_result() or {}
    except RecordError:
        return "it cannot be read"
    if result.get("run_id") != spec.run_id:
        return f"its run_id is {result.get('run_id')!r}"
    return None if isinstance(result.get("last"), dict) else "it has no figures"


def _config_fault(spec: RunSpec, run: RunDirectory) -> str | None:
    try:
        found = (read_object(run.config) or {}).get("config")
    except RecordError:
        return "it cannot be read"
    if found != spec.model_dump(mode="json")["config"]:
        return "it is not the configuration of which the run id is the hash"
    return None


def _weights_fault(teacher: RunDirectory) -> str | None:
    """Why the students of a finished teacher could not use its weights."""
    from safetensors.torch import load_file

    from suite.models import weights_sha256

    try:
        found = weights_sha256(load_file(teacher.weights))
    except (SafetensorError, OSError, ValueError) as error:
        return f"{teacher.weights.name} cannot be read: {error}"
    expected = (teacher.read_result() or {}).get("weights_sha256")
    return None if found == expected else f"{teacher.weights.name} has another hash than the record"


def _aside(path: Path, fault: str) -> Iterator[str]:
    place, number = Path(f"{path}{SUFFIX}"), 1
    while place.exists():
        number += 1
        place = Path(f"{path}{SUFFIX}-{number}")
    try:
        path.rename(place)
    except OSError as error:
        raise RecordError(f"cannot move {path} to {place}: {error.strerror or error}") from None
    yield f"damaged: {path}: {fault}; it is {place.name} now and made anew"
