"""A run store of thousands of finished runs, made up: only its size is like a real one."""

from __future__ import annotations

import json
from pathlib import Path

from sweeps.expand import Plan, expand

EPOCHS = 20
LAST = {"epoch": EPOCHS, "test/top1_percent": 70.0, "val/top1_percent": 71.0}
PROVENANCE = {"source_sha256": "a" * 64, "finished": "2026-01-01T00:00:00+00:00"}


def settings_for(runs: int) -> list[str]:
    """Overrides of ``dskd_digits`` that make at least ``runs`` runs of it."""
    methods = 6
    return [f"seeds={list(range(-(-runs // methods)))}"]


def make(root: Path, runs: int) -> tuple[Plan, Path]:
    """An experiment of at least so many runs, all finished, and its manifest."""
    plan = expand("dskd_digits", settings_for(runs))
    manifest = plan.write_manifest(root)
    rows = [{"epoch": epoch + 1, "train/loss": 1.0, "seconds": 1.0} for epoch in range(EPOCHS)]
    metrics = "".join(json.dumps(row) + "\n" for row in [*rows[:-1], rows[-1] | LAST])
    for spec in plan.runs:
        folder = root / spec.experiment / spec.run_id
        folder.mkdir(parents=True)
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
            "last": LAST,
            "best_val": LAST,
            "best_test": LAST,
            "train_seconds": 1.0,
            "peak_memory_bytes": 1,
            "parameters": {"student": 1, "teacher": 1, "train_extra": 0, "deploy": 1},
            "macs": {"student": 1, "teacher": 1, "deploy": 1},
            "weights_sha256": "b" * 64,
            "provenance": PROVENANCE,
        }
        (folder / "result.json").write_text(json.dumps(record))
    return plan, manifest
