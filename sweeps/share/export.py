"""The finished runs of an experiment, with their teachers, as one archive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.interface.errors import UserError, listed
from suite.names import TEACHERS
from suite.store.record import RunDirectory, read_object
from suite.store.states import teacher_run_ids
from sweeps.share import archive
from sweeps.share.anonymous import absolute_paths, without_places


@dataclass(frozen=True)
class Wanted:
    """What goes into an archive besides configurations, metrics and records."""

    predictions: bool = True
    """What each run predicts for every evaluation image."""
    features: bool = False
    teacher_weights: bool = False
    """With them, students can be trained where the archive is merged."""
    places: bool = False
    """Host names and absolute paths stay."""
    origin: str | None = None
    """Who or what made these runs, in the words of whoever exports them."""


@dataclass(frozen=True)
class Exported:
    """What an archive holds."""

    path: Path
    runs: int
    teachers: int
    left_out: int
    """Runs that are not finished."""
    size_bytes: int

    def __str__(self) -> str:
        left = f"; {self.left_out} not finished, left out" if self.left_out else ""
        return (
            f"{self.path}: {self.runs} runs and {self.teachers} teachers, "
            f"{self.size_bytes / 1e6:.2f} MB{left}"
        )


def export(runs_root: Path, experiment: str, out: Path, wanted: Wanted = Wanted()) -> Exported:
    """Write the archive. The same runs give the same bytes.

    Raises :class:`UserError` for an experiment without finished runs, for a damaged file, and for
    a configuration with an absolute path, which is part of the run's id and cannot be left out.
    """
    folder = runs_root / experiment
    started = [RunDirectory(path.parent) for path in sorted(folder.glob("*/config.json"))]
    runs = [run for run in started if run.finished()]
    if not runs:
        raise UserError(f"experiment {experiment!r} has no finished run in {runs_root}")
    teachers = [] if experiment == TEACHERS else list(_teachers(runs, runs_root))
    _check_configs([*teachers, *runs], wanted)
    files: dict[str, bytes] = {}
    for run in [*teachers, *runs]:
        directory = f"{run.path.parent.name}/{run.path.name}"
        files |= {f"{directory}/{name}": content for name, content in _files(run, wanted)}
    for path in sorted(folder.iterdir()):
        if path.is_file() and archive.OF_AN_EXPERIMENT.fullmatch(path.name):
            files[f"{experiment}/{path.name}"] = _content(path, wanted)
    archive.write(out, experiment, wanted.origin, files)
    unfinished = len(started) - len(runs)
    return Exported(out, len(runs), len(teachers), unfinished, out.stat().st_size)


def _teachers(runs: list[RunDirectory], runs_root: Path) -> Iterator[RunDirectory]:
    """The finished runs that trained the teachers of these, each once."""
    configs = [(run.read_config() or {})["config"] for run in runs]
    ids = {run_id for config in configs for run_id in teacher_run_ids(config)}
    for run_id in sorted(ids):
        teacher = RunDirectory.of_teacher(runs_root, run_id)
        if teacher.finished():
            yield teacher


def _check_configs(runs: list[RunDirectory], wanted: Wanted) -> None:
    if wanted.places:
        return
    lines = [
        f"{run.path.name}: {field}"
        for run in runs
        for field in absolute_paths((run.read_config() or {})["config"])
    ]
    if lines:
        head = "a path is part of the id of these runs; --with-places exports it"
        raise UserError(listed(head, lines))


def _files(run: RunDirectory, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    names = list(archive.RECORD)
    names += archive.PREDICTIONS if wanted.predictions else ()
    for pattern in archive.EVALUATIONS:
        names += sorted(path.name for path in run.path.glob(pattern))
    if wanted.features:
        names += sorted(path.name for path in run.path.glob("features*.npz"))
    if wanted.teacher_weights and run.path.parent.name == TEACHERS:
        names.append(archive.WEIGHTS)
    for name in names:
        path = run.path / name
        if path.is_file():
            yield name, _content(path, wanted)


def _content(path: Path, wanted: Wanted) -> bytes:
    """The bytes of a file, without places where they say some."""
    if wanted.places or path.suffix != ".json" or path.name == "config.json":
        return path.read_bytes()
    content: dict[str, Any] = read_object(path) or {}
    text = json.dumps(without_places(content), indent=2, allow_nan=False, ensure_ascii=False)
    return f"{text}\n".encode()
