"""A W&B project gives the same frame as the run store it mirrors."""

import pytest
from mirrored_store import FakeApi, mirrored

from analysis.report import write
from analysis.runs.collect import CollectError, collect, epochs
from analysis.runs.grid import Grid
from analysis.runs.wandb_source import collect_wandb


@pytest.fixture
def api(finished):
    directories = dict.fromkeys(entry["directory"] for entry in finished.entries)
    return FakeApi([mirrored(finished, directory) for directory in directories])


def test_accuracies_are_those_of_the_run_store(api, finished):
    from_wandb = Grid(collect_wandb(api, "me/project", ["made_up"]))
    from_store = Grid(collect(finished.root, finished.manifest))
    assert from_wandb.labels == from_store.labels
    for label in from_store.labels:
        assert from_wandb.array(label) == pytest.approx(from_store.array(label))


def test_scratch_stands_in_the_pair_of_its_network(api):
    runs = collect_wandb(api, "me/project", ["made_up"]).runs
    assert set(runs.loc[runs["label"] == "scratch", "pair"]) == {"net_teacher/net_student"}


def test_epochs_come_from_the_history(api):
    collected = collect_wandb(api, "me/project", ["made_up"])
    table = epochs(collected, collected.runs, lambda name: name == "test/top1_percent")
    assert len(table) == 18 * 30


def test_runs_of_other_images_under_one_name_get_a_column_of_their_own(store):
    runs = []
    for code in ("a", "b"):
        entry = store.add("kd", 0, salt=code)
        store.finish(entry)
        runs.append(mirrored(store, entry["directory"]))
        runs[-1].config["data"] = {"name": "birds", "contents": {"sha256": code * 16}}
    grid = Grid(collect_wandb(FakeApi(runs), "me/project", ["made_up"]))
    assert [key.dataset for key in grid.columns] == ["birds (aaaaaaaa)", "birds (bbbbbbbb)"]
    assert [grid.cell("kd", key).states for key in grid.columns] == [{"finished": 1}] * 2


def test_a_crashed_run_is_a_hole(store):
    entry = store.add("kd", 0)
    store.fail(entry)
    api = FakeApi([mirrored(store, entry["directory"], "crashed")])
    runs = collect_wandb(api, "me/project", ["made_up"]).runs
    assert list(runs["state"]) == ["failed"]
    assert list(runs["reason"]) == ["W&B says crashed"]


def test_an_unknown_experiment_is_refused_by_name(api):
    with pytest.raises(CollectError, match="'other' in W&B project me/project"):
        collect_wandb(api, "me/project", ["other"])


@pytest.mark.parametrize("project", ["project", "me/", "me/project/run"])
def test_a_source_that_is_no_project_is_refused(api, project):
    with pytest.raises(CollectError, match="must be wandb:entity/project"):
        collect_wandb(api, project, ["made_up"])


def test_a_report_can_be_written_without_features(api, tmp_path):
    report = write(collect_wandb(api, "me/project", ["made_up"]), tmp_path)
    names = {path.name for path in report.files}
    assert "curves.pdf" in names
    assert "gap.pdf" not in names
