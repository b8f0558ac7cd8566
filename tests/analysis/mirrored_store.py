"""A run store as W&B would show it, without W&B."""

import json
from types import SimpleNamespace

from analysis.runs.records import flatten


def mirrored(store, directory, state="finished"):
    """A run as the tracker sends it: config with its place, summary of result.json, history."""
    path = store.root / directory
    spec = json.loads((path / "config.json").read_text())
    entry = next(entry for entry in store.entries if entry["directory"] == directory)
    config = {**spec["config"], "run_id": entry["run_id"]}
    config |= {key: spec[key] for key in ("experiment", "role", "label", "recipe")}
    if entry["teacher"]:
        config["teacher"] = {"name": entry["teacher"], "run_id": entry["teacher_run_id"]}
    result = path / "result.json"
    summary = flatten(json.loads(result.read_text())) if result.exists() else {}
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return SimpleNamespace(
        id=entry["run_id"],
        state=state,
        config=config,
        summary={**summary, "_wandb": {"runtime": 3}},
        scan_history=lambda: [{**row, "_step": row["epoch"]} for row in rows],
    )


class FakeApi:
    def __init__(self, runs):
        self.all = runs

    def runs(self, path, filters):
        assert path == "me/project"
        return [run for run in self.all if run.config["experiment"] == filters["group"]]
