"""Where runs are sent, and what is said when they cannot be."""

import os

import pytest
from tracked_runs import (
    KEY,
    OFFLINE,
    a_run,
    offline_folders,
)

from suite.tracking import TrackerError, Uploader, sync
from suite.tracking.uploader import upload
from suite.tracking.wandb_destination import Destination


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": KEY}, "online"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_MODE": "online"}, "online"),
        ({"WANDB_MODE": "dryrun"}, "offline"),
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": KEY}, "disabled"),
    ],
)
def test_online_when_a_key_is_configured_else_offline(monkeypatch, environment, mode):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Destination.from_environment(os.environ).mode == mode


def test_a_key_in_netrc_counts_for_its_server_only(tmp_path):
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    (tmp_path / "netrc").chmod(0o600)
    assert Destination.from_environment(os.environ).mode == "online"
    (tmp_path / "netrc").write_text(f"machine elsewhere.example login user password {KEY}\n")
    assert Destination.from_environment(os.environ).mode == "offline"


def test_an_unknown_mode_is_one_clear_message(tmp_path, monkeypatch):
    a_run(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offlin")
    with pytest.raises(TrackerError, match=r"WANDB_MODE 'offlin' \(did you mean offline\?\)"):
        sync(tmp_path, "digits")


def test_an_unknown_experiment_is_one_clear_message(tmp_path):
    with pytest.raises(TrackerError, match="experiment 'nothing' has no runs"):
        sync(tmp_path, "nothing")


def test_sync_keeps_what_is_missing_and_says_why_it_is_not_sent(tmp_path, monkeypatch):
    upload(a_run(tmp_path, 10).path, OFFLINE)
    a_run(tmp_path, 11)
    a_run(tmp_path, 12, finished=False)
    a_run(tmp_path, 13).config.write_text("{")
    teacher = a_run(tmp_path, 14, experiment="teachers")
    a_run(tmp_path, 15, experiment="teachers")  # of another experiment
    a_run(tmp_path, 16, finished=False, teacher=teacher.path.name)
    (tmp_path / "digits" / "manifest.json").write_text("[{")
    first = sync(tmp_path, "digits")
    assert (first.sent, first.unsent, first.skipped, first.failed) == (0, 3, 2, 1)
    assert str(first).startswith("wandb: 0 sent, 3 NOT sent, 2 skipped, 1 failed\n")
    assert any("3 unsent: no key of W&B is configured" in reason for reason in first.reasons)
    assert "2 skipped: not finished" in first.reasons
    assert any("config.json is damaged" in reason for reason in first.reasons)
    assert len(offline_folders(tmp_path)) == 2
    assert len(offline_folders(tmp_path, "teachers")) == 1
    second = sync(tmp_path, "digits")
    assert second == first
    monkeypatch.setenv("WANDB_MODE", "offline")
    wanted = sync(tmp_path, "digits")
    assert (wanted.sent, wanted.kept, wanted.unsent, wanted.failed) == (0, 3, 0, 1)


def test_disabled_does_nothing(tmp_path, monkeypatch):
    run = a_run(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert sync(tmp_path, "digits").reasons == ("1 skipped: WANDB_MODE is disabled",)
    with Uploader(tmp_path / "uploader.log") as uploader:
        uploader.watch(run.path)
    assert offline_folders(tmp_path) == []
    assert not (run.path / "wandb.json").exists()


def test_a_malformed_key_is_a_reason_not_a_prompt(tmp_path, monkeypatch):
    a_run(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "short")
    result = sync(tmp_path, "digits")
    assert result.failed == 1
    assert "WANDB_API_KEY invalid" in result.reasons[0]


def test_the_command_that_could_send_nothing_says_so_and_fails(tmp_path, capsys, monkeypatch):
    from suite.cli.app import main

    a_run(tmp_path)
    for mode, status, text in ((None, 1, "0 sent, 1 NOT sent"), ("offline", 0, "1 kept offline")):
        if mode is not None:
            monkeypatch.setenv("WANDB_MODE", mode)
        with pytest.raises(SystemExit) as end:
            main(["sync", "digits", f"--runs-root={tmp_path}"])
        assert (end.value.code or 0) == status
        assert text in capsys.readouterr().out
