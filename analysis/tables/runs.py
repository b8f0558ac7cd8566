"""What is known of every run, for programs: ``runs.csv`` and ``features.csv``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.feature_gap.gap import IMAGES, NOISE, Gaps
from analysis.feature_gap.metrics import METRICS
from analysis.runs.collect import Collected
from analysis.tables.forms import tidy

RUN = ["run_id", "label", "recipe", "dataset"]
OF_A_FEATURE_ROW = [
    "run_id", "label", "recipe", "dataset", "pair", "seed", "view", "metric", "value", "image_sd",
    "images",
]  # fmt: skip


def write(collected: Collected, path: Path) -> Path:
    """``runs.csv``: all that is known in plain numbers, a row a run, those without a result too.

    A run without a teacher that stands in several pairs has no ``pair``; ``pairs`` says in how many
    it stands.
    """
    runs = collected.runs
    of_run = runs.groupby(RUN, sort=False)["pair"]
    several = of_run.transform("nunique")
    place = list(runs).index("pair")
    first = ~runs.duplicated(RUN)
    rows = runs[first].assign(pair=runs.loc[first, "pair"].where(several[first] == 1))
    rows.insert(place + 1, "pairs", several[first])
    return tidy.write(rows, path)


def write_features(gaps: Gaps, path: Path) -> Path:
    """``features.csv``: a row for each run, view of its features and metric of the gap.

    ``view`` is what is compared with the teacher's features, ``image_sd`` the standard deviation of
    ``value`` over other images of the same kind (empty where that is not known), ``images`` says
    which rows were measured on the same ones. No run with features: the header alone.
    """
    return tidy.write(features(gaps), path)


def features(gaps: Gaps) -> pd.DataFrame:
    """See :func:`write_features`."""
    rows = gaps.runs
    parts = []
    for name in METRICS:
        if name not in rows:
            continue
        part = rows[[it for it in OF_A_FEATURE_ROW if it in rows]].assign(
            metric=name, value=rows[name], image_sd=rows.get(f"{name}{NOISE}"), images=rows[IMAGES]
        )
        parts.append(part[part["value"].notna()])
    if not parts:
        return pd.DataFrame(columns=OF_A_FEATURE_ROW)
    order = [*RUN, "pair", "view"]
    return pd.concat(parts)[OF_A_FEATURE_ROW].sort_values(order, kind="stable", ignore_index=True)
