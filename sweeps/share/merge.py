"""Joins archives and run stores into one run store.

The same run with the same bits counts once. Two results of one run are never mixed or averaged:
the one that is there stays, the other is kept under ``conflicts/`` beside it, and both are told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.interface.errors import UserError
from suite.names import TEACHERS, experiment_name, run_id_of
from suite.store import cost, schema
from suite.store.lease import acquire
from suite.store.record import (
    EDITED,
    RecordError,
    RunDirectory,
    parse_rows,
    read_object,
    read_rows,
    write_atomically,
    write_json,
)
from sweeps.share import archive
from sweeps.share.archive import ORIGIN, Collection, StoredRun
from sweeps.share.compare import Departure, first_departure

CELL = ("directory", "pair", "label", "recipe", "seed")
"""What makes a row of a list of runs another row."""
CONFLICTS = "conflicts"
"""In an experiment's folder: other results of its runs, which no table reads."""


@dataclass
class Merged:
    """What a merge did."""

    added: int = 0
    same: int = 0
    """Runs that were there, with the same bits."""
    completed: int = 0
    """Of those, how many have got files that were missing, such as weights."""
    conflicts: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What to tell the user."""
        completed = f" ({self.completed} completed)" if self.completed else ""
        counts = (
            f"{self.added} runs added, {self.same} were there{completed}, "
            f"{len(self.conflicts)} in conflict, {len(self.refused)} refused"
        )
        lines = [f"  conflict: {line}" for line in self.conflicts]
        lines += [f"  refused: {line}" for line in self.refused]
        return [counts, *lines, *(f"  {line}" for line in self.notes)]


def merge(sources: Sequence[Path], runs_root: Path) -> Merged:
    """Add the finished runs of archives and run stores; repeating it changes nothing.

    Raises :class:`UserError` before anything is written when a source cannot be read.
    """
    merged = Merged()
    inside = runs_root.resolve()
    if any(path.resolve() == inside for path in sources):
        raise UserError(f"{runs_root}: cannot be merged into itself")
    for collection in [archive.read(path) for path in sources]:
        names = {run.experiment for run in collection.runs} - {TEACHERS}
        for name in [*names, *(path.split("/")[0] for path in collection.of_experiments)]:
            if name != TEACHERS:
                experiment_name(name)
        for run in collection.runs:
            _merge_run(run, collection, runs_root, merged)
        for name, content in collection.of_experiments.items():
            _merge_other(name, content, runs_root, merged)
    return merged


def _merge_run(run: StoredRun, source: Collection, runs_root: Path, merged: Merged) -> None:
    where = f"{run.directory} of {source.name}"
    if fault := _fault(run):
        merged.refused.append(f"{where}: {fault}")
        return
    ours = RunDirectory.of(runs_root, run.experiment, run.run_id)
    lease = acquire(ours.path)
    if lease is None:
        merged.refused.append(f"{where}: somebody trains this run here; merge again later")
        return
    with lease:
        if not ours.finished():
            ours.failure.unlink(missing_ok=True)
            ours.checkpoint.unlink(missing_ok=True)
            ours.previous_checkpoint.unlink(missing_ok=True)
            _write(run, source, ours.path)
            merged.added += 1
        elif (departure := _departure(ours, run)) is None:
            merged.same += 1
            merged.completed += _complete(run, ours)
        else:
            kept = _keep_apart(run, source, ours)
            merged.conflicts.append(f"{where} {departure}; kept in {kept.relative_to(runs_root)}")


def _fault(run: StoredRun) -> str | None:
    """Why a run cannot be taken."""
    try:
        spec, result = json.loads(run.read("config.json")), json.loads(run.read("result.json"))
        run_id = run_id_of(spec["config"])
    except (ValueError, LookupError, TypeError):
        return "config.json or result.json is damaged"
    if run_id != run.run_id:
        return f"config.json {EDITED}"
    if not isinstance(result, dict):
        return "result.json is no object"
    if lines := schema.faults(result):
        return f"result.json: {lines[0]}"
    if result["run_id"] != run.run_id:
        return f"result.json is of run {result['run_id']}"
    return None


def _departure(ours: RunDirectory, run: StoredRun) -> Departure | None:
    theirs, here = json.loads(run.read("result.json")), ours.read_result() or {}
    rows = parse_rows(run.read("metrics.jsonl"))
    weights = str(here.get("weights_sha256")), str(theirs["weights_sha256"])
    return first_departure(read_rows(ours.metrics), rows, *weights)


def _write(run: StoredRun, source: Collection, folder: Path) -> None:
    """All files, the record last."""
    if ORIGIN not in run.files:
        write_json(folder / ORIGIN, source.origin)
    run.write_to(folder)


def _complete(run: StoredRun, ours: RunDirectory) -> bool:
    missing = [name for name in run.files if name != ORIGIN and not (ours.path / name).exists()]
    for name in missing:
        write_atomically(ours.path / name, run.read(name))
    return bool(missing)


def _keep_apart(run: StoredRun, source: Collection, ours: RunDirectory) -> Path:
    digest = archive.sha256(run.read("result.json"))[:8]
    folder = ours.path.parent / CONFLICTS / f"{run.run_id}-{digest}"
    if not folder.is_dir():
        _write(run, source, folder)
    return folder


def _merge_other(name: str, content: bytes, runs_root: Path, merged: Merged) -> None:
    """A manifest and measured costs are united with ours; a search's study is taken where there is
    none.
    """
    path = runs_root / name
    if path.name == cost.FILE:
        _unite_costs(path, content, runs_root, merged)
    elif not path.exists():
        write_atomically(path, content)
    elif path.name.startswith("manifest"):
        _unite(path, content, merged)
    elif path.read_bytes() != content:
        merged.notes.append(f"{name}: there is another one, which stays; its runs are merged")


def _unite_costs(path: Path, content: bytes, runs_root: Path, merged: Merged) -> None:
    """Measurements of both; of one run on one kind of machine the one that is here stays."""
    name = path.relative_to(runs_root)
    try:
        theirs = cost.read(content)
    except RecordError as error:
        merged.refused.append(f"{name}: {error}")
        return
    try:
        others = cost.unite(path, theirs)
    except RecordError as error:
        merged.notes.append(f"{name} here: {error}; it stays, measure again")
        return
    if others:
        kept = path.parent / CONFLICTS / f"cost.{archive.sha256(content)[:8]}.json"
        if not kept.exists():
            write_atomically(kept, content)
        merged.conflicts.append(
            f"{name}: another measurement of {', '.join(others)}; ours stays, the other is kept in "
            f"{kept.relative_to(runs_root)}"
        )


def _unite(path: Path, content: bytes, merged: Merged) -> None:
    """The rows of both lists of runs."""
    name = f"{path.parent.name}/{path.name}"
    try:
        ours, theirs = read_object(path) or {}, json.loads(content)
        rows = [*ours["runs"], *theirs["runs"]]
    except (RecordError, ValueError, LookupError, TypeError):
        merged.notes.append(f"{name}: one of the two is damaged, ours stays")
        return
    if ours.get("dataset") != theirs.get("dataset"):
        merged.notes.append(
            f"{name}: of {ours.get('dataset')} here and of {theirs.get('dataset')} there; its runs "
            "are merged, ours stays the list"
        )
        return
    each_once: dict[tuple[str, ...], Any] = {}
    for row in rows:
        each_once.setdefault(tuple(str(row.get(name)) for name in CELL), row)
    if len(each_once) > len(ours["runs"]):
        write_json(path, {**ours, "runs": list(each_once.values())})
