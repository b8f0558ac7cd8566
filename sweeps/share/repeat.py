"""Trains a run again from its record, and says whether the same bits come out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.config import RunSpec, Runtime, parse
from suite.interface.errors import UserError
from suite.names import TEACHERS
from suite.store import schema, source
from suite.store.record import RunDirectory, parse_rows
from suite.store.states import directory_of, teacher_run_ids
from suite.train.run import run
from sweeps.share import archive
from sweeps.share.archive import Collection, StoredRun
from sweeps.share.compare import Departure, accuracies, first_departure

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Repeated:
    """How a second training compares with the record."""

    departure: Departure | None
    """None: the same bits."""
    difference_points: float
    """The largest difference of an accuracy of the last epoch, in percentage points."""

    def agrees(self, tolerance_points: float) -> bool:
        """The same bits, or no accuracy further away than that."""
        return self.departure is None or self.difference_points <= tolerance_points


def repeat(
    origin: Path, run_id: str, runtime: Runtime, tell: Tell, tolerance_points: float = 0.0
) -> bool:
    """Train the run of this id anew, its teacher too where ``origin`` lacks the weights.

    ``origin`` is an archive or a run store. The runs are made in ``runtime.runs_root``, which must
    be another one; what is there of an interrupted call is gone on with. ``tell`` gets the lines
    of the verdict. Returns whether it agrees within the tolerance. Raises :class:`UserError`.
    """
    if origin.resolve() == runtime.runs_root.resolve():
        raise UserError(f"{origin}: a run is repeated in another run store than its own")
    collection = archive.read(origin)
    wanted = _find(collection, run_id)
    config = json.loads(wanted.read("config.json"))["config"]
    teachers = [_find(collection, teacher) for teacher in teacher_run_ids(config)]
    for stored in (wanted, *teachers):
        _record(stored)  # before anything is trained
    for teacher in teachers:
        _provide_teacher(teacher, runtime, tell)
    repeated = _train_and_compare(wanted, runtime, tell)
    agrees = repeated.agrees(tolerance_points)
    if repeated.departure is not None:
        verdict = "within" if agrees else "beyond"
        tell(
            f"accuracies of the last epoch differ by {repeated.difference_points:.2f} points at "
            f"most, {verdict} the tolerance of {tolerance_points:g}"
        )
    return agrees


def _find(collection: Collection, run_id: str) -> StoredRun:
    stored = collection.find(run_id)
    if stored is None:
        raise UserError(f"{collection.name} has no finished run {run_id}")
    return stored


def _provide_teacher(teacher: StoredRun, runtime: Runtime, tell: Tell) -> None:
    """With the weights of the archive, else trained again."""
    if archive.WEIGHTS not in teacher.files:
        tell(f"teacher {teacher.run_id}: its weights are not there, it is trained again first")
        _train_and_compare(teacher, runtime, tell)
        return
    folder = RunDirectory.of(runtime.runs_root, TEACHERS, teacher.run_id).path
    teacher.write_to(folder)


def _record(stored: StoredRun) -> dict[str, Any]:
    """Its ``result.json`` in the layout of this version. Raises :class:`UserError`."""
    result = json.loads(stored.read("result.json"))
    if refused := schema.foreign(result):
        raise UserError(f"{stored.directory}/result.json: {refused}")
    return schema.current(result)


def _train_and_compare(stored: StoredRun, runtime: Runtime, tell: Tell) -> Repeated:
    theirs = _record(stored)
    spec = parse(RunSpec, json.loads(stored.read("config.json")), f"config of {stored.directory}")
    if spec.run_id != stored.run_id:
        raise UserError(f"{stored.directory}: its configuration is that of run {spec.run_id}")
    run(spec, runtime)
    directory = directory_of(spec, runtime.runs_root)
    ours = directory.read_result() or {}
    rows = parse_rows(stored.read("metrics.jsonl"))
    weights = ours["weights_sha256"], theirs["weights_sha256"]
    departure = first_departure(directory.read_metrics(), rows, *weights)
    before, now = accuracies(theirs), accuracies(ours)
    difference = max((abs(now[name] - before[name]) for name in before), default=0.0)
    what = f"{spec.role} {spec.run_id} ({spec.label}, seed {spec.config.seed})"
    if departure is None:
        tell(f"{what}: same bits, {len(rows)} epochs, weights {weights[0][:12]}")
    else:
        tell(f"{what} {departure}")
        for line in _circumstances(ours["provenance"], theirs["provenance"]):
            tell(f"  {line}")
    return Repeated(departure, difference)


def _circumstances(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """What else differs: device, threads, versions, code."""
    here, there = ours["versions"], theirs["versions"]
    names = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    lines = [f"{name} {here.get(name)}, was {there.get(name)}" for name in names]
    fields = ("device", "threads", "tf32", "deterministic")
    lines += [
        f"{field} {ours.get(field)}, was {theirs.get(field)}"
        for field in fields
        if ours.get(field) != theirs.get(field)
    ]
    if changed := source.changed(theirs.get("source_modules", {})):
        lines.append(f"other code: {source.named(changed)}")
    return lines
