"""Gap metrics of every finished run with features, as one tidy frame.

A view is one description of the student: ``student`` (pooled features) and, where the method saved
them, ``denoised`` and ``original`` (what was denoised, if that is not the pooled feature itself).
All are compared with the teacher's pooled features on held-out images, in the teacher's space:
through the linear map fitted on training images (for ``denoised`` the map of ``original``, so that
the two differ by the denoising alone). A student without a teacher is compared with the teacher of
its pair on the same images.

Shapes: M images, D features.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis import features
from analysis.cache import Facts, FactsCache, FileState, file_state
from analysis.collect import Collected
from analysis.features import Array
from analysis.records import FINISHED

FILE = "features.npz"
SPLITS = ("train", "heldout")
NEEDED = (
    "label",
    "index",
    "student_pooled",
    "teacher_pooled",
    "inspect/original",
    "inspect/denoised",
    "inspect/trajectory_nll",
)
VIEWS = ("student", "original", "denoised")
SEED = 20260213  # directions and hyperplanes, the same for all runs
SLICES, BITS = 64, 256
IMAGES = 500
"""Kernel metrics use the first so many images: their cost grows with the square."""


class Metric(NamedTuple):
    """How a metric is shown."""

    title: str
    digits: int
    higher_is_closer: bool


METRICS = {
    "cka": Metric("linear CKA", 2, True),
    "unexplained": Metric("unexplained variance", 2, False),
    "frechet": Metric("Fréchet distance", 2, False),
    "mmd": Metric("MMD² × 1000", 2, False),
    "wasserstein": Metric("sliced Wasserstein", 2, False),
    "hash_agreement": Metric("hash agreement", 2, True),
    "angle": Metric("angle (°)", 1, False),
    "class_gap": Metric("class gap", 2, False),
    "class_geometry": Metric("class geometry", 2, True),
}


@dataclass(frozen=True)
class View:
    """One description of the student beside the teacher, on held-out images."""

    name: str
    raw: Array
    """[M, D_s] as the student has it."""
    mapped: Array
    """[M, D_t] in the teacher's space."""
    teacher: Array
    """[M, D_t]"""
    label: Array
    """[M]"""


def views(arrays: dict[str, Array]) -> list[View]:
    """The views in the arrays of a ``features.npz``; none without teacher or held-out images."""
    if "train/teacher_pooled" not in arrays or "heldout/teacher_pooled" not in arrays:
        return []
    teacher, label = arrays["heldout/teacher_pooled"], arrays["heldout/label"]
    sources = {"student": "student_pooled", "original": "inspect/original"}
    found = []
    for name, source in sources.items():
        if f"train/{source}" not in arrays or f"heldout/{source}" not in arrays:
            continue
        fitted = features.fit_linear_map(arrays[f"train/{source}"], arrays["train/teacher_pooled"])
        raw = arrays[f"heldout/{source}"]
        if name == "student" or not _same(raw, arrays["heldout/student_pooled"]):
            found.append(View(name, raw, fitted(raw), teacher, label))
        denoised = arrays.get("heldout/inspect/denoised")
        if name == "original" and denoised is not None and denoised.shape == raw.shape:
            found.append(View("denoised", denoised, fitted(denoised), teacher, label))
    return found


def _same(x: Array, y: Array) -> bool:
    return x.shape == y.shape and np.allclose(x, y, rtol=1e-3, atol=1e-4)


def measure(view: View) -> dict[str, float]:
    """All of :data:`METRICS` for one view."""
    mapped, teacher = view.mapped, view.teacher
    variance = features.total_variance(teacher)
    few, few_teacher = mapped[:IMAGES], teacher[:IMAGES]
    width = features.median_bandwidth(few_teacher)
    rng = np.random.default_rng(SEED)
    centred = mapped - mapped.mean(axis=0), teacher - teacher.mean(axis=0)
    return {
        "cka": features.linear_cka(view.raw, teacher),
        "unexplained": features.unexplained_variance(mapped, teacher),
        "frechet": features.frechet_distance(mapped, teacher) / variance,
        "mmd": 1000 * features.mmd(few, few_teacher, width, paired=True),
        "wasserstein": features.sliced_wasserstein(mapped, teacher, rng, SLICES)
        / np.sqrt(variance / teacher.shape[1]),
        "hash_agreement": features.hash_agreement(mapped, teacher, rng, BITS),
        "angle": float(np.nanmean(features.angles(*centred))),
        "class_gap": float(features.class_gap(mapped, teacher, view.label).mean()),
        "class_geometry": features.class_geometry(view.raw, teacher, view.label),
    }


def read(path: Path, names: Sequence[str] = NEEDED) -> dict[str, Array]:
    """These arrays of a ``features.npz``, as float64; empty if it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            there = [f"{split}/{name}" for split in SPLITS for name in names]
            found = {name: file[name] for name in there if name in file.files}
            return {name: np.asarray(array, dtype=np.float64) for name, array in found.items()}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError):
        return {}


@dataclass(frozen=True)
class Source:
    """A run's features and, for a student without a teacher, a run that has the teacher's."""

    directory: str
    teacher_directory: str

    @property
    def key(self) -> str:
        """Name in the cache."""
        return f"{self.directory} {self.teacher_directory}"

    def state(self, root: Path) -> FileState:
        """Of both files; empty if one is missing."""
        own = file_state(root / self.directory, (FILE,))
        other = file_state(root / self.teacher_directory, (FILE,))
        return {FILE: own[FILE], "teacher": other[FILE]} if own and other else {}

    def read(self, root: Path) -> dict[str, Array]:
        """Arrays with the teacher's; without them when the images are not the same."""
        arrays = read(root / self.directory / FILE)
        if self.directory == self.teacher_directory or "heldout/teacher_pooled" in arrays:
            return arrays
        other = read(root / self.teacher_directory / FILE)
        names = [f"{split}/index" for split in ("train", "heldout")]
        if any(not np.array_equal(arrays.get(n, np.empty(0)), other.get(n, ())) for n in names):
            return arrays
        return {k: v for k, v in other.items() if k.endswith("/teacher_pooled")} | arrays


def sources(runs: pd.DataFrame) -> list[Source]:
    """Where the features of each finished run of ``runs`` and its teacher's are, in order."""
    lenders: dict[tuple[object, ...], str] = {}
    taught = runs[runs["teacher"].notna()]
    for _, run in taught.iterrows():
        lenders.setdefault((run["dataset"], run["recipe"], run["pair"]), run["directory"])
    found = []
    for _, run in runs.iterrows():
        own = run["directory"]
        lender = lenders.get((run["dataset"], run["recipe"], run["pair"]), own)
        found.append(Source(own, own if isinstance(run["teacher"], str) else lender))
    return found


def frame(collected: Collected, cache: Path | None = None, threads: int = 2) -> pd.DataFrame:
    """One row per finished run and view: ``dataset, recipe, pair, label, seed, view`` and metrics.

    Runs without usable features have no row. ``cache``: a file that makes the next call fast.
    """
    runs = collected.students()
    runs = runs[runs["state"] == FINISHED]
    where = sources(runs)
    facts = _measured(collected.runs_root, list(dict.fromkeys(where)), cache, threads)
    rows = []
    keys = ["dataset", "recipe", "pair", "label", "seed", "run_id"]
    for (_, run), source in zip(runs.iterrows(), where, strict=True):
        known = facts[source.key]
        for view in VIEWS:
            if f"{view}/cka" in known:
                values = {name: known.get(f"{view}/{name}", np.nan) for name in METRICS}
                rows.append({**{key: run[key] for key in keys}, "view": view, **values})
    return pd.DataFrame(rows)


def _measured(
    root: Path, where: list[Source], cache: Path | None, threads: int
) -> dict[str, Facts]:
    known = FactsCache.load(cache)
    states = {source: source.state(root) for source in where}
    fresh = [source for source in where if not known.has(source.key, states[source])]

    def measured(source: Source) -> Facts:
        return _measure_run(source.read(root)) if states[source] else {}

    with ThreadPoolExecutor(threads) as pool:
        for source, facts in zip(fresh, pool.map(measured, fresh), strict=True):
            known.put(source.key, states[source], facts)
    if fresh and cache is not None:
        known.save(cache)
    return known.facts([source.key for source in where])


def _measure_run(arrays: dict[str, Array]) -> Facts:
    facts: Facts = {}
    try:
        for view in views(arrays):
            facts |= {f"{view.name}/{name}": value for name, value in measure(view).items()}
    except (features.FeatureError, np.linalg.LinAlgError) as error:
        return {"fault": str(error)}
    return facts
