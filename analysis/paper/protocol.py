"""The protocol of an experiment as a paper states it, sentence by sentence, from records alone.

What differs between runs is listed with all its values, so that no sentence is true of some only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.paper.bibliography import DATA_SETS, TOOLS, cite, entries
from analysis.runs.grid import TEST, Grid
from analysis.runs.records import FINISHED
from analysis.tables.forms.text import count, duration
from suite.store.record import read_json

Configs = Sequence[dict[str, Any]]
SPLITS = {"train": "Training", "val": "Validation", "test": "Test"}
OPTIMIZERS = {
    "momentum": "SGD",
    "sgd": "SGD with Nesterov's momentum",
    "adam": "Adam",
    "adamw": "AdamW",
    "lamb": "LAMB",
    "rmsproptf": "RMSProp",
    "dot": "DOT",
}
"""timm's name -> the field's; others are printed as timm has them."""


def paragraphs(grid: Grid, citations: Mapping[str, str]) -> list[tuple[str, str]]:
    """Heading and text of every paragraph; ``[@key]`` marks what is cited."""
    done = _finished(grid)
    configs = _configs(grid, done)
    return [
        ("Data", " ".join(_data(grid, done, configs))),
        ("Networks and teachers", " ".join(_networks(grid, done))),
        ("Methods", " ".join(_methods(grid, citations))),
        ("Training", " ".join(_training(configs))),
        ("Evaluation", " ".join(_evaluation(grid, done))),
        ("Compute and code", " ".join(_compute(grid))),
    ]


def cited(grid: Grid, citations: Mapping[str, str]) -> dict[str, str]:
    """Method -> the BibTeX of its papers, of all rows."""
    return {method: citations.get(method, "") for method in map(grid.method, grid.labels)}


def datasets(grid: Grid) -> list[str]:
    """Names of the data sets, without what tells two folders of one name apart."""
    return list(dict.fromkeys(column.dataset.partition(" (")[0] for column in grid.columns))


def is_tuned(grid: Grid) -> bool:
    """Whether a search chose the settings of any row."""
    return any(grid.tuned(label) for label in grid.labels)


def _finished(grid: Grid) -> pd.DataFrame:
    students = grid.students
    return students[students["state"] == FINISHED].drop_duplicates("directory")


def _configs(grid: Grid, done: pd.DataFrame) -> Configs:
    """The config of one finished run of every cell; its other runs differ in the seed alone."""
    first = done.drop_duplicates(["label", "dataset", "recipe", "pair"])
    root = grid.collected.runs_root
    read = (read_json(Path(root) / name / "config.json") for name in first["directory"])
    return [content["config"] for content in read if isinstance(content, dict)]


def _data(grid: Grid, done: pd.DataFrame, configs: Configs) -> Iterable[str]:
    known = {name: [DATA_SETS[name]] if name in DATA_SETS else [] for name in datasets(grid)}
    yield f"Students are trained on {_listed([name + cite(known[name]) for name in known])}."
    for split, name in SPLITS.items():
        sizes = _values(done, f"data/images/{split}", lambda it: f"{int(it):,}")
        if sizes:
            yield f"{name} images: {sizes}."
    if any(config["data"].get("train_split") == "trainval" for config in configs):
        yield "Validation images are part of the training images, as in the published tables."


def _networks(grid: Grid, done: pd.DataFrame) -> Iterable[str]:
    for column in grid.columns:
        teacher, student = grid.models(column)
        size = _values(done[done["column"] == column], "parameters/student", count)
        text = f"{student} ({size} parameters)" if size else student
        if teacher is None:
            yield f"Student: {text}, without a teacher."
            continue
        accuracies = grid.teacher_accuracy(column)
        shown = _listed([f"{value:.2f}" for value in accuracies])
        split = "test" if grid.figure_of(column) == TEST else "validation"
        taught = f" ({shown} % {split} accuracy)" if len(accuracies) else ""
        yield f"{teacher}{taught} teaches {text}."


def _methods(grid: Grid, citations: Mapping[str, str]) -> Iterable[str]:
    names = [
        f"{label}{cite(list(entries(citations.get(grid.method(label), ''))))}"
        for label in grid.labels
    ]
    yield f"We compare {_listed(names)}, all by one implementation{cite(['dskd_bench'])}."
    searches = {label: marks for label in grid.labels if (marks := grid.tuned(label))}
    if searches:
        trials = _listed({f"{mark['trials']}" for marks in searches.values() for mark in marks})
        yield (
            f"The settings of {_listed(searches)} were chosen by a search{cite(['optuna'])} "
            f"with {trials} trials each, on validation images."
        )


def _training(configs: Configs) -> Iterable[str]:
    def said(section: str, field: str) -> str:
        return _listed({_plain(config[section].get(field)) for config in configs})

    names = _listed({OPTIMIZERS.get(it, it) for it in (c["optimizer"]["name"] for c in configs)})
    yield (
        f"Optimizer {names}, learning rate {said('optimizer', 'lr')}, "
        f"momentum {said('optimizer', 'momentum')}, weight decay "
        f"{said('optimizer', 'weight_decay')}, schedule {said('schedule', 'name')}, "
        f"{said('train', 'epochs')} epochs, {said('train', 'batch_size')} images a step, "
        f"arithmetic {said('train', 'precision')}, augmentation {said('data', 'augment')}."
    )
    parts = {str(it["train"]["accumulate"]) for it in configs if "accumulate" in it["train"]}
    if parts:
        yield f"A step's gradient is the mean over {_listed(parts)} micro-batches."
    drops = {tuple(it["schedule"]["milestones"]) for it in configs if it["schedule"]["milestones"]}
    if drops:
        epochs = _listed({", ".join(map(str, milestones)) for milestones in drops})
        factor = said("schedule", "decay_rate")
        yield f"The learning rate is multiplied by {factor} after epochs {epochs}."
    yield "All methods of one seed share initial weights, order of images and augmentation."


def _evaluation(grid: Grid, done: pd.DataFrame) -> Iterable[str]:
    numbers = ", ".join(map(str, grid.seeds))
    seeds = f"seed{'s' if len(grid.seeds) > 1 else ''} {numbers}"
    splits = {"test" if grid.figure_of(column) == TEST else "validation" for column in grid.columns}
    split = _listed(sorted(splits))
    yield f"We report {split} accuracy after the last epoch, over {seeds}."
    yield "No epoch is selected on test images, and searches see validation images alone."
    missing = len(grid.students.drop_duplicates("directory")) - len(done)
    if missing:
        yield f"{missing} of the expected runs are missing; tables show the holes."
    tools = cite([key for key in TOOLS if key in ("scipy", "pandas", "matplotlib")])
    yield f"Intervals and tests are those of the suite{cite(['dskd_bench'])}, made with{tools}."


def _compute(grid: Grid) -> Iterable[str]:
    every = grid.collected.runs
    runs = every[every["state"] == FINISHED].drop_duplicates("directory")
    seconds = float(runs["train_seconds"].sum()) if "train_seconds" in runs else math.nan
    where = _values(runs, "provenance/device", str) or "an unknown device"
    yield f"{len(runs)} runs, teachers included, took {duration(seconds)} of training on {where}."
    for text in _unique(runs, "provenance/versions"):
        versions = json.loads(str(text))
        named = [
            f"{name} {versions[name]}{cite([name])}"
            for name in ("torch", "timm")
            if name in versions
        ]
        yield f"Software: Python {versions.get('python', '?')}, {_listed(named)}."
    commits = _unique(runs, "provenance/git_commit")
    if commits:
        yield f"Code: {_listed([str(commit)[:12] for commit in commits])}."
    yield f"Runs are started by submitit{cite(['submitit'])}."


def _values(runs: pd.DataFrame, column: str, text: Callable[[Any], str]) -> str:
    return _listed([text(value) for value in _unique(runs, column)])


def _unique(runs: pd.DataFrame, column: str) -> list[Any]:
    return list(runs[column].dropna().unique()) if column in runs else []


def _plain(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _listed(words: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; a set in sorted order."""
    all_words = sorted(words) if isinstance(words, set) else list(words)
    *first, last = all_words or [""]
    return f"{', '.join(first)} and {last}" if first else last
