"""A W&B project gives the same frame as the run store it mirrors."""

import json
from types import SimpleNamespace

import pytest

from analysis.collect import CollectError, collect, epochs
from analysis.grid import Grid
from analysis.records import flatten
from analysis.report import write
from analysis.wandb_source import collect_wandb


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


@pytest.fixture
def api(finished):
    directories = dict.fromkeys(entry["directory"] for entry in finished.entries)
    return FakeApi([mirrored(finished, directory) for directory in directories])


def test_accuracies_are_those_of_the_run_store(api, finished):
    from_wandb = Grid(collect_wandb(api, "me/project", "made_up"))
    from_store = Grid(collect(finished.root, finished.manifest))
    assert from_wandb.labels == from_store.labels
    for label in from_store.labels:
        assert from_wandb.array(label) == pytest.approx(from_store.array(label))


def test_scratch_stands_in_the_pair_of_its_network(api):
    runs = collect_wandb(api, "me/project", "made_up").runs
    assert set(runs.loc[runs["label"] == "scratch", "pair"]) == {"net_teacher/net_student"}


def test_epochs_come_from_the_history(api):
    collected = collect_wandb(api, "me/project", "made_up")
    table = epochs(collected, collected.runs, lambda name: name == "test/top1_percent")
    assert len(table) == 18 * 30


def test_a_crashed_run_is_a_hole(store):
    entry = store.add("kd", 0)
    store.fail(entry)
    api = FakeApi([mirrored(store, entry["directory"], "crashed")])
    runs = collect_wandb(api, "me/project", "made_up").runs
    assert list(runs["state"]) == ["failed"]
    assert list(runs["reason"]) == ["W&B says crashed"]


def test_an_unknown_experiment_is_refused_by_name(api):
    with pytest.raises(CollectError, match="'other' in W&B project me/project"):
        collect_wandb(api, "me/project", "other")


def test_a_report_can_be_written_without_features(api, tmp_path):
    report = write(collect_wandb(api, "me/project", "made_up"), tmp_path)
    names = {path.name for path in report.files}
    assert "curves.pdf" in names
    assert "gap.pdf" not in names
