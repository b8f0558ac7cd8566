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

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.feature_gap import features, image_noise
from analysis.feature_gap.feature_files import (
    MEASURED,
    Source,
    UnusableError,
    epochs_kept,
    read,
    sources,
)
from analysis.feature_gap.features import Array
from analysis.runs.cache import Facts, FactsCache, FileState, file_state
from analysis.runs.collect import Collected
from analysis.runs.records import FINISHED

VIEWS = ("student", "original", "denoised")
SEED = 20260213  # directions and hyperplanes, the same for all runs
SLICES, BITS = 64, 256
IMAGES = 500
"""Kernel metrics use the first so many images: their cost grows with the square."""
SEEDS = 3
"""The gap over epochs is measured for at most so many runs of a cell."""
KEYS = ["dataset", "recipe", "pair", "label", "seed", "run_id"]
NOISE = "/image_sd"
"""Suffix of a metric's deviation over other images, see :mod:`analysis.feature_gap.image_noise`."""


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


OVER_EPOCHS = ("cka", "unexplained", "frechet")
"""Metrics of the gap over epochs: those that are quick to compute."""


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


def trajectory_distances(arrays: dict[str, Array]) -> Array | None:
    """Relative Fréchet distance to the teacher of what each sampling step left [steps + 1].

    On held-out images, through the linear map of the features before denoising; None where the
    method kept no trajectory.
    """
    steps = arrays.get("heldout/inspect/trajectory")  # [M, steps + 1, D]
    original, target = (
        arrays.get(f"train/{name}") for name in ("inspect/original", "teacher_pooled")
    )
    if steps is None or steps.ndim != 3 or original is None or target is None:
        return None
    teacher = arrays["heldout/teacher_pooled"]
    fitted, unit = features.fit_linear_map(original, target), features.total_variance(teacher)
    distances = [
        features.frechet_distance(fitted(steps[:, step]), teacher) / unit
        for step in range(steps.shape[1])
    ]
    return np.array(distances)


def measure(view: View) -> dict[str, float]:
    """All of :data:`METRICS` for one view, and the deviation of four of them over other images."""
    mapped, teacher, quick = view.mapped, view.teacher, _quick(view)
    variance = features.total_variance(teacher)
    few, few_teacher = mapped[:IMAGES], teacher[:IMAGES]
    width = _bandwidth(few_teacher.tobytes(), few_teacher.shape[1])
    parts = features.paired_mmd_parts(few, few_teacher, width)
    rng = np.random.default_rng(SEED)
    centred = mapped - mapped.mean(axis=0), teacher - teacher.mean(axis=0)
    influences = {
        "cka": image_noise.cka_influence(view.raw, teacher),
        "unexplained": image_noise.unexplained_influence(mapped, teacher),
        "frechet": image_noise.relative_frechet_influence(
            mapped, teacher, quick["frechet"] * variance
        ),
        "mmd": 1000 * image_noise.mmd_influence(parts),
    }
    return {
        **quick,
        "mmd": 1000 * float(parts.mean()),
        "wasserstein": features.sliced_wasserstein(mapped, teacher, rng, SLICES)
        / np.sqrt(variance / teacher.shape[1]),
        "hash_agreement": features.hash_agreement(mapped, teacher, rng, BITS),
        "angle": float(np.nanmean(features.angles(*centred))),
        "class_gap": float(features.class_gap(mapped, teacher, view.label).mean()),
        "class_geometry": features.class_geometry(view.raw, teacher, view.label),
        **{f"{name}{NOISE}": image_noise.deviation(it) for name, it in influences.items()},
    }


@lru_cache(maxsize=32)
def _bandwidth(teacher: bytes, columns: int) -> float:
    """Of the rows behind ``teacher``, which many runs share."""
    return features.median_bandwidth(np.frombuffer(teacher).reshape(-1, columns))


def _quick(view: View) -> dict[str, float]:
    """:data:`OVER_EPOCHS`."""
    mapped, teacher = view.mapped, view.teacher
    return {
        "cka": features.linear_cka(view.raw, teacher),
        "unexplained": features.unexplained_variance(mapped, teacher),
        "frechet": features.frechet_distance(mapped, teacher) / features.total_variance(teacher),
    }


@dataclass(frozen=True)
class Gaps:
    """The gap figures of an experiment."""

    runs: pd.DataFrame
    """One row per finished run and view: ``dataset, recipe, pair, label, seed, run_id, view``, the
    metrics, and ``<metric>/image_sd`` for those whose deviation over images is known."""
    epochs: pd.DataFrame
    """The same and ``epoch``, with :data:`OVER_EPOCHS`, for runs that kept features on the way."""
    faults: pd.DataFrame
    """Finished runs without figures: ``label, pair, seed, reason``."""


class Job(NamedTuple):
    """One measurement and what it depends on."""

    key: str
    state: FileState
    measure: Callable[[], Facts]


def gaps(collected: Collected, cache_folder: Path | None = None) -> Gaps:
    """Measure every finished student with features. ``cache_folder``: makes the next call fast."""
    runs = collected.students()
    runs = runs[runs["state"] == FINISHED]
    where = sources(runs)
    root = collected.runs_root
    jobs = [Job(it.key, it.state(root), partial(_of_run, it, root)) for it in where]
    facts = _measured(jobs, cache_folder and cache_folder / "gaps.json")
    rows, faults = [], []
    for (_, run), source in zip(runs.iterrows(), where, strict=True):
        known = facts[source.key]
        rows += [{**run[KEYS], **row} for row in _by_view(known)]
        if "fault" in known:
            place = {name: run[name] for name in ("label", "pair", "seed")}
            faults.append({**place, "reason": known["fault"]})
    epochs = _over_epochs(runs, where, root, cache_folder and cache_folder / "gaps-epochs.json")
    final = pd.DataFrame(rows)
    return Gaps(final, _with_last(epochs, final, runs), pd.DataFrame(faults))


def _over_epochs(
    runs: pd.DataFrame, where: Sequence[Source], root: Path, cache: Path | None
) -> pd.DataFrame:
    """The epochs before the last, of the first runs of each cell."""
    place = [name for name in KEYS if name not in ("seed", "run_id")]
    first = runs.groupby(place, sort=False).cumcount() < SEEDS
    found = []
    for (_, run), source in zip(runs[first].iterrows(), np.array(where)[first], strict=True):
        for epoch, path in epochs_kept(root / source.directory).items():
            state = source.state(root) | file_state(path.parent, (path.name,))
            job = Job(f"{source.key} {epoch}", state, partial(_of_epoch, source, root, path))
            found.append(({**run[KEYS], "epoch": epoch}, job))
    facts = _measured([job for _, job in found], cache)
    rows = [{**row, **values} for row, job in found for values in _by_view(facts[job.key])]
    return pd.DataFrame(rows)


def _with_last(epochs: pd.DataFrame, final: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The last epoch is that of the record."""
    if epochs.empty:
        return epochs
    last = final[final["run_id"].isin(epochs["run_id"])]
    known = runs.drop_duplicates("run_id").set_index("run_id")["last/epoch"]
    last = last.assign(epoch=last["run_id"].map(known).astype(int))
    return pd.concat([epochs, last[list(epochs)]], ignore_index=True)


def _by_view(facts: Facts) -> list[dict[str, object]]:
    rows = []
    for view in VIEWS:
        prefix = f"{view}/"
        values = {k.removeprefix(prefix): v for k, v in facts.items() if k.startswith(prefix)}
        if values:
            rows.append({"view": view, **values})
    return rows


def _measured(jobs: Sequence[Job], cache: Path | None) -> dict[str, Facts]:
    known = FactsCache.load(cache, __name__)
    fresh = [job for job in jobs if not known.has(job.key, job.state)]
    one_thread_each = threadpool_limits(1, user_api="blas")  # small matrices: more would only wait
    with one_thread_each, ThreadPoolExecutor(os.cpu_count()) as pool:
        for job, facts in zip(fresh, pool.map(lambda job: job.measure(), fresh), strict=True):
            known.put(job.key, job.state, facts)
    if fresh and cache is not None:
        known.save(cache)
    return known.facts([job.key for job in jobs])


def _of_run(source: Source, root: Path) -> Facts:
    return _facts(lambda: source.read(root, MEASURED), measure)


def _of_epoch(source: Source, root: Path, path: Path) -> Facts:
    def arrays() -> dict[str, Array]:
        last = source.read(root, MEASURED)
        kept = {name: it for name, it in last.items() if "/inspect/" not in name}
        return kept | read(path, source.run_id, MEASURED)

    return _facts(arrays, _quick)


def _facts(arrays: Callable[[], dict[str, Array]], of: Callable[[View], dict[str, float]]) -> Facts:
    facts: Facts = {}
    try:
        for view in views(arrays()):
            facts |= {f"{view.name}/{name}": value for name, value in of(view).items()}
    except (UnusableError, features.FeatureError, np.linalg.LinAlgError) as error:
        return {"fault": str(error)}
    return facts or {"fault": "no features of its teacher on the same images"}
