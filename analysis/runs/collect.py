"""Manifest and run store -> two tidy frames: one row per expected run, one row per epoch.

Nothing is dropped: a run that is missing, unfinished, failed or damaged keeps its row, with its
state and the reason, so that the tables can show the hole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import cost, origin
from analysis.runs.cache import Facts, FactsCache, FileState, file_state
from analysis.runs.records import CONFLICT, DAMAGED, FINISHED, Rows, read_facts
from analysis.runs.texts import SharedTexts, as_column
from analysis.runs.threads import in_threads
from suite.interface.errors import UserError
from suite.store.cost import FILE
from suite.store.record import read_rows

CELL = ["dataset", "recipe", "pair", "label", "seed", "teacher_seed"]
"""What makes a run one entry of a table; recipes are never mixed, teachers are kept apart."""
ENTRY = {
    "run_id": str,
    "directory": str,
    "role": str,
    "label": str,
    "method": str,
    "student": str,
    "pair": str,
    "recipe": str,
    "seed": int,
}
"""What the manifest must say of every run."""
CONFLICTS = "conflicts"
"""In an experiment's folder: results that ``dskd-bench merge`` has set apart."""


class CollectError(UserError):
    """The manifest cannot be read; the message names the file and the field."""


@dataclass(frozen=True)
class Collected:
    """Everything an experiment expects, and what there is of it."""

    experiment: str
    command: str
    note: str
    runs: pd.DataFrame
    """One row per manifest entry: the manifest's columns, ``state``, ``reason``, what
    :func:`analysis.runs.origin.mark` and :func:`analysis.runs.cost.add` add, and the flattened
    record (``last/test/top1_percent``, ``train_seconds``, ``parameters/deploy`` ...)."""
    runs_root: Path
    rows_of: Callable[[str], Rows]
    """Directory of a run -> its rows of metrics, one an epoch."""

    def students(self) -> pd.DataFrame:
        """The rows that fill the table."""
        return self.runs[self.runs["role"] == "student"]

    def teachers(self) -> pd.DataFrame:
        """The teacher runs."""
        return self.runs[self.runs["role"] == "teacher"]


@dataclass(frozen=True)
class MetricsFiles:
    """Rows of metrics from the run store."""

    runs_root: Path

    def __call__(self, directory: str) -> Rows:
        """Rows of the run in ``directory``."""
        return read_rows(self.runs_root / directory / "metrics.jsonl")


def collect(
    runs_root: Path, manifest: Path | Sequence[Path], cache: Path | None = None
) -> Collected:
    """Read what one manifest expects, or several together. ``cache``: a file that makes the next
    call fast.

    The same run in several experiments counts once, from where it is finished. Raises
    :class:`CollectError` for an unreadable manifest; a fault in a run is a row's state.
    """
    manifests = [manifest] if isinstance(manifest, Path) else manifest
    contents, runs = _expected(manifests)
    name_datasets(runs)
    runs = runs.join(_facts(runs_root, runs["directory"].unique().tolist(), cache), on="directory")
    _distrust(runs)
    runs = _each_once(runs)
    judge(runs, origin.of_files(runs, runs_root))
    runs = cost.add(runs, (path.with_name(FILE) for path in manifests))
    return Collected(
        experiment=" + ".join(str(content["experiment"]) for content in contents),
        command="\n".join(filter(None, (str(it.get("command", "")) for it in contents))),
        note="\n\n".join(filter(None, (str(it.get("note", "")) for it in contents))),
        runs=runs,
        runs_root=runs_root,
        rows_of=MetricsFiles(runs_root),
    )


def name_datasets(runs: pd.DataFrame) -> None:
    """Image folders of one name that hold other images become data sets of their own, in place.

    ``birds`` becomes ``birds (0123abcd)`` where the rows are of more than one ``contents``.
    """
    if "contents" not in runs:
        return
    contents = runs["contents"].astype(object).where(runs["contents"].notna(), "").astype(str)
    several = contents.groupby(runs["dataset"]).transform("nunique") > 1
    apart = runs["dataset"] + " (" + contents.str[:8] + ")"
    runs["dataset"] = runs["dataset"].mask(several & (contents != ""), apart)


def _each_once(runs: pd.DataFrame) -> pd.DataFrame:
    """A run that is listed twice in one place of the table keeps one row, a finished one if any."""
    unfinished = (runs["state"] != FINISHED).sort_values(kind="stable")
    place = ["run_id", "recipe", "pair", "label"]
    kept = runs.loc[unfinished.index, place].drop_duplicates().index
    return runs.loc[kept.sort_values()].reset_index(drop=True)


def _expected(paths: Sequence[Path]) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """What the manifests say of themselves, and a row for each run of any of them."""
    contents, texts = [], SharedTexts()
    columns: dict[str, list[Any]] = {}
    count = 0
    for path in paths:
        content = _read_manifest(path)
        contents.append(content)
        entries = [{"dataset": content["dataset"], **entry} for entry in content.pop("runs")]
        for name in dict.fromkeys(name for entry in entries for name in entry):
            column = columns.setdefault(name, [np.nan] * count)
            column += texts.all(name, (entry.get(name, np.nan) for entry in entries))
        count += len(entries)
        for column in columns.values():
            column += [np.nan] * (count - len(column))
    return contents, pd.DataFrame({name: as_column(columns[name]) for name in columns})


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CollectError(_no_manifest(path)) from None
    except (OSError, ValueError) as error:
        raise CollectError(f"manifest {path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise CollectError(f"manifest {path}: must be an object, is {type(content).__name__}")
    for field, kind in (("experiment", str), ("dataset", str), ("runs", list)):
        if not isinstance(content.get(field), kind):
            found = type(content.get(field)).__name__
            raise CollectError(f"manifest {path}: {field} must be {kind.__name__}, is {found}")
    if not content["runs"]:
        raise CollectError(f"manifest {path}: runs is empty, an experiment has at least one run")
    for number, entry in enumerate(content["runs"]):
        _check_entry(f"manifest {path}: runs[{number}]", entry)
    return content


def _no_manifest(path: Path) -> str:
    """What to do; the settings of a sweep decide the name of its manifest."""
    text = f"no manifest {path}: start the sweep once, it writes it"
    commands = set()
    for other in path.parent.glob("manifest*.json"):
        with suppress(CollectError):
            commands.add(str(_read_manifest(other).get("command", other.name)))
    if not commands:
        return text
    return f"{text}, or repeat the settings (SET, --set) of one: {'; '.join(sorted(commands))}"


def _check_entry(where: str, entry: Any) -> None:
    if not isinstance(entry, dict):
        raise CollectError(f"{where} must be an object, is {entry!r}")
    for field, kind in ENTRY.items():
        if not isinstance(entry.get(field), kind):
            raise CollectError(f"{where}.{field} must be {kind.__name__}, is {entry.get(field)!r}")
    if entry["role"] not in ("teacher", "student"):
        raise CollectError(f"{where}.role must be teacher or student, is {entry['role']!r}")


def _facts(runs_root: Path, directories: Sequence[str], cache: Path | None) -> pd.DataFrame:
    """What the files of each run directory say, from the cache where no file has changed."""
    known = FactsCache.load(cache, read_facts.__module__)
    root = str(runs_root)  # joining 10,000 Path objects would take longer than asking the disk

    def read(directory: str) -> tuple[FileState, Facts] | None:
        state = file_state(f"{root}/{directory}")
        if known.has(directory, state):
            return None
        return state, read_facts(runs_root / directory, state)

    stale = False
    for directory, found in zip(directories, in_threads(read, directories), strict=True):
        if found is not None:
            known.put(directory, *found)
            stale = True
    if stale and cache is not None:
        known.save(cache)
    return known.into_frame(directories)


def _distrust(runs: pd.DataFrame) -> None:
    """A record in the wrong folder, or of another method or seed, fills no cell."""
    for field in ("run_id", "method", "seed"):
        said = f"{field}_of_record"
        if said not in runs:
            continue
        wrong = (runs["state"] == FINISHED) & (runs[said] != runs[field])
        runs.loc[wrong, "reason"] = [
            f"result.json is of {field} {found}, the manifest expects {expected}"
            for found, expected in runs.loc[wrong, [said, field]].itertuples(index=False)
        ]
        runs.loc[wrong, "state"] = DAMAGED


def judge(runs: pd.DataFrame, sources: origin.Sources) -> None:
    """Mark conflicting runs, and those made by other code or taught by another teacher
    (:func:`analysis.runs.origin.mark`, :func:`analysis.runs.origin.mark_teachers`).
    """
    _mark_conflicts(runs)
    origin.mark(runs, sources)
    origin.mark_teachers(runs)


def _mark_conflicts(runs: pd.DataFrame) -> None:
    students = runs["role"] == "student"
    cell = [name for name in CELL if name in runs]  # older manifests name no teacher's seed
    ids = runs[students].groupby(cell, dropna=False)["run_id"].transform("nunique")
    clash = students & (ids.reindex(runs.index, fill_value=0) > 1)
    runs.loc[clash, "reason"] = (
        "two different runs claim this label, pair, recipe, seed and teacher"
    )
    runs.loc[clash, "state"] = CONFLICT


def set_apart(runs: pd.DataFrame, runs_root: Path) -> pd.DataFrame:
    """The rows of runs of which a merge has met another result, with the place of that.

    The result in the run's own folder counts; the other one is in ``conflicts/`` beside it.
    """
    folders = {Path(directory).parent for directory in runs["directory"].unique()}
    others = [path for name in folders for path in (runs_root / name / CONFLICTS).glob("*-*")]
    rows = []
    for path in sorted(others):
        of_run = runs[runs["run_id"] == path.name.partition("-")[0]].head(1)
        place = str(path.relative_to(runs_root))
        reason = "another result of a finished run, which counts in its place"
        rows.append(of_run.assign(state=CONFLICT, directory=place, reason=reason))
    return pd.concat(rows) if rows else runs.head(0)


def epochs(collected: Collected, runs: pd.DataFrame, keep: Callable[[str], bool]) -> pd.DataFrame:
    """One row per run and epoch: ``run_id``, ``epoch`` and the numeric columns that ``keep`` takes.

    ``runs``: rows of ``collected.runs``. Read on demand: tables need only the records. A missing
    figure is NaN.
    """
    unique = runs[["run_id", "directory"]].drop_duplicates("run_id")
    tables = list(in_threads(collected.rows_of, unique["directory"].tolist()))
    columns: dict[str, list[Any]] = {"run_id": [], "epoch": []}
    names = {key for rows in tables for row in rows for key in row if keep(key)}
    columns |= {name: [] for name in sorted(names)}
    for run_id, rows in zip(unique["run_id"], tables, strict=True):
        columns["run_id"] += [run_id] * len(rows)
        columns["epoch"] += [row["epoch"] for row in rows]
        for name in names:
            columns[name] += [_number(row.get(name)) for row in rows]
    return pd.DataFrame({name: as_column(columns[name]) for name in columns})


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.nan
