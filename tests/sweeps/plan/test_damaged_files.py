"""Damaged files of a run store: named, set aside, made anew with the same bits."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from command_line import in_process

from suite.cli.app import main
from suite.store.lease import acquire, holder
from suite.store.record import RunDirectory, read_rows, write_json
from sweeps.slurm import jobs

SETTINGS = (
    "methods=[kd] pairs=[cifar_resnet8/cifar_resnet8] data.name=fake train_limit=32 "
    "batch_size=32 epochs=1 seeds=[0]"
)
DAMAGES = ("empty", "half", "{}", "[1]", "garbage", "folder")


def command(capsys, *arguments):
    status, out, errors = in_process(capsys, *arguments)
    assert "Traceback" not in out + errors
    assert status != 3, errors  # a fault of the suite
    return status, out + errors


def sweep(capsys, root):
    fixed = ("--tracker=none", "--accelerator=cpu", "--workers=0", "--feature-epochs=0")
    where = ("--runs-root", root, "--executor=in_process", "--no-report")
    return command(capsys, "sweep", "dskd_digits", "--set", SETTINGS, *where, *fixed)


def hashes(root):
    return {
        path.parent.name: json.loads(path.read_text())["weights_sha256"]
        for path in root.glob("*/*/result.json")
    }


def damage(path, kind):
    content = path.read_bytes()
    if kind == "folder":
        path.unlink()
        path.mkdir()
        return
    changed = {"empty": b"", "half": content[: len(content) // 2], "garbage": b"\xff\x00}{" * 9}
    path.write_bytes(changed.get(kind, kind.encode()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    with pytest.raises(SystemExit) as end:
        main([
            "sweep", "dskd_digits", "--set", SETTINGS, "--runs-root", str(root),
            "--executor=in_process",
            "--no-report", "--tracker=none", "--accelerator=cpu", "--workers=0",
            "--feature-epochs=0",
        ])  # fmt: skip
    assert not end.value.code
    return root


@pytest.mark.parametrize("kind", DAMAGES)
def test_the_next_sweep_makes_a_damaged_record_anew_with_the_same_bits(
    finished, tmp_path, capsys, kind
):
    root = tmp_path / "runs"
    shutil.copytree(finished, root)
    whole = hashes(root)
    (student,) = (path.parent for path in root.glob("dskd_digits/*/result.json"))
    damage(student / "result.json", kind)
    assert not RunDirectory(student).finished()
    command(capsys, "status", "dskd_digits", "--set", SETTINGS, "--runs-root", root)
    status, out = sweep(capsys, root)
    assert status == 0
    assert str(student / "result.json") in out.replace("\n", "")
    assert "2 of 2 runs finished" in out
    assert hashes(root) == whole
    assert (student / "result.json.damaged").exists()


@pytest.mark.parametrize("name", ["config.json", "predictions.npz", "weights.safetensors"])
@pytest.mark.parametrize("kind", ["empty", "garbage", "folder"])
def test_a_student_is_trained_with_the_same_bits_beside_a_teachers_damaged_file(
    finished, tmp_path, capsys, name, kind
):
    root = tmp_path / "runs"
    shutil.copytree(finished, root)
    whole = hashes(root)
    (student,) = (path.parent for path in root.glob("dskd_digits/*/result.json"))
    (teacher,) = root.glob("teachers/*/")
    shutil.rmtree(student)
    damage(teacher / name, kind)
    status, out = sweep(capsys, root)
    assert status == 0, out
    assert hashes(root) == whole
    if name == "predictions.npz" and kind == "folder":
        return  # set aside; the teacher's predictions are computed where they are not kept
    (before,) = finished.glob(f"teachers/*/{name}")
    assert (teacher / name).read_bytes()[:4] == before.read_bytes()[:4]


def test_an_edited_config_is_set_aside_and_written_anew(finished, tmp_path, capsys):
    root = tmp_path / "runs"
    shutil.copytree(finished, root)
    (config,) = root.glob("dskd_digits/*/config.json")
    content = json.loads(config.read_text())
    content["config"]["train"]["epochs"] = 2
    config.write_text(json.dumps(content))
    _, out = sweep(capsys, root)
    assert "the run id is the hash" in out
    assert json.loads(config.read_text())["config"]["train"]["epochs"] == 1


@pytest.mark.parametrize("name", ["features.npz", "predictions.npz", "weights.safetensors"])
@pytest.mark.parametrize("kind", ["empty", "half", "folder"])
def test_what_a_students_record_does_without_is_set_aside_and_nothing_is_trained(
    finished, tmp_path, capsys, name, kind
):
    root = tmp_path / "runs"
    shutil.copytree(finished, root)
    (student,) = (path.parent for path in root.glob("dskd_digits/*/result.json"))
    record = (student / "result.json").read_bytes()
    damage(student / name, kind)
    status, out = sweep(capsys, root)
    assert (status, "2 finished before" in out) == (0, True)
    assert str(student / name) in out.replace("\n", "")
    assert (student / f"{name}.damaged").exists()
    assert not (student / name).exists()
    assert (student / "result.json").read_bytes() == record
    assert "damaged" not in sweep(capsys, root)[1]


def test_damaged_lines_of_the_list_of_jobs_are_named_and_the_others_are_read(
    finished, tmp_path, capsys
):
    root = tmp_path / "runs"
    shutil.copytree(finished, root)
    mine = [jobs.Job(str(number), ("dskd_digits/a",), float(number)) for number in (1, 2, 3)]
    jobs.add(root, "dskd_digits", mine)
    path = root / "dskd_digits" / jobs.LEDGER
    assert jobs.faults(root, "dskd_digits") == []
    lines = path.read_bytes().splitlines(keepends=True)
    number = next(i for i, line in enumerate(lines) if b'"id": "2"' in line)
    lines[number] = lines[number][:9] + b"\n"
    path.write_bytes(b"".join(lines))
    assert [job.id for job in jobs.read(root, "dskd_digits")] == ["1", "3"]
    assert f"{jobs.LEDGER}, line {number + 1}:" in sweep(capsys, root)[1].replace("\n", "")


def test_an_edited_config_is_not_sent_to_w_and_b(finished, tmp_path, capsys, monkeypatch):
    root = tmp_path / "runs"
    shutil.copytree(finished, root)
    (config,) = root.glob("dskd_digits/*/config.json")
    config.write_text(config.read_text().replace('"batch_size": 32', '"batch_size": 64'))
    monkeypatch.setenv("WANDB_MODE", "offline")
    status, out = command(capsys, "sync", "dskd_digits", "--runs-root", root)
    assert status == 1
    assert "1 kept offline" in out  # its teacher
    assert "is not the configuration of which the run id is the hash" in out.replace("\n", "")


def test_a_run_folder_that_is_a_file_is_set_aside(finished, tmp_path, capsys):
    root = tmp_path / "runs"
    shutil.copytree(finished, root)
    whole = hashes(root)
    (student,) = (path.parent for path in root.glob("dskd_digits/*/result.json"))
    shutil.rmtree(student)
    student.write_text("in the way")
    assert sweep(capsys, root)[0] == 0
    assert hashes(root) == whole


@pytest.mark.parametrize("kind", ["empty", "half", "{}", "[1]", "garbage"])
def test_a_damaged_manifest_is_one_line_and_the_sweep_writes_it_anew(
    finished, tmp_path, capsys, kind
):
    root = tmp_path / "runs"
    shutil.copytree(finished, root)
    (manifest,) = root.glob("dskd_digits/manifest*.json")
    whole = json.loads(manifest.read_text())["runs"]
    damage(manifest, kind)
    for name in ("status", "report"):
        status, out = command(capsys, name, "dskd_digits", "--set", SETTINGS, "--runs-root", root)
        assert status == 2
        assert manifest.name in out
    assert sweep(capsys, root)[0] == 0
    assert json.loads(manifest.read_text())["runs"] == whole


def test_a_failure_dated_ahead_is_tried_again(finished, tmp_path, capsys):
    root = tmp_path / "runs"
    shutil.copytree(finished, root)
    (student,) = (path.parent for path in root.glob("dskd_digits/*/result.json"))
    (student / "result.json").unlink()
    write_json(student / "failure.json", {"error": "full disk"})
    os.utime(student / "failure.json", (time.time() + 1e6,) * 2)
    status, out = sweep(capsys, root)
    assert status == 0, out


@pytest.mark.parametrize("content", ["{}", "[1]", "", '{"host": 3}', '{"host": "a", "pid": "b"}'])
def test_a_damaged_lease_is_held_by_nobody(tmp_path, content):
    (tmp_path / "claim.json").write_text(content)
    assert holder(tmp_path) is None
    held = acquire(tmp_path)
    assert held is not None
    (tmp_path / "claim.json").write_text(content)
    held.release()


def test_a_lease_of_another_host_dated_far_ahead_has_expired(tmp_path):
    owner = {"host": "elsewhere", "pid": 1, "process_started": None, "token": "a"}
    write_json(tmp_path / "claim.json", owner)
    assert holder(tmp_path) is not None
    os.utime(tmp_path / "claim.json", (time.time() + 1e5,) * 2)
    assert holder(tmp_path) is None


@pytest.mark.parametrize("line", ["[1]", "3", "{}", '{"epoch": "x"}'])
def test_a_line_of_metrics_that_is_no_row_ends_the_rows(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"epoch": 1}}\n{line}\n{{"epoch": 3}}\n')
    assert read_rows(path) == [{"epoch": 1}]


@pytest.mark.parametrize("name", ["..", ".", "teachers", "jobs", "Source", "-x", "a/b", "x" * 101])
def test_an_experiment_stays_in_the_run_store(tmp_path, capsys, name):
    path = f"{tmp_path}/{name}.yaml"
    if "/" not in name and len(name) < 200:
        Path(path).write_text("recipe: digits\n")
    given = name if "/" in name else path
    status, out = command(capsys, "sweep", given, "--runs-root", tmp_path / "r")
    assert status == 2
    assert "name" in out or "unknown experiment" in out
    assert not (tmp_path / "r").exists()
