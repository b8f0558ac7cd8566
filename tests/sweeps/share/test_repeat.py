"""A run is trained again from an archive: the same bits, or where it departs."""

import json
import zipfile

import pytest
from command_line import in_process

from suite.cli.app import main
from suite.store import schema
from sweeps.share import archive

SETTINGS = (
    "methods=[kd] pairs=[cifar_resnet8/cifar_resnet8] data.name=fake train_limit=64 "
    "batch_size=32 epochs=2 seeds=[0]"
)


def command(capsys, *words):
    status, out, _ = in_process(capsys, *words)
    return status, out


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A real student and its teacher, in an archive without weights; the student's id."""
    root = tmp_path_factory.mktemp("trained")
    fixed = ("--tracker=none", "--accelerator=cpu", "--workers=0", "--no-report")
    for words in (
        ("sweep", "dskd_digits", "--set", SETTINGS, "--executor=in_process", *fixed),
        ("export", "dskd_digits", "--out", f"{root}/all.zip"),
    ):
        try:
            main([*words, f"--runs-root={root}/runs"])
        except SystemExit as end:
            assert not end.code  # noqa: PT017
    (student,) = root.glob("runs/dskd_digits/*/result.json")
    return root / "all.zip", student.parent.name


def test_todays_records_are_records(exported):
    for run in archive.read(exported[0]).runs:
        assert schema.faults(json.loads(run.read("result.json"))) == []


def test_the_same_bits_come_out_and_the_teacher_is_trained_first(exported, tmp_path, capsys):
    path, run_id = exported
    words = ("repeat", path, run_id, "--accelerator=cpu", "--into", tmp_path / "again")
    status, told = command(capsys, *words)
    assert status == 0
    first, teacher, student = told.splitlines()
    assert "its weights are not there, it is trained again first" in first
    assert teacher.startswith("teacher ")
    assert "same bits, 2 epochs" in teacher
    assert student.startswith(f"student {run_id} (kd, seed 0): same bits, 2 epochs")


def test_a_departure_is_told_with_its_epoch_and_figure(exported, tmp_path, capsys):
    path, run_id = exported
    with zipfile.ZipFile(path) as file:
        files = {name: file.read(name) for name in file.namelist() if name != archive.CONTENTS}
    name = f"dskd_digits/{run_id}/metrics.jsonl"
    first, second = map(json.loads, files[name].splitlines())
    second["train/kd"] += 0.25
    files[name] = f"{json.dumps(first)}\n{json.dumps(second)}\n".encode()
    record = f"dskd_digits/{run_id}/result.json"
    result = json.loads(files[record])
    result["last"]["test/top1_percent"] += 0.5
    result["provenance"]["versions"]["torch"] = "1.0"
    files[record] = f"{json.dumps(result, indent=2)}\n".encode()
    archive.write(tmp_path / "other.zip", "dskd_digits", None, files)
    where = ("--accelerator=cpu", "--into", tmp_path / "a")
    words = ("repeat", tmp_path / "other.zip", run_id, *where)
    status, told = command(capsys, *words)
    assert status == 1
    assert "departs in epoch 2: train/kd" in told
    assert "(-0.25)" in told
    assert "was 1.0" in told
    assert "0.50 points at most, beyond the tolerance of 0" in told
    status, told = command(capsys, *words, "--tolerance=0.6")  # trained: compared again
    assert status == 0
    assert "within the tolerance of 0.6" in told


def test_a_run_that_is_not_there_is_one_line(exported, tmp_path, capsys):
    assert command(capsys, "repeat", exported[0], "0" * 16, "--into", tmp_path)[0] == 2
