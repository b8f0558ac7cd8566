"""Which code and which teachers made the records: where they differ between runs.

Of the code also where it has changed since.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.runs.records import FINISHED
from suite.store import source
from suite.store.record import RecordError, RunDirectory

SOURCE, MODULES = "provenance/source_sha256", "provenance/source_modules"
UNLISTED = "the harness or methods"
"""What can be said of a record that lists no modules: those made before they were listed."""
TEACHER = "teacher/weights_sha256"

Modules = Mapping[str, str]
"""Module -> hash of its code."""
Sources = Mapping[str, Modules]
"""``source_sha256`` of a record -> the modules behind it; empty where the record lists none."""


def of_files(runs: pd.DataFrame, runs_root: Path) -> dict[str, Modules]:
    """What the records of the run store list; one record is read for each state of the code."""
    if SOURCE not in runs:
        return {}
    first = runs[runs["state"] == FINISHED].dropna(subset=[SOURCE]).drop_duplicates(SOURCE)
    found = {}
    for code, directory in zip(first[SOURCE], first["directory"], strict=True):
        try:
            record = RunDirectory(runs_root / directory).read_result() or {}
            found[str(code)] = _modules(record["provenance"].get("source_modules"))
        except (RecordError, LookupError, TypeError, AttributeError):
            found[str(code)] = {}
    return found


def of_columns(runs: pd.DataFrame) -> dict[str, Modules]:
    """The same where the rows hold the lists themselves, as W&B's do."""
    if SOURCE not in runs or MODULES not in runs:
        return {}
    rows = runs.dropna(subset=[SOURCE, MODULES]).drop_duplicates(SOURCE)
    return {
        str(code): _modules(text) for code, text in zip(rows[SOURCE], rows[MODULES], strict=True)
    }


def _modules(found: object) -> Modules:
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            return {}
    return found if isinstance(found, dict) else {}


def mark(runs: pd.DataFrame, sources: Sources) -> None:
    """Add columns, in place.

    ``stale``: whether one of the modules behind the record is another than in most runs that have
    it (ties: the newest); ``stale_modules`` names them. ``changed_since`` names the modules that
    have another code here and now.
    """
    runs["stale"], runs["stale_modules"], runs["changed_since"] = False, "", ""
    if SOURCE not in runs:
        return
    done = runs[runs["state"] == FINISHED].dropna(subset=[SOURCE])
    listed = {str(code): dict(sources.get(str(code), {})) for code in done[SOURCE].unique()}
    if not any(listed.values()):  # older records: their one hash is of everything
        listed = {code: {UNLISTED: code} for code in listed}
    usual = _usual(done, listed)
    for code, modules in listed.items():
        rows = done.index[done[SOURCE] == code]
        other = sorted(name for name, text in modules.items() if usual[name] != text)
        if not modules:
            other = [UNLISTED]
        runs.loc[rows, "stale"] = bool(other)
        runs.loc[rows, "stale_modules"] = source.named(other)
        runs.loc[rows, "changed_since"] = source.named(source.changed(modules))


def mark_teachers(runs: pd.DataFrame) -> None:
    """Add the column ``other_teacher``, in place: whether the weights of a run's teacher differ in
    any bit from those that taught most runs of its column with a teacher of the same seed.
    """
    runs["other_teacher"] = False
    if TEACHER not in runs:
        return
    seed = next((name for name in ("teacher_seed", "teacher_run_id") if name in runs), None)
    place = ["dataset", "recipe", "pair", *([seed] if seed else [])]
    done = runs[runs["state"] == FINISHED].dropna(subset=[TEACHER])
    places = done.groupby(place, dropna=False, sort=False).ngroup()
    counts = pd.DataFrame({"place": places, "weights": done[TEACHER]}).value_counts().reset_index()
    counts = counts.sort_values(["count", "weights"])
    usual = counts.drop_duplicates("place", keep="last").set_index("place")["weights"]
    runs.loc[done.index[done[TEACHER] != places.map(usual)], "other_teacher"] = True


def _usual(done: pd.DataFrame, listed: Sources) -> Modules:
    """Module -> the hash that most runs have."""
    weight: dict[str, dict[str, tuple[int, str]]] = defaultdict(dict)
    for code, rows in done.groupby(SOURCE):
        count, newest = rows["run_id"].nunique(), str(rows["provenance/finished"].max())
        for name, text in listed[str(code)].items():
            before = weight[name].get(text, (0, ""))
            weight[name][text] = (before[0] + count, max(before[1], newest))
    return {name: max(texts, key=lambda text: texts[text]) for name, texts in weight.items()}
