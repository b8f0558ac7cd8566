"""W&B shows the run store: every row once, whatever was interrupted."""

import json
import os
import subprocess
import sys

import pytest
from tracked_runs import (
    EPOCHS,
    OFFLINE,
    a_row,
    a_run,
    a_trial,
    content,
    finish,
    offline_folders,
)

from suite.store.record import write_json
from suite.tracking import TrackerError, wandb_file
from suite.tracking.describe import describe, summary
from suite.tracking.sync_state import Busy, locked
from suite.tracking.uploader import OpenRun, upload


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory):
    """A finished run and its offline folder."""
    run = a_run(tmp_path_factory.mktemp("runs"))
    assert upload(run.path, OFFLINE).state == "kept"
    (folder,) = offline_folders(run.path.parents[1])
    return run, folder


def test_the_offline_folder_holds_every_epoch_once_and_its_step_is_the_epoch(uploaded):
    rows, _, _, code = content(uploaded[1])
    assert [row["_step"] for row in rows] == [1, 2, 3, 4, 5]
    shown = [{key: row[key] for key in a_row(1)} for row in rows]
    assert shown == [a_row(epoch) for epoch in (1, 2, 3, 4, 5)]
    assert code == 0


def test_group_is_the_experiment_and_job_type_the_role(uploaded):
    _, _, run, _ = content(uploaded[1])
    assert (run.run_id, run.run_group, run.job_type) == (uploaded[0].path.name, "digits", "student")
    assert run.display_name == "kd t4 cifar_resnet20/cifar_resnet8 seed 3"
    assert list(run.tags) == ["kd t4", "digits", "cifar_resnet20/cifar_resnet8", "small"]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["method"] == {"name": "kd", "options": {"temperature": 4.0}}
    assert (config["seed"], config["experiment"], config["recipe"]) == (3, "digits", "small")


def test_the_summary_is_the_flattened_result(uploaded):
    _, last, _, _ = content(uploaded[1])
    assert last["last/test/top1_percent"] == 61.25
    assert last["parameters/student"] == 78042
    assert last["provenance/finished"] == "2025-01-02T03:04:05+00:00"
    assert "best_val" not in last


def test_the_folder_has_a_name_that_wandb_sync_finds(uploaded):
    command = [sys.executable, "-m", "wandb", "sync", "--dry-run", str(uploaded[1].parent)]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert uploaded[1].name == f"offline-run-20250102_030405-{uploaded[0].path.name}"
    assert "Would sync 1 run" in listed.stdout + listed.stderr


def test_a_second_upload_changes_nothing(uploaded):
    run, folder = uploaded
    before = (folder / f"run-{run.path.name}.wandb").stat().st_mtime_ns
    outcome = upload(run.path, OFFLINE)
    assert (outcome.state, outcome.reason) == (
        "kept",
        "an offline folder holds it: WANDB_MODE is offline",
    )
    assert (folder / f"run-{run.path.name}.wandb").stat().st_mtime_ns == before
    assert [item.name for item in folder.parent.iterdir()] == [folder.name]


def test_rows_made_again_by_a_resumed_run_are_not_sent_again(tmp_path):
    """The trainer is killed in epoch 4 and goes on from its checkpoint of epoch 2."""
    run = a_run(tmp_path, epochs=3, finished=False)
    with OpenRun(run, OFFLINE) as opened:
        opened.update()
        run.keep_metrics_until(2)
        opened.update()
        for epoch in (3, 4, 5):
            run.append_metrics(a_row(epoch))
            opened.update()
        finish(run)
        opened.settle()
    rows, *_ = content(offline_folders(tmp_path)[0])
    assert [row["_step"] for row in rows] == [1, 2, 3, 4, 5]


def test_a_lost_note_leads_to_one_folder_not_two(tmp_path):
    run = a_run(tmp_path)
    upload(run.path, OFFLINE)
    (run.path / "wandb.json").unlink()
    assert upload(run.path, OFFLINE).state == "kept"
    (folder,) = offline_folders(tmp_path)
    assert len(content(folder)[0]) == EPOCHS


def test_a_run_trained_again_replaces_its_folder(tmp_path):
    run = a_run(tmp_path)
    upload(run.path, OFFLINE)
    run.append_metrics(a_row(6))
    finish(run, 6)
    assert upload(run.path, OFFLINE).state == "kept"
    (folder,) = offline_folders(tmp_path)
    assert len(content(folder)[0]) == 6


def test_a_torn_last_line_is_not_sent(tmp_path):
    run = a_run(tmp_path)
    with run.metrics.open("a") as file:
        file.write('{"epoch": 6, "tra')
    upload(run.path, OFFLINE)
    assert len(content(offline_folders(tmp_path)[0])[0]) == EPOCHS


def test_a_run_that_another_process_sends_is_left_alone(tmp_path):
    run = a_run(tmp_path)
    with locked(run, OFFLINE):
        outcome = upload(run.path, OFFLINE)
        with pytest.raises(Busy), locked(run, OFFLINE):
            pass
    assert (outcome.state, outcome.reason) == ("skipped", "another process sends it now")
    assert upload(run.path, OFFLINE).state == "kept"


def test_rows_larger_than_a_block_of_the_file_are_read_back(tmp_path):
    run = a_run(tmp_path, epochs=0, finished=False)
    for epoch in (1, 2, 3):
        run.append_metrics({"epoch": epoch, "note": "x" * 70_000})
    finish(run)
    assert upload(run.path, OFFLINE).state == "kept"
    rows, *_ = content(offline_folders(tmp_path)[0])
    assert [len(row["note"]) for row in rows] == [70_000] * 3


def test_a_torn_offline_file_is_known_by_its_missing_end(uploaded, tmp_path):
    run, folder = uploaded
    file = folder / f"run-{run.path.name}.wandb"
    whole = file.read_bytes()
    assert wandb_file.history(file) == ([1, 2, 3, 4, 5], True)
    for length in range(0, len(whole) - 20, 101):
        torn = tmp_path / "run-torn.wandb"
        torn.write_bytes(whole[:length])
        steps, exited = wandb_file.history(torn)
        assert steps == [1, 2, 3, 4, 5][: len(steps)]
        assert not exited


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
def test_a_full_disk_leaves_no_half_folder(tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk])
    if mounted.returncode != 0:
        pytest.skip("may not mount a tmpfs here")
    try:
        run = a_run(disk, epochs=0, finished=False)
        for epoch in range(1, 101):
            run.append_metrics({"epoch": epoch, "note": "x" * 1000})
        finish(run)
        (disk / "ballast").write_bytes(b"x" * 200_000)
        monkeypatch.setattr("suite.tracking.trackers.wandb.CONFIRM_SECONDS", 0.5)
        with pytest.raises(TrackerError, match=r"holds \d+ of 100 rows: is the disk full"):
            upload(run.path, OFFLINE)
        assert offline_folders(disk) == []
        (disk / "ballast").unlink()
        assert upload(run.path, OFFLINE).state == "kept"
        assert len(content(offline_folders(disk)[0])[0]) == 100
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_long_names_fit_the_limits_of_the_server(tmp_path):
    run = a_run(tmp_path)
    spec = json.loads(run.config.read_text())
    write_json(run.config, spec | {"label": "l" * 200, "experiment": "e" * 200})
    it = describe(run)
    assert [len(it.name), len(it.group), len(it.tags[0])] == [128, 128, 64]


def test_summary_keys_are_paths():
    result = {"a": 1, "b": {"c/d": 2.5, "e": {"f": "x"}, "g": None}, "h": None}
    assert summary(result) == {"a": 1, "b/c/d": 2.5, "b/e/f": "x"}


def test_a_pruned_run_is_sent_with_its_trial_and_its_state(tmp_path):
    run = a_run(tmp_path, finished=False, experiment="mine")
    a_trial(run, "pruned")
    assert upload(run.path, OFFLINE).state == "kept"
    rows, last, record, code = content(offline_folders(tmp_path, "mine")[0])
    assert len(rows) == EPOCHS
    assert last["trial/state"] == "pruned"
    assert last["trial/number"] == 7
    assert record.run_group == "mine"
    assert record.display_name == "kd t4 trial 7 cifar_resnet20/cifar_resnet8 seed 3"
    assert code == 0


def test_a_run_of_a_search_waits_for_the_verdict_on_its_trial(tmp_path):
    run = a_run(tmp_path)
    a_trial(run, "running")
    assert upload(run.path, OFFLINE).state == "skipped"
    a_trial(run, "complete")
    assert upload(run.path, OFFLINE).state == "kept"
    _, last, _, _ = content(offline_folders(tmp_path)[0])
    assert last["trial/state"] == "complete"
