"""W&B mirrors the run store: every row once, nothing waits for it, nothing breaks on it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from suite.store.record import RunDirectory, write_json
from suite.tracking import Follower, TrackerError, datastore, sync
from suite.tracking.describe import describe, summary
from suite.tracking.follow import Pause
from suite.tracking.ledger import Busy, locked
from suite.tracking.mirror import Mirror, mirror, stop_wandb, time_limit
from suite.tracking.target import Target

OFFLINE = Target("offline", base_url=None)
EPOCHS = 5
KEY = "0" * 40  # wandb takes a key of 40 characters; no server ever sees it


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """No key, no settings of the user who runs the tests."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))


def a_run(root, run_id="0123456789abcdef", epochs=EPOCHS, finished=True, experiment="digits"):
    run = RunDirectory.of(root, experiment, run_id)
    config = {
        "data": {"name": "digits"},
        "student": {"name": "cifar_resnet8"},
        "teacher": {"name": "cifar_resnet20", "run_id": "fedcba9876543210"},
        "method": {"name": "kd", "options": {"temperature": 4.0}},
        "seed": 3,
    }
    spec = {"experiment": experiment, "role": "student", "label": "kd t4", "recipe": "small"}
    run.start({"config": config, **spec})
    for epoch in range(1, epochs + 1):
        run.append_metrics(a_row(epoch))
    if finished:
        finish(run, epochs)
    return run


def a_row(epoch):
    return {"epoch": epoch, "train/loss": 1 / epoch, "val/top1_percent": 50.0 + epoch}


def finish(run, epochs=EPOCHS):
    write_json(
        run.result,
        {
            "run_id": run.path.name,
            "label": "kd t4",
            "last": {"epoch": epochs, "test/top1_percent": 61.25},
            "best_val": None,
            "parameters": {"student": 78042},
            "provenance": {"finished": "2025-01-02T03:04:05+00:00"},
        },
    )


def offline_folders(root, experiment="digits"):
    return sorted((root / experiment / "wandb").glob("offline-run-*"))


def content(folder):
    """What W&B's own records in the folder say: rows, run, summary, exit code."""
    (file,) = folder.glob("*.wandb")
    rows, last, run, code = [], {}, None, None
    for record in datastore.read(file):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            items = record.history.item
            rows.append({_key(item): json.loads(item.value_json) for item in items})
        elif kind == "summary":
            last |= {_key(item): json.loads(item.value_json) for item in record.summary.update}
        elif kind == "run":
            run = record.run
        elif kind == "exit":
            code = record.exit.exit_code
    return rows, last, run, code


def _key(item):
    return item.key or "/".join(item.nested_key)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """A finished run and its offline folder."""
    run = a_run(tmp_path_factory.mktemp("runs"))
    assert mirror(run.path, OFFLINE).state == "kept"
    (folder,) = offline_folders(run.path.parents[1])
    return run, folder


def test_the_offline_folder_holds_every_epoch_once_and_its_step_is_the_epoch(mirrored):
    rows, _, _, code = content(mirrored[1])
    assert [row["_step"] for row in rows] == [1, 2, 3, 4, 5]
    shown = [{key: row[key] for key in a_row(1)} for row in rows]
    assert shown == [a_row(epoch) for epoch in (1, 2, 3, 4, 5)]
    assert code == 0


def test_group_is_the_experiment_and_job_type_the_role(mirrored):
    _, _, run, _ = content(mirrored[1])
    assert (run.run_id, run.run_group, run.job_type) == ("0123456789abcdef", "digits", "student")
    assert run.display_name == "kd t4 cifar_resnet20/cifar_resnet8 seed 3"
    assert list(run.tags) == ["kd t4", "digits", "cifar_resnet20/cifar_resnet8", "small"]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["method"] == {"name": "kd", "options": {"temperature": 4.0}}
    assert (config["seed"], config["experiment"], config["recipe"]) == (3, "digits", "small")


def test_the_summary_is_the_flattened_result(mirrored):
    _, last, _, _ = content(mirrored[1])
    assert last["last/test/top1_percent"] == 61.25
    assert last["parameters/student"] == 78042
    assert last["provenance/finished"] == "2025-01-02T03:04:05+00:00"
    assert "best_val" not in last


def test_the_folder_has_a_name_that_wandb_sync_finds(mirrored):
    wandb = Path(sys.executable).with_name("wandb")
    command = [str(wandb), "sync", "--dry-run", str(mirrored[1].parent)]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert mirrored[1].name == "offline-run-20250102_030405-0123456789abcdef"
    assert "Would sync 1 run" in listed.stdout + listed.stderr


def test_a_second_mirror_changes_nothing(mirrored):
    run, folder = mirrored
    before = (folder / "run-0123456789abcdef.wandb").stat().st_mtime_ns
    outcome = mirror(run.path, OFFLINE)
    assert (outcome.state, outcome.reason) == (
        "kept",
        "an offline folder holds it: WANDB_MODE is offline",
    )
    assert (folder / "run-0123456789abcdef.wandb").stat().st_mtime_ns == before
    assert [item.name for item in folder.parent.iterdir()] == [folder.name]


def test_rows_made_again_by_a_resumed_run_are_not_sent_again(tmp_path):
    """The trainer is killed in epoch 4 and goes on from its checkpoint of epoch 2."""
    run = a_run(tmp_path, epochs=3, finished=False)
    with Mirror(run, OFFLINE) as opened:
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


def test_after_the_service_of_wandb_has_died_the_next_run_has_a_new_one(tmp_path):
    runs = [a_run(tmp_path, str(number) * 16) for number in range(3)]
    mirror(runs[0].path, OFFLINE)
    (service,) = children_called("wandb-core")
    os.kill(service, signal.SIGKILL)
    with pytest.raises(Exception) as fault:  # noqa: PT011  (whatever wandb raises)
        mirror(runs[1].path, OFFLINE)
    assert "wandb" in type(fault.value).__module__ or isinstance(fault.value, OSError)
    stop_wandb()
    assert [mirror(run.path, OFFLINE).state for run in runs] == ["kept"] * 3


def test_a_lost_note_leads_to_one_folder_not_two(tmp_path):
    run = a_run(tmp_path)
    mirror(run.path, OFFLINE)
    (run.path / "wandb.json").unlink()
    assert mirror(run.path, OFFLINE).state == "kept"
    (folder,) = offline_folders(tmp_path)
    assert len(content(folder)[0]) == EPOCHS


def test_a_run_trained_again_replaces_its_folder(tmp_path):
    run = a_run(tmp_path)
    mirror(run.path, OFFLINE)
    run.append_metrics(a_row(6))
    finish(run, 6)
    assert mirror(run.path, OFFLINE).state == "kept"
    (folder,) = offline_folders(tmp_path)
    assert len(content(folder)[0]) == 6


def test_a_torn_last_line_is_not_sent(tmp_path):
    run = a_run(tmp_path)
    with run.metrics.open("a") as file:
        file.write('{"epoch": 6, "tra')
    mirror(run.path, OFFLINE)
    assert len(content(offline_folders(tmp_path)[0])[0]) == EPOCHS


def test_a_run_that_another_process_mirrors_is_left_alone(tmp_path):
    run = a_run(tmp_path)
    with locked(run):
        outcome = mirror(run.path, OFFLINE)
        with pytest.raises(Busy), locked(run):
            pass
    assert (outcome.state, outcome.reason) == ("skipped", "another process mirrors it now")
    assert mirror(run.path, OFFLINE).state == "kept"


def test_rows_larger_than_a_block_of_the_file_are_read_back(tmp_path):
    run = a_run(tmp_path, epochs=0, finished=False)
    for epoch in (1, 2, 3):
        run.append_metrics({"epoch": epoch, "note": "x" * 70_000})
    finish(run)
    assert mirror(run.path, OFFLINE).state == "kept"
    rows, *_ = content(offline_folders(tmp_path)[0])
    assert [len(row["note"]) for row in rows] == [70_000] * 3


def test_a_torn_offline_file_is_known_by_its_missing_end(mirrored, tmp_path):
    whole = (mirrored[1] / "run-0123456789abcdef.wandb").read_bytes()
    assert datastore.history(mirrored[1] / "run-0123456789abcdef.wandb") == ([1, 2, 3, 4, 5], True)
    for length in range(0, len(whole) - 20, 101):
        torn = tmp_path / "run-torn.wandb"
        torn.write_bytes(whole[:length])
        steps, exited = datastore.history(torn)
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
        monkeypatch.setattr("suite.tracking.mirror.CONFIRM_SECONDS", 0.5)
        with pytest.raises(TrackerError, match=r"holds \d+ of 100 rows: is the disk full"):
            mirror(run.path, OFFLINE)
        assert offline_folders(disk) == []
        (disk / "ballast").unlink()
        assert mirror(run.path, OFFLINE).state == "kept"
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
    assert Target.from_environment(os.environ).mode == mode


def test_a_key_in_netrc_counts_for_its_server_only(tmp_path):
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    (tmp_path / "netrc").chmod(0o600)
    assert Target.from_environment(os.environ).mode == "online"
    (tmp_path / "netrc").write_text(f"machine elsewhere.example login user password {KEY}\n")
    assert Target.from_environment(os.environ).mode == "offline"


def test_an_unknown_mode_is_one_clear_message(tmp_path, monkeypatch):
    a_run(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offlin")
    with pytest.raises(TrackerError, match=r"WANDB_MODE 'offlin' \(did you mean offline\?\)"):
        sync(tmp_path, "digits")


def test_an_unknown_experiment_is_one_clear_message(tmp_path):
    with pytest.raises(TrackerError, match="experiment 'nothing' has no runs"):
        sync(tmp_path, "nothing")


def test_sync_keeps_what_is_missing_and_says_why_it_is_not_sent(tmp_path, monkeypatch):
    mirror(a_run(tmp_path, "a" * 16).path, OFFLINE)
    a_run(tmp_path, "b" * 16)
    a_run(tmp_path, "c" * 16, finished=False)
    a_run(tmp_path, "d" * 16).config.write_text("{")
    a_run(tmp_path, "e" * 16, experiment="teachers")
    runs = [{"directory": f"teachers/{'e' * 16}"}, {"directory": f"digits/{'f' * 16}"}]
    write_json(tmp_path / "digits" / "manifest.json", {"runs": runs})
    first = sync(tmp_path, "digits")
    assert (first.sent, first.unsent, first.skipped, first.failed) == (0, 3, 1, 1)
    assert str(first).startswith("W&B: 0 sent, 3 NOT sent, 1 skipped, 1 failed\n")
    assert any("3 unsent: no key of W&B is configured" in reason for reason in first.reasons)
    assert "1 skipped: not finished" in first.reasons
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
    with Follower(tmp_path / "follower.log") as follower:
        follower.follow(run.path)
    assert offline_folders(tmp_path) == []
    assert not (run.path / "wandb.json").exists()


def test_a_follower_mirrors_runs_as_they_finish(tmp_path):
    with Follower(tmp_path / "follower.log") as follower:
        runs = [a_run(tmp_path, str(number) * 16, finished=False) for number in range(3)]
        for run in runs:
            follower.follow(run.path)
        finish(runs[0])
        wait_for(lambda: len(offline_folders(tmp_path)) == 1)
        finish(runs[1])
        assert follower.close(20.0)
    assert len(offline_folders(tmp_path)) == 2
    outcomes = [json.loads(line) for line in (tmp_path / "follower.log").open()]
    assert [outcome["state"] for outcome in outcomes] == ["unsent", "unsent", "skipped"]


def test_a_follower_outlives_a_killed_worker_and_then_leaves(tmp_path):
    run = a_run(tmp_path)
    worker = """if True:
        import os, pathlib, signal, sys, time
        from suite.tracking import Follower
        follower = Follower(pathlib.Path(sys.argv[1]))
        follower.follow(pathlib.Path(sys.argv[2]))
        if os.fork() == 0:  # a data-loading process, say, that holds the pipe open
            os.closerange(0, 3)
            time.sleep(30)
            os._exit(0)
        print(follower._process.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)"""
    command = [sys.executable, "-c", worker, str(tmp_path / "follower.log"), str(run.path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ROOT}
    )
    assert done.returncode == -signal.SIGKILL
    wait_for(lambda: not is_running(int(done.stdout)))
    assert len(content(offline_folders(tmp_path)[0])[0]) == EPOCHS


def test_a_follower_killed_in_the_middle_loses_and_doubles_nothing(tmp_path):
    """Killed at several moments, some while it writes; then sync settles all runs."""
    runs = [a_run(tmp_path, f"{number:016d}", epochs=300) for number in range(4)]
    for delay in (0.0, 0.05):
        follower = Follower(tmp_path / "follower.log")
        for run in runs:
            follower.follow(run.path)
        wait_for(lambda: any((tmp_path / "digits" / "wandb").glob(".partial-*")), poll=0.001)
        time.sleep(delay)
        os.kill(follower._process.pid, signal.SIGKILL)
        assert not follower.close()
    result = sync(tmp_path, "digits")
    assert (result.unsent, result.failed) == (4, 0)
    steps = [[row["_step"] for row in content(folder)[0]] for folder in offline_folders(tmp_path)]
    assert steps == [list(range(1, 301))] * 4
    assert list((tmp_path / "digits" / "wandb").glob(".partial-*")) == []


def test_following_never_waits_even_when_the_mirror_hangs(tmp_path):
    run = a_run(tmp_path)
    follower = Follower(tmp_path / "follower.log")
    os.kill(follower._process.pid, signal.SIGSTOP)
    process = follower._process
    began = time.monotonic()
    for _ in range(3000):  # far more than the pipe holds
        follower.follow(run.path)
    assert not follower.close(0.2)
    assert time.monotonic() - began < 5.0
    process.kill()
    process.wait()


def test_a_dead_server_costs_the_worker_nothing_and_the_run_one_warning(tmp_path, monkeypatch):
    with closed_port() as url:
        go_online(monkeypatch, url)
        run = a_run(tmp_path, finished=False)
        with Follower(tmp_path / "follower.log", seconds=2.0) as follower:
            began = time.monotonic()
            follower.follow(run.path)
            wait_for(lambda: run.log.exists())
            finish(run)
            assert follower.close(25.0)
        assert time.monotonic() - began < 30.0
    warnings = run.log.read_text().splitlines()
    assert len(warnings) == 1
    assert "WARNING W&B: " in warnings[0]
    assert "dskd-bench sync sends it later" in warnings[0]
    assert not (run.path / "wandb.json").exists()


def test_sync_gives_up_on_a_server_that_never_answers(tmp_path, monkeypatch):
    for number in range(5):
        a_run(tmp_path, str(number) * 16)
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
        a_run(tmp_path, str(number) * 16)
    late = a_run(tmp_path, "f" * 16, finished=False, experiment="late")
    with dripping_port() as (url, sent):
        go_online(monkeypatch, url)
        began = time.monotonic()
        result = sync(tmp_path, "digits", seconds=2.5)
        assert time.monotonic() - began < 30.0
        began = time.monotonic()
        follower = Follower(tmp_path / "follower.log", seconds=2.0)
        follower.follow(late.path)
        finish(late)
        assert time.monotonic() - began < 2.0  # what the worker waits
        assert follower.close(25.0)
        assert sent() > 0  # it did answer
    assert (result.sent, result.failed) == (0, 5)
    assert "2 failed: W&B did not answer for earlier runs" in result.reasons
    assert "dskd-bench sync sends it later" in late.log.read_text()


def test_a_malformed_key_is_a_reason_not_a_prompt(tmp_path, monkeypatch):
    a_run(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "short")
    result = sync(tmp_path, "digits")
    assert result.failed == 1
    assert "WANDB_API_KEY invalid" in result.reasons[0]


def test_pauses_double_up_to_ten_minutes_and_begin_anew_after_success(monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr("suite.tracking.follow.time", clock)
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
    environment = os.environ | {"PYTHONPATH": ROOT}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "set()"


ROOT = str(Path(__file__).parents[3])


def go_online(monkeypatch, url):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", url)


@contextmanager
def silent_port():
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def dripping_port():
    """A server that answers every connection with one byte a second; and how many it has sent."""
    count = [0]

    def drip(connection):
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{" + b" " * 1000
        with connection, suppress(OSError):
            for byte in answer:
                connection.sendall(bytes([byte]))
                count[0] += 1
                if over.wait(1.0):
                    return

    def serve(server):
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=drip, args=[connection], daemon=True).start()

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        threading.Thread(target=serve, args=[server], daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", lambda: count[0]
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)


@contextmanager
def closed_port():
    """An address where nobody listens (bound, so that nobody else will)."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def wait_for(happened, seconds=60.0, poll=0.02):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(poll)


def children_called(name):
    found = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True
    )
    pairs = [line.split() for line in found.stdout.decode().splitlines()]
    return [int(pid) for pid, command in pairs if command == name]


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # a zombie of a process whose parent does not collect it has ended


def a_trial(run, state, number=7):
    write_json(run.trial, {"study": "mine/kd@0", "number": number, "state": state})


def test_a_pruned_run_is_mirrored_with_its_trial_and_its_state(tmp_path):
    run = a_run(tmp_path, finished=False, experiment="mine")
    a_trial(run, "pruned")
    assert mirror(run.path, OFFLINE).state == "kept"
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
    assert mirror(run.path, OFFLINE).state == "skipped"
    a_trial(run, "complete")
    assert mirror(run.path, OFFLINE).state == "kept"
    _, last, _, _ = content(offline_folders(tmp_path)[0])
    assert last["trial/state"] == "complete"


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
