"""The same tidy frame from a W&B project, for runs whose directories are elsewhere.

W&B knows only runs that were started, so nothing that is missing can be shown, and it has no
features, so there are no gap figures. The run store is the truth; this is for a look from afar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from analysis.runs import origin
from analysis.runs.collect import Collected, CollectError, judge, name_datasets
from analysis.runs.records import FAILED, FINISHED, OPTION, UNFINISHED, Rows, flatten, is_percent
from suite.store.states import together

HIDDEN = "_"  # W&B's own columns start so


class Run(Protocol):
    """What is used of a run of ``wandb.Api``."""

    id: str
    state: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]

    def scan_history(self) -> Iterable[Mapping[str, Any]]:
        """All logged rows."""


class Api(Protocol):
    """What is used of ``wandb.Api``."""

    def runs(self, path: str, filters: dict[str, Any]) -> Iterable[Run]:
        """Runs of a project."""


@dataclass(frozen=True)
class Histories:
    """Run id -> rows, fetched beforehand."""

    rows: Mapping[str, Rows]

    def __call__(self, directory: str) -> Rows:
        """Rows of the run in ``directory`` (its id)."""
        return self.rows.get(directory, [])


def collect_wandb(api: Api, project: str, experiments: Sequence[str]) -> Collected:
    """Runs of these experiments (W&B's groups) in ``project`` (``entity/project``).

    A student without a teacher stands in every pair that has its network. Raises
    :class:`CollectError` when an experiment has none, and whatever ``api`` does.
    """
    if project.count("/") != 1 or not all(project.split("/")):
        raise CollectError(f"source wandb:{project}: must be wandb:entity/project")
    found = [run for name in experiments for run in _students(api, project, name)]
    runs = pd.DataFrame(_in_all_pairs([_entry(run) for run in found]))
    name_datasets(runs)
    judge(runs, origin.of_columns(runs))
    return Collected(
        experiment=" + ".join(experiments),
        command=f"W&B project {project}",
        note="",
        runs=runs,
        runs_root=Path("no-run-store"),
        rows_of=Histories({run.id: _rows(run) for run in found}),
    )


def _students(api: Api, project: str, experiment: str) -> list[Run]:
    found = list(api.runs(project, filters={"group": experiment}))
    students = [run for run in found if run.config.get("role", "student") == "student"]
    if not students:
        raise CollectError(f"no student run of experiment {experiment!r} in W&B project {project}")
    return students


def _entry(run: Run) -> dict[str, Any]:
    config, summary = run.config, dict(flatten(dict(run.summary)))
    method, teacher = config.get("method") or {}, config.get("teacher") or {}
    student = (config.get("student") or {}).get("name")
    state, reason = _state(run, summary)
    data, train = config.get("data") or {}, config.get("train") or {}
    said = {key: value for key, value in summary.items() if "/" in key or key.endswith("seconds")}
    return {
        "run_id": str(config.get("run_id", run.id)),
        "directory": run.id,
        "role": config.get("role", "student"),
        "label": str(config.get("label", method.get("name"))),
        "method": str(method.get("name")),
        "teacher": teacher.get("name"),
        "student": str(student),
        "pair": f"{teacher['name']}/{student}" if teacher else "",
        "recipe": str(config.get("recipe", "")),
        "seed": int(config.get("seed", 0)),
        "teacher_run_id": together(config),
        "dataset": str(data.get("name")),
        "contents": (data.get("contents") or {}).get("sha256"),
        "state": state,
        "reason": reason,
        "config/epochs": train.get("epochs"),
        "config/train_limit": data.get("train_limit"),
        **flatten(method.get("options") or {}, OPTION),
        **{key: value for key, value in said.items() if not key.startswith(HIDDEN)},
    }


def _state(run: Run, summary: Mapping[str, Any]) -> tuple[str, str]:
    figures = {key: value for key, value in summary.items() if key.startswith("last/")}
    accuracies = [value for key, value in figures.items() if key.endswith("/top1_percent")]
    if accuracies and all(is_percent(value) for value in accuracies):
        return FINISHED, ""
    if run.state in ("failed", "crashed", "killed"):
        return FAILED, f"W&B says {run.state}"
    return UNFINISHED, f"W&B says {run.state}, no result yet"


def _in_all_pairs(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs without a teacher, once for every pair of their network (or as ``none/student``)."""
    place = ("dataset", "contents", "recipe", "student")
    pairs: dict[tuple[Any, ...], dict[str, None]] = {}
    for entry in entries:
        if entry["pair"]:
            pairs.setdefault(tuple(entry[key] for key in place), {})[entry["pair"]] = None
    spread = []
    for entry in entries:
        key = tuple(entry[name] for name in place)
        own = [entry["pair"]] if entry["pair"] else list(pairs.get(key, {}))
        spread += [{**entry, "pair": pair} for pair in own or [f"none/{entry['student']}"]]
    return spread


def _rows(run: Run) -> Rows:
    rows: dict[int, dict[str, Any]] = {}
    for row in run.scan_history():
        epoch = row.get("epoch")
        if isinstance(epoch, int | float):
            kept = {k: v for k, v in row.items() if not k.startswith(HIDDEN) and v is not None}
            rows.setdefault(int(epoch), {}).update({**kept, "epoch": int(epoch)})
    return [rows[epoch] for epoch in sorted(rows)]
