"""Before a sweep trains: damaged files of its runs are renamed and reported, then made anew.

A damaged file keeps its content under ``<name>.damaged``. The plan knows every configuration, so
that ``config.json`` is written anew; a record that only training knows is trained again. Features,
predictions and weights of a finished student are set aside alone: its record stands without.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from suite.config import RunSpec
from suite.names import run_id_of
from suite.store.lease import holder
from suite.store.record import EDITED, RecordError, RunDirectory, read_object, write_json
from suite.store.states import directory_of, failed_since, teacher_directories

SUFFIX = ".damaged"
TRAINED_AGAIN = (
    "the teacher is trained again; on another machine it is another teacher than that of the "
    "students that are finished: export --with-teacher-weights brings the weights along"
)


def mend(specs: Sequence[RunSpec], runs_root: Path) -> Iterator[str]:
    """Rename damaged files; yields a line for each. Runs that are being trained are left alone.

    Raises :class:`RecordError` where a file cannot be moved.
    """
    for spec in specs:
        run = directory_of(spec, runs_root)
        if run.path.exists() and holder(run.path) is None:
            yield from _mend(spec, run)
    missing = [spec for spec in specs if not directory_of(spec, runs_root).finished()]
    needed = (teacher for spec in missing for teacher in teacher_directories(spec, runs_root))
    teachers = {teacher.path: teacher for teacher in needed}
    for teacher in teachers.values():
        if not teacher.finished():
            continue
        if not teacher.weights.exists():
            yield from _aside(teacher.result, "its weights are not here", TRAINED_AGAIN)
        elif fault := _weights_fault(teacher):
            yield from _aside(teacher.weights, fault)
            yield from _aside(teacher.result, fault)


def forget_failures(specs: Sequence[RunSpec], runs_root: Path, since: float) -> None:
    """Correct the times of earlier failures that a wrong clock has dated after the sweep began."""
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
    if run.finished():
        yield from _mend_extras(spec, run)


def _mend_extras(spec: RunSpec, run: RunDirectory) -> Iterator[str]:
    """Files that the record does not need; only training the run again restores them."""
    cure = "the record stands, sweep --force trains the run again"
    extras: dict[Path, Callable[[Path], bool]] = dict.fromkeys(
        sorted(run.path.glob("features*.npz")), zipfile.is_zipfile
    )
    if spec.role != "teacher":
        extras |= {run.predictions: zipfile.is_zipfile, run.weights: _is_whole}
    for path, is_whole in extras.items():
        if path.exists() and not is_whole(path):
            yield from _aside(path, "it is cut off", cure)


def _is_whole(weights: Path) -> bool:
    """Whether a file of weights is as long as its head says; their hash would read all of them."""
    try:
        with safe_open(weights, framework="numpy"):
            return True
    except (SafetensorError, OSError):
        return False


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
        config = (read_object(run.config) or {}).get("config")
    except RecordError:
        return "it cannot be read"
    same = isinstance(config, dict) and run_id_of(config) == spec.run_id
    return None if same else f"it {EDITED}"


def _weights_fault(teacher: RunDirectory) -> str | None:
    """Why the students of a finished teacher could not use its weights."""
    from safetensors.torch import load_file

    from suite.models import weights_sha256

    try:
        actual = weights_sha256(load_file(teacher.weights))
    except (SafetensorError, OSError, ValueError) as error:
        return f"{teacher.weights.name} cannot be read: {error}"
    expected = (teacher.read_result() or {}).get("weights_sha256")
    return (
        None if actual == expected else f"{teacher.weights.name} has another hash than the record"
    )


def _aside(path: Path, fault: str, cure: str = "made anew") -> Iterator[str]:
    damaged_path, number = Path(f"{path}{SUFFIX}"), 1
    while damaged_path.exists():
        number += 1
        damaged_path = Path(f"{path}{SUFFIX}-{number}")
    try:
        path.rename(damaged_path)
    except OSError as error:
        raise RecordError(
            f"cannot move {path} to {damaged_path}: {error.strerror or error}"
        ) from None
    yield f"damaged: {path}: {fault}; it is {damaged_path.name} now; {cure}"
