"""Records across versions of their schema: older ones are read, newer ones refused in one line.

No second version exists: a made-up one calls ``train_seconds`` ``seconds_of_training``.
"""

import json
import shutil
from importlib import resources
from pathlib import Path

import pytest
from command_line import in_process
from jsonschema import Draft202012Validator

from analysis.runs.collect import collect
from suite.store import schema

OLDER = Path(__file__).parents[2] / "stores" / "version_0.1.0" / "runs"
KD, SCRATCH = "47e578a7b539fbc6", "b609751a1724ab7c"
OLD, NEW = "train_seconds", "seconds_of_training"


def to_version_2(record):
    return {NEW if name == OLD else name: value for name, value in record.items()}


@pytest.fixture
def store(tmp_path):
    """Records of version 0.1.0, as they were written."""
    shutil.copytree(OLDER, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def version_2(monkeypatch):
    """The code of a version whose schema is the second."""
    text = resources.files("suite.store").joinpath("record.schema.json").read_text()
    second = json.loads(text.replace(f'"{OLD}"', f'"{NEW}"'))
    second["properties"]["record_version"] = {"const": 2}
    monkeypatch.setattr(schema, "_validator", lambda: Draft202012Validator(second))
    monkeypatch.setattr(schema, "STEPS", (to_version_2,))


def record_of(store, run_id):
    return json.loads((store / "tiny" / run_id / "result.json").read_text())


def of_version(store, run_id, number):
    path = store / "tiny" / run_id / "result.json"
    path.write_text(json.dumps(record_of(store, run_id) | {"record_version": number}))


def rows(store):
    return collect(store, store / "tiny" / "manifest.json").runs.set_index("run_id")


@pytest.mark.usefixtures("version_2")
def test_a_record_of_the_older_version_is_read_as_one_of_this(store):
    old = record_of(store, KD)
    assert schema.version() == 2
    assert "record_version" not in old
    assert schema.faults(old) == []
    now = schema.current(old)
    assert now == {NEW if it == OLD else it: old[it] for it in old} | {"record_version": 2}
    assert schema.current(now) == now  # one of this version stays as it is
    run = rows(store).loc[KD]
    assert run["state"] == "finished"
    assert run[NEW] == old[OLD]
    assert record_of(store, KD) == old  # the file, too


@pytest.mark.usefixtures("version_2")
def test_a_record_that_says_this_version_in_the_older_layout_is_none(store):
    wrong = record_of(store, KD) | {"record_version": 2}
    assert schema.faults(wrong) == [f"{NEW!r} is a required property"]


@pytest.mark.parametrize("number", [2, 0, "1", 1.0, True, None])
def test_a_record_of_a_version_that_is_not_known_here_is_refused_in_one_line(store, number):
    said = f"record_version: {number!r}, this version of dskd-bench reads 1"
    assert schema.faults(record_of(store, KD) | {"record_version": number}) == [said]
    of_version(store, KD, number)
    run = rows(store).loc[KD]
    assert (run["state"], run["reason"]) == ("damaged", f"result.json: {said}")
    assert rows(store).loc[SCRATCH]["state"] == "finished"


def test_a_newer_record_is_not_merged_and_the_others_are(store, tmp_path, capsys):
    of_version(store, KD, 2)
    status, out, errors = in_process(capsys, "merge", store, "--into", tmp_path / "ours")
    told = [line for line in (out + errors).splitlines() if "record_version" in line]
    assert status == 1
    assert len(told) == 1
    assert "result.json: record_version: 2, this version of dskd-bench reads 1" in told[0]
    assert not (tmp_path / "ours" / "tiny" / KD).exists()
    assert (tmp_path / "ours" / "tiny" / SCRATCH / "result.json").exists()


def test_an_archive_of_the_older_version_merges(store, tmp_path, capsys, request):
    archive, ours = tmp_path / "tiny.zip", tmp_path / "ours"
    words = ("export", "tiny", "--out", archive, "--runs-root", store)
    assert in_process(capsys, *words)[0] == 0
    request.getfixturevalue("version_2")  # a later version gets the archive
    status, out, errors = in_process(capsys, "merge", archive, "--into", ours)
    assert status == 0, out + errors
    assert set(record_of(ours, KD)) == set(record_of(store, KD))  # in the older layout
    merged = rows(ours)
    assert merged.loc[KD][NEW] == record_of(store, KD)[OLD]
    assert merged.loc[[KD, SCRATCH], "state"].tolist() == ["finished", "finished"]


@pytest.mark.parametrize("newer", ["tiny/" + KD, "teachers/259bca574f7f546a"])
def test_a_newer_record_is_not_repeated_and_nothing_is_trained(store, tmp_path, capsys, newer):
    path = store / newer / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"record_version": 2}))
    words = ("repeat", store, KD, "--into", tmp_path / "again", "--accelerator", "cpu")
    status, _, errors = in_process(capsys, *words)
    assert status == 2
    assert f"{newer}/result.json: record_version: 2, this version of dskd-bench reads 1" in errors
    assert not list(tmp_path.rglob("again/**/result.json"))
