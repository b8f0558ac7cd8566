"""The process beside a worker: nothing waits for it, nothing breaks on it."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from command_line import ROOT
from tracked_runs import (
    EPOCHS,
    OFFLINE,
    a_run,
    children_called,
    closed_port,
    content,
    dripping_port,
    finish,
    go_online,
    is_running,
    offline_folders,
    silent_port,
    wait_for,
)

from suite.tracking import Uploader, sync
from suite.tracking.tracker import time_limit
from suite.tracking.uploader import upload
from suite.tracking.watcher import Pause


def test_after_the_service_of_wandb_has_died_the_next_run_has_a_new_one(tmp_path):
    runs = [a_run(tmp_path, number) for number in range(3)]
    upload(runs[0].path, OFFLINE)
    (service,) = children_called("wandb-core")
    os.kill(service, signal.SIGKILL)
    with pytest.raises(Exception) as fault:  # noqa: PT011  (whatever wandb raises)
        upload(runs[1].path, OFFLINE)
    assert "wandb" in type(fault.value).__module__ or isinstance(fault.value, OSError)
    OFFLINE.stop()
    assert [upload(run.path, OFFLINE).state for run in runs] == ["kept"] * 3


def test_an_uploader_sends_runs_as_they_finish(tmp_path):
    with Uploader(tmp_path / "uploader.log") as uploader:
        runs = [a_run(tmp_path, number, finished=False) for number in range(3)]
        for run in runs:
            uploader.watch(run.path)
        finish(runs[0])
        wait_for(lambda: len(offline_folders(tmp_path)) == 1)
        finish(runs[1])
        assert uploader.close(20.0)
    assert len(offline_folders(tmp_path)) == 2
    outcomes = [json.loads(line) for line in (tmp_path / "uploader.log").open()]
    assert [outcome["state"] for outcome in outcomes] == ["unsent", "unsent", "skipped"]


def test_an_uploader_outlives_a_killed_worker_and_then_leaves(tmp_path):
    run = a_run(tmp_path)
    worker = """if True:
        import os, pathlib, signal, sys, time
        from suite.tracking import Uploader
        uploader = Uploader(pathlib.Path(sys.argv[1]))
        uploader.watch(pathlib.Path(sys.argv[2]))
        if os.fork() == 0:  # a data-loading process, say, that holds the pipe open
            os.closerange(0, 3)
            time.sleep(30)
            os._exit(0)
        print(uploader._process.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)"""
    command = [sys.executable, "-c", worker, str(tmp_path / "uploader.log"), str(run.path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == -signal.SIGKILL
    wait_for(lambda: not is_running(int(done.stdout)))
    assert len(content(offline_folders(tmp_path)[0])[0]) == EPOCHS


def test_an_uploader_killed_in_the_middle_loses_and_doubles_nothing(tmp_path):
    """Killed at several moments, some while it writes; then sync settles all runs."""
    runs = [a_run(tmp_path, number, epochs=300) for number in range(4)]
    for delay in (0.0, 0.05):
        uploader = Uploader(tmp_path / "uploader.log")
        for run in runs:
            uploader.watch(run.path)
        wait_for(lambda: any((tmp_path / "digits" / "wandb").glob(".partial-*")), poll=0.001)
        time.sleep(delay)
        os.kill(uploader._process.pid, signal.SIGKILL)
        assert not uploader.close()
    result = sync(tmp_path, "digits")
    assert (result.unsent, result.failed) == (4, 0)
    steps = [[row["_step"] for row in content(folder)[0]] for folder in offline_folders(tmp_path)]
    assert steps == [list(range(1, 301))] * 4
    assert list((tmp_path / "digits" / "wandb").glob(".partial-*")) == []


def test_watching_never_waits_even_when_the_uploader_hangs(tmp_path):
    run = a_run(tmp_path)
    uploader = Uploader(tmp_path / "uploader.log")
    os.kill(uploader._process.pid, signal.SIGSTOP)
    process = uploader._process
    began = time.monotonic()
    for _ in range(3000):  # far more than the pipe holds
        uploader.watch(run.path)
    assert not uploader.close(0.2)
    assert time.monotonic() - began < 5.0
    process.kill()
    process.wait()


def test_a_dead_server_costs_the_worker_nothing_and_the_run_one_warning(tmp_path, monkeypatch):
    with closed_port() as url:
        go_online(monkeypatch, url)
        run = a_run(tmp_path, finished=False)
        with Uploader(tmp_path / "uploader.log", seconds=2.0) as uploader:
            began = time.monotonic()
            uploader.watch(run.path)
            wait_for(lambda: run.log.exists())
            finish(run)
            assert uploader.close(60.0)
        assert time.monotonic() - began < 30.0
    warnings = run.log.read_text().splitlines()
    assert len(warnings) == 1
    assert "WARNING W&B: " in warnings[0]
    assert "dskd-bench sync sends it later" in warnings[0]
    assert not (run.path / "wandb.json").exists()


def test_sync_gives_up_on_a_server_that_never_answers(tmp_path, monkeypatch):
    for number in range(5):
        a_run(tmp_path, number)
    with silent_port() as url:
        go_online(monkeypatch, url)
        began = time.monotonic()
        result = sync(tmp_path, "digits", seconds=0.5)
    assert (result.sent, result.failed) == (0, 5)
    assert "2 failed: W&B did not answer for earlier runs" in result.reasons
    assert time.monotonic() - began < 20.0


def test_a_server_that_answers_a_byte_a_second_holds_up_nobody(tmp_path, monkeypatch):
    """Every byte comes before a time-out of the socket; only a limit on the whole call helps."""
    for number in range(5):
        a_run(tmp_path, number)
    late = a_run(tmp_path, 15, finished=False, experiment="late")
    with dripping_port() as (url, sent):
        go_online(monkeypatch, url)
        began = time.monotonic()
        result = sync(tmp_path, "digits", seconds=2.5)
        assert time.monotonic() - began < 30.0
        uploader = Uploader(tmp_path / "uploader.log", seconds=2.0)
        uploader.watch(late.path)
        finish(late)
        assert uploader.close(60.0)
        assert sent() > 0  # it did answer
    assert (result.sent, result.failed) == (0, 5)
    assert "2 failed: W&B did not answer for earlier runs" in result.reasons
    assert "dskd-bench sync sends it later" in late.log.read_text()


def test_pauses_double_up_to_ten_minutes_and_begin_anew_after_success(monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr("suite.tracking.watcher.time", clock)
    pause = Pause()
    for middle in (15, 30, 60, 120, 240, 480, 600, 600):
        pause.begin()
        clock.monotonic = lambda now=0.49 * middle: now
        assert not pause.over()
        clock.monotonic = lambda now=1.51 * middle: now
        assert pause.over()
        clock.monotonic = lambda: 0.0
    pause.end()
    pause.begin()
    clock.monotonic = lambda: 1.51 * 15
    assert pause.over()


def test_a_call_beyond_its_limit_is_a_timeout():
    with pytest.raises(TimeoutError, match=r"nap took more than 0\.05 s"), time_limit(0.05, "nap"):
        time.sleep(5)


def test_importing_the_tracker_imports_neither_torch_nor_wandb():
    code = "import sys, suite.tracking; print({'torch', 'wandb'} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "set()"
