"""Metrics of the gap of every finished run with features, as tidy frames.

A student without a teacher is compared with the teacher of its pair on the same images.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.feature_gap import features, image_noise
from analysis.feature_gap.feature_files import (
    FILE,
    MEASURED,
    MISSING,
    Source,
    UnusableError,
    epochs_kept,
    named_anew,
    read,
    sources,
)
from analysis.feature_gap.features import Array
from analysis.feature_gap.metrics import METRICS
from analysis.feature_gap.views import VIEWS, View, between, views
from analysis.runs.cache import Facts, FactsCache, FileState, file_state
from analysis.runs.collect import Collected
from analysis.runs.records import FINISHED

SEEDS = 3
"""The gap over epochs is measured for at most so many runs of a cell."""
PLACE = ["dataset", "recipe", "pair"]
KEYS = [*PLACE, "label", "seed", "run_id"]
FAULT_OF = [*PLACE, "label", "seed", "directory"]
NOISE = "/image_sd"
"""Suffix of a metric's deviation over other images, see :mod:`analysis.feature_gap.image_noise`."""
INFLUENCE = "/influence"
"""Suffix of the influence of each image on a metric, see :func:`influence_of`."""
IMAGES = "images"
"""Which images a row was measured on: rows with the same value can be compared image by image."""


@dataclass(frozen=True)
class Gaps:
    """The gap metrics of an experiment."""

    runs: pd.DataFrame
    """One row per finished run and view: ``dataset, recipe, pair, label, seed, run_id, view``, the
    metrics, and for those that know it ``<metric>/image_sd`` and ``<metric>/influence``."""
    epochs: pd.DataFrame
    """The same and ``epoch``, with the quick metrics, for runs that kept features on the way."""
    floor: pd.DataFrame
    """What two networks that differ by nothing but chance are apart: two seeds of a student, two
    teachers of one architecture. Columns of ``runs`` without ``seed`` and ``run_id``."""
    faults: pd.DataFrame
    """Finished runs without metrics: ``dataset, recipe, pair, label, seed, reason``."""

    def of(self, dataset: str, recipe: str, pair: str) -> Gaps:
        """Those of one column of the accuracy table."""
        frames = self.runs, self.epochs, self.floor, self.faults
        return Gaps(*(there(frame, dataset=dataset, recipe=recipe, pair=pair) for frame in frames))


def there(frame: pd.DataFrame, **place: str) -> pd.DataFrame:
    """The rows of a frame of :class:`Gaps` that belong to a place, as far as the frame tells."""
    chosen = np.ones(len(frame), dtype=bool)
    for name, value in place.items():
        if name in frame:
            chosen &= (frame[name] == value).to_numpy()
    return frame[chosen]


NO_GAPS = Gaps(*(pd.DataFrame() for _ in range(4)))
"""Of runs that are not measured."""


class Job(NamedTuple):
    """One measurement and what it depends on."""

    key: str
    state: FileState
    measure: Callable[[], Facts]


def gaps(collected: Collected, cache_folder: Path | None = None) -> Gaps:
    """Measure every finished student with features. ``cache_folder``: makes the next call fast."""
    runs, root = collected.runs, collected.runs_root
    done = (runs["role"] == "student") & (runs["state"] == FINISHED)
    with_features = np.zeros(len(runs), dtype=bool)
    places = (f"{root}/{place}/{FILE}" for place in runs.loc[done, "directory"])
    with_features[done] = [*map(os.path.isfile, places)]
    without = _without_features(runs.loc[done & ~with_features, FAULT_OF])
    if not with_features.any():
        return replace(NO_GAPS, faults=without)
    runs = runs[done]
    there = with_features[done]
    where = [source for source, is_there in zip(sources(runs), there, strict=True) if is_there]
    runs = runs[there]
    jobs = [Job(it.key, it.state(root), partial(_of_run, it, root)) for it in where]
    facts = _measured(jobs, cache_folder and cache_folder / "gaps.json")
    rows, faults = [], []
    for run, source in zip(runs[KEYS].to_dict("records"), where, strict=True):
        known = facts[source.key]
        rows += [{**run, **row} for row in _by_view(known)]
        if "fault" in known:
            place = {name: run[name] for name in (*PLACE, "label", "seed")}
            faults.append({**place, "reason": known["fault"]})
    epochs = _over_epochs(runs, where, root, cache_folder and cache_folder / "gaps-epochs.json")
    final = pd.DataFrame(rows)
    floor = _floor(runs, where, root, cache_folder and cache_folder / "gaps-floor.json")
    all_faults = pd.concat([pd.DataFrame(faults), without], ignore_index=True)
    return Gaps(final, _with_last(epochs, final, runs), floor, all_faults)


def _without_features(runs: pd.DataFrame) -> pd.DataFrame:
    """The faults of runs, found without opening anything: there may be 100,000."""
    reason = runs["directory"] + f"/{FILE} {MISSING}"
    return runs.drop(columns="directory").assign(reason=reason)


def _over_epochs(
    runs: pd.DataFrame, where: Sequence[Source], root: Path, cache: Path | None
) -> pd.DataFrame:
    """The epochs before the last, of the first runs of each cell."""
    place = [name for name in KEYS if name not in ("seed", "run_id")]
    first = runs.groupby(place, sort=False).cumcount() < SEEDS
    jobs = []
    for run, source in zip(
        runs.loc[first, KEYS].to_dict("records"), np.array(where)[first], strict=True
    ):
        for epoch, path in epochs_kept(root / source.directory).items():
            state = source.state(root) | file_state(path.parent, (path.name,))
            job = Job(f"{source.key} {epoch}", state, partial(_of_epoch, source, root, path))
            jobs.append(({**run, "epoch": epoch}, job))
    facts = _measured([job for _, job in jobs], cache)
    rows = [{**row, **values} for row, job in jobs for values in _by_view(facts[job.key])]
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
    for view in dict.fromkeys((*VIEWS, "teacher")):
        prefix = f"{view}/"
        values = {k.removeprefix(prefix): v for k, v in facts.items() if k.startswith(prefix)}
        if values:
            rows.append({"view": view, IMAGES: facts.get(IMAGES), **values})
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


def _floor(
    runs: pd.DataFrame, where: Sequence[Source], root: Path, cache: Path | None
) -> pd.DataFrame:
    """Of each place the first student with two seeds, and all pairs of its teachers."""
    jobs = []
    by_row = dict(zip(runs.index, where, strict=True))
    for place, there in runs.groupby(PLACE, sort=False):
        row = dict(zip(PLACE, place, strict=True))
        for name, network, first, second in _twins(there):
            pair = by_row[first], by_row[second]
            state = {f"{i} {k}": v for i, it in enumerate(pair) for k, v in it.state(root).items()}
            key = f"{network} {pair[0].key} {pair[1].key}"
            jobs.append(
                ({**row, "label": name}, Job(key, state, partial(_of_twins, pair, root, network)))
            )
    facts = _measured([job for _, job in jobs], cache)
    return pd.DataFrame(
        [{**row, **values} for row, job in jobs for values in _by_view(facts[job.key])]
    )


def _twins(runs: pd.DataFrame) -> Iterator[tuple[str, str, int, int]]:
    """Name, kind of network and the rows of two runs of one place that differ by chance alone."""
    for label, same in runs.groupby("label", sort=False):
        if same["seed"].nunique() > 1:
            first, second = same.drop_duplicates("seed").index[:2]
            yield f"two seeds of {label}", "student", first, second
            break
    taught = runs[runs["teacher"].notna()] if "teacher_run_id" in runs else runs.iloc[:0]
    for first, second in combinations(taught.drop_duplicates("teacher_run_id").index, 2):
        yield "two teachers", "teacher", first, second


def _of_twins(pair: tuple[Source, Source], root: Path, network: str) -> Facts:
    def twins() -> list[View]:
        first, second = (source.read(root, MEASURED) for source in pair)
        view = between(first, second, network)
        return [] if view is None else [view]

    return _facts(twins)


def _of_run(source: Source, root: Path) -> Facts:
    arrays: dict[str, Array] = {}

    def of_run() -> list[View]:
        arrays.update(source.read(root, MEASURED))
        return views(arrays)

    facts = _facts(of_run)
    if "heldout/index" in arrays:
        facts[IMAGES] = hashlib.sha256(arrays["heldout/index"].tobytes()).hexdigest()[:16]
    return facts


def _of_epoch(source: Source, root: Path, path: Path) -> Facts:
    def of_epoch() -> list[View]:
        last = source.read(root, MEASURED)
        kept = {name: array for name, array in last.items() if "/inspect/" not in name}
        then = read(path, source.run_id, MEASURED)
        return views(kept | named_anew(then, guided="heldout/inspect/virtual_teacher" in last))

    return _facts(of_epoch, quick=True)


def _facts(made: Callable[[], list[View]], *, quick: bool = False) -> Facts:
    """Of each view the metrics, and unless only the ``quick`` ones what images do to them."""
    facts: Facts = {}
    try:
        for view in made():
            for name, metric in METRICS.items():
                if quick and not metric.over_epochs:
                    continue
                measured = metric.measure(view)
                facts[f"{view.name}/{name}"] = measured.value
                if measured.influence is not None and not quick:
                    facts[f"{view.name}/{name}{NOISE}"] = image_noise.deviation(measured.influence)
                    facts[f"{view.name}/{name}{INFLUENCE}"] = _packed(measured.influence)
    except (UnusableError, features.FeatureError, np.linalg.LinAlgError) as error:
        return {"fault": str(error)}
    return facts or {"fault": "no features of its teacher on the same images"}


def _packed(influence: Array) -> str:
    """Three digits of each number, as text: 3 kB for 1,000 images."""
    return base64.b64encode(influence.astype(np.float16).tobytes()).decode()


def influence_of(packed: str) -> Array:
    """The influence [M] behind a cell of ``<metric>/influence``."""
    return np.frombuffer(base64.b64decode(packed), dtype=np.float16).astype(np.float64)
