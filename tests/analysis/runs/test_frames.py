"""The run store as DataFrames: what a user's own analysis starts from."""

import re

import pytest

from analysis.runs import frames
from analysis.runs.collect import CollectError


def test_the_example_of_the_docstring_runs(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished.root.parent)
    (example,) = re.findall(r"```\n(.*?)```", frames.__doc__, flags=re.DOTALL)
    names = {}
    exec(example.replace("dskd_digits", finished.experiment), names)
    assert "kd" in capsys.readouterr().out
    done, epochs = names["done"], names["epochs"]
    assert len(done) > 0
    assert set(epochs["label"]) == set(done["label"])
    assert len(epochs) == len(done) * finished.epochs


def test_a_row_holds_the_manifest_the_state_and_the_record(finished):
    runs = frames.runs(finished.experiment, finished.root)
    assert set(runs["role"]) == {"teacher", "student"}
    assert set(runs["state"]) == {"finished"}
    assert runs["last/test/top1_percent"].between(0, 100).all()
    assert runs["run_id"].is_unique


def test_an_experiment_that_is_not_there_is_one_line(finished):
    with pytest.raises(CollectError, match=r"no such list of runs; in that folder: none"):
        frames.runs("nothing", finished.root)
    with pytest.raises(CollectError, match=r"in that folder: manifest\.json"):
        frames.runs(finished.experiment, finished.root, "manifest-00000000.json")
