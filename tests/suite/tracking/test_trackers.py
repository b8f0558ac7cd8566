"""Trackers are found by name; TensorBoard's own reader finds every epoch once."""

import importlib.metadata
import json
import os
import signal
import sys
from importlib.metadata import EntryPoint

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tracked_runs import a_row, a_run, finish

from suite.cli.app import main
from suite.tracking import TrackerError, Uploader, sync, trackers
from suite.tracking.trackers.tensorboard import folder_of, tracker
from suite.tracking.uploader import OpenRun, upload

TENSORBOARD = tracker({}, 30.0)


def shown(run):
    """What TensorBoard shows: the steps and values of two curves, the result, the configuration."""
    reader = EventAccumulator(str(folder_of(run)))
    reader.Reload()
    tags = reader.Tags()["scalars"]
    curve = [(it.step, it.value) for it in reader.Scalars("val/top1_percent")]
    result = {tag: reader.Scalars(tag)[0].value for tag in tags if tag.startswith("result/")}
    (config,) = reader.Tensors("config")
    return curve, result, config.tensor_proto.string_val[0].decode()


def test_every_epoch_is_there_once_with_the_result_and_the_configuration(tmp_path):
    run = a_run(tmp_path, epochs=3)
    assert upload(run.path, TENSORBOARD).state == "sent"
    curve, result, config = shown(run)
    assert curve == [(1, 51.0), (2, 52.0), (3, 53.0)]
    assert result["result/last/test/top1_percent"] == 61.25
    assert json.loads(config)["student"]["name"] == "cifar_resnet8"
    outcome = upload(run.path, TENSORBOARD)
    assert (outcome.state, outcome.reason) == ("skipped", "already sent")
    assert run.path.joinpath("tensorboard.json").is_file()
    assert not run.path.joinpath("wandb.json").exists()


def test_a_run_that_goes_on_elsewhere_is_there_once(tmp_path):
    run = a_run(tmp_path, epochs=2, finished=False)
    with OpenRun(run, TENSORBOARD) as opened:
        opened.update()
    run.append_metrics(a_row(3))
    finish(run, 3)
    assert upload(run.path, TENSORBOARD).state == "sent"
    assert [step for step, _ in shown(run)[0]] == [1, 2, 3]


def test_a_removed_file_is_made_again(tmp_path):
    run = a_run(tmp_path, epochs=3)
    upload(run.path, TENSORBOARD)
    for path in folder_of(run).iterdir():
        path.unlink()
    assert upload(run.path, TENSORBOARD).state == "sent"


def test_an_uploader_shows_a_run_while_it_trains_and_a_kill_doubles_nothing(tmp_path):
    run = a_run(tmp_path, epochs=1, finished=False)
    for last in (2, 3):
        uploader = Uploader(tmp_path / "uploader.log", "tensorboard")
        uploader.watch(run.path)
        run.append_metrics(a_row(last))
        if last == 2:
            os.kill(uploader._process.pid, signal.SIGKILL)
        else:
            finish(run, 3)
        assert uploader.close(60.0) == (last == 3)
    assert [step for step, _ in shown(run)[0]] == [1, 2, 3]


def test_the_command_takes_the_name_of_a_tracker(tmp_path, capsys):
    run = a_run(tmp_path, epochs=3)
    with pytest.raises(SystemExit) as end:
        main(["sync", "digits", "--tracker=tensorboard", f"--runs-root={tmp_path}"])
    assert not end.value.code
    assert "tensorboard: 1 sent, 0 skipped, 0 failed" in capsys.readouterr().out
    assert len(shown(run)[0]) == 3


def test_an_unknown_tracker_is_one_line_before_anything_starts(tmp_path, capsys):
    a_run(tmp_path, epochs=3)
    with pytest.raises(TrackerError, match=r"'wandbb' \(did you mean wandb\?\)"):
        sync(tmp_path, "digits", "wandbb")
    with pytest.raises(SystemExit) as end:
        main(["sweep", "dskd_digits", "--tracker=wandbb", f"--runs-root={tmp_path}"])
    assert end.value.code == 2
    assert "tensorboard" in capsys.readouterr().err


def test_a_tracker_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    with pytest.raises(TrackerError, match=r"pip install 'dskd-bench\[tensorboard\]'"):
        tracker({}, 1.0)


def test_an_installed_package_adds_a_tracker(monkeypatch):
    target = "suite.tracking.trackers.tensorboard:tracker"
    point = EntryPoint("theirs", target, trackers.ENTRY_POINT_GROUP)
    monkeypatch.setattr(trackers, "entry_points", lambda group: [point] * (group == point.group))
    assert trackers.names() == ("tensorboard", "theirs", "wandb")
    assert trackers.find("theirs") is tracker
    assert importlib.metadata.version("tensorboard")
