"""The run directory survives torn writes and says what is wrong with damaged files."""

import json

import pytest

from suite.store.record import (
    RecordError,
    RunDirectory,
    read_json,
    read_rows,
    write_atomically,
    write_json,
)


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory.of(tmp_path, "experiment", "0123456789abcdef")
    directory.start({"label": "kd"})
    return directory


def test_rows_after_a_torn_line_are_ignored(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epoch": 3, "val/to')
    assert [row["epoch"] for row in read_rows(path)] == [1, 2]


def test_resuming_after_epoch_2_drops_later_rows_and_torn_bytes(run):
    for epoch in (1, 2, 3):
        run.append_metrics({"epoch": epoch, "train/loss": 0.1 * epoch})
    with run.metrics.open("a") as file:
        file.write('{"epoch": 4, "tr')
    run.keep_metrics_until(2)
    run.append_metrics({"epoch": 3, "train/loss": 0.5})
    assert [(row["epoch"], row["train/loss"]) for row in run.read_metrics()] == [
        (1, 0.1),
        (2, 0.2),
        (3, 0.5),
    ]


def test_a_failure_is_kept_until_the_next_start(run):
    try:
        raise RuntimeError("out of memory\nsecond line")
    except RuntimeError as error:
        run.write_failure(error)
    kept = json.loads(run.failure.read_text())
    assert kept["error"] == "out of memory second line"
    assert kept["kind"] == "RuntimeError"
    assert "Traceback" in kept["traceback"]
    run.start({"label": "kd"})
    assert not run.failure.exists()


def test_a_damaged_json_file_is_named(tmp_path):
    path = tmp_path / "result.json"
    path.write_text('{"last": {')
    with pytest.raises(RecordError, match=r"result\.json is damaged.*delete it"):
        read_json(path)
    assert read_json(tmp_path / "absent.json") is None


def test_not_a_number_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "result.json", {"nll": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_message(tmp_path):
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(RecordError, match=r"cannot write .*config\.json"):
        RunDirectory.of(tmp_path / "runs", "experiment", "id").start({})


def test_a_replaced_file_leaves_no_temporary_behind(tmp_path):
    path = tmp_path / "a.bin"
    for content in (b"old", b"new"):
        write_atomically(path, content)
    assert path.read_bytes() == b"new"
    assert [item.name for item in tmp_path.iterdir()] == ["a.bin"]
