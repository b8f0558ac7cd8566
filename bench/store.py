"""A run store of thousands of finished runs, made up: only its size is like a real one."""

from __future__ import annotations

import json
from pathlib import Path

from sweeps.plan.expand import expand
from sweeps.plan.experiment import MOST_RUNS
from sweeps.plan.runs import Plan

EPOCHS = 20
PROVENANCE = {"source_sha256": "a" * 64, "finished": "2026-01-01T00:00:00+00:00"}


CELLS = {"dskd_digits": 6, "dskd_cifar": 36}
"""Experiment -> its methods times its pairs."""


def settings_for(runs: int, experiment: str = "dskd_digits", first_seed: int = 0) -> list[str]:
    """Overrides that make ``runs`` students of one of :data:`CELLS`, rounded to whole seeds.

    Rounded up, except where that is more than an experiment may have (:data:`MOST_RUNS`).
    """
    most = MOST_RUNS // CELLS[experiment]
    seeds = min(-(-runs // CELLS[experiment]), most)
    return [f"seeds={list(range(first_seed, first_seed + seeds))}"]


def make_many(root: Path, runs: int, experiment: str = "dskd_digits") -> list[Path]:
    """As many sweeps of an experiment as hold at least so many runs; their manifests."""
    manifests: list[Path] = []
    done = first_seed = 0
    while done < runs:
        plan, manifest = make(root, runs - done, experiment, first_seed)
        manifests.append(manifest)
        seeds = {spec.config.seed for spec in plan.runs if spec.role == "student"}
        done, first_seed = done + len(seeds) * CELLS[experiment], max(seeds) + 1
    return manifests


def make(
    root: Path, runs: int, experiment: str = "dskd_digits", first_seed: int = 0
) -> tuple[Plan, Path]:
    """One sweep of :func:`settings_for`, all of its runs finished, and its manifest."""
    plan = expand(experiment, settings_for(runs, experiment, first_seed))
    manifest = plan.write_manifest(root)
    for spec in plan.runs:
        rows = [_row(spec.run_id, epoch) for epoch in range(1, EPOCHS + 1)]
        last = {name: it for name, it in rows[-1].items() if name == "epoch" or "top1" in name}
        metrics = "".join(json.dumps(row) + "\n" for row in rows)
        folder = root / spec.experiment / spec.run_id
        folder.mkdir(parents=True, exist_ok=True)  # sweeps share their teachers
        (folder / "config.json").write_text(spec.model_dump_json())
        (folder / "metrics.jsonl").write_text(metrics)
        record = {
            "run_id": spec.run_id,
            "experiment": spec.experiment,
            "role": spec.role,
            "label": spec.label,
            "recipe": spec.recipe,
            "method": spec.config.method.name,
            "dataset": spec.config.data.name,
            "student": spec.config.student.name,
            "seed": spec.config.seed,
            "epochs": EPOCHS,
            "teacher": None,
            "last": last,
            "best_val": last,
            "best_test": last,
            "train_seconds": 1.0,
            "peak_memory_bytes": 1,
            "parameters": {"student": 1, "teacher": 1, "train_extra": 0, "deploy": 1},
            "macs": {"student": 1, "teacher": 1, "deploy": 1},
            "weights_sha256": "b" * 64,
            "provenance": PROVENANCE,
        }
        (folder / "result.json").write_text(json.dumps(record))
    return plan, manifest


def _row(run_id: str, epoch: int) -> dict[str, float]:
    """Metrics of one epoch; accuracies differ from run to run."""
    top1 = 65 + 5 * epoch / EPOCHS + 2 * int(run_id[:4], 16) / 16**4
    accuracies = {"test/top1_percent": top1, "val/top1_percent": top1 + 1}
    return {"epoch": epoch, "train/loss": 1.0, "seconds": 1.0, **accuracies}
