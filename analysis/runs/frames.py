"""The run store as DataFrames, for one's own analyses.

```
from analysis.runs import frames
runs = frames.runs("dskd_digits")
done = runs[(runs["role"] == "student") & (runs["state"] == "finished")]
print(done.groupby("label")["last/test/top1_percent"].agg(["mean", "std", "count"]))
epochs = frames.epochs(done).merge(done[["run_id", "label", "seed"]], on="run_id")
```
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.runs import collect
from analysis.runs.collect import Collected, CollectError, MetricsFiles


def runs(
    experiment: str, runs_root: str | Path = "runs", manifest: str | None = None
) -> pd.DataFrame:
    """One row for each run that a sweep of the experiment expects, teachers included.

    Args:
        experiment: Name of the experiment, its folder in the run store.
        runs_root: Folder of the run store.
        manifest: File name of one sweep's list of runs, ``manifest.json`` (without overrides, the
            default) or ``manifest-<hash>.json`` (with some).

    Returns:
        Columns ``run_id``, ``directory`` (in ``runs_root``), ``role`` (``teacher``, ``student``),
        ``label`` (the row of the table), ``method``, ``student``, ``pair``, ``recipe``, ``seed``,
        ``state`` (``finished`` or why not) with its ``reason``, and of finished runs everything in
        ``result.json`` under its path joined by ``/``: ``last/test/top1_percent`` (percent),
        ``train_seconds``, ``parameters/deploy``, ``provenance/threads`` ... What a run lacks is
        NaN or None.

    Raises:
        CollectError: No such experiment or manifest, or a damaged manifest.
    """
    folder = Path(runs_root) / experiment
    path = folder / (manifest or "manifest.json")
    if not path.is_file():
        there = ", ".join(sorted(file.name for file in folder.glob("manifest*.json"))) or "none"
        raise CollectError(f"{path}: there is no such list of runs; in that folder: {there}")
    return collect.collect(Path(runs_root), path).runs


def epochs(runs: pd.DataFrame, runs_root: str | Path = "runs") -> pd.DataFrame:
    """One row for each run and epoch of its ``metrics.jsonl``.

    Args:
        runs: Rows of :func:`runs`; of a choice of them only what it needs is read.
        runs_root: Folder of the run store.

    Returns:
        Columns ``run_id``, ``epoch`` (from 1) and all figures of the metrics as floats
        (``train/loss``, ``val/top1_percent``, ``seconds`` ...); NaN where an epoch lacks one.
    """
    root = Path(runs_root)
    collected = Collected("", "", "", runs, root, MetricsFiles(root))
    return collect.epochs(collected, runs, lambda name: name != "epoch")
