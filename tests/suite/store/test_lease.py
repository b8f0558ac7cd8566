"""One owner per run, whatever dies."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite.store import lease
from suite.store.lease import LeaseLost, acquire, holder, is_alive, process_started

ROOT = Path(__file__).parents[3]


def compete(run, winners, gate):
    """Take the lease once the gate opens; report and hold on when successful."""
    gate.wait()
    held = acquire(run)
    if held is not None:
        winners.put(os.getpid())
        time.sleep(1.0)
        held.release()


def test_a_run_can_be_taken_again_once_it_is_released(tmp_path):
    with acquire(tmp_path) as held:
        assert held is not None
        assert holder(tmp_path)["pid"] == os.getpid()
        assert acquire(tmp_path) is None
    assert holder(tmp_path) is None
    acquire(tmp_path).release()


def test_of_16_racing_processes_one_gets_the_run(tmp_path):
    context = multiprocessing.get_context("fork")
    winners, gate = context.Queue(), context.Event()
    racers = [context.Process(target=compete, args=(tmp_path, winners, gate)) for _ in range(16)]
    for racer in racers:
        racer.start()
    gate.set()
    for racer in racers:
        racer.join()
    assert len({winners.get(timeout=5)}) == 1
    assert winners.empty()


def test_the_lease_of_a_killed_process_is_void_at_once(tmp_path):
    code = "import sys, time; from suite.store.lease import acquire; from pathlib import Path; "
    code += "acquire(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert child.stdout.readline() == b"held\n"
    assert acquire(tmp_path) is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    acquire(tmp_path).release()


def test_a_lease_from_another_host_expires_without_a_heartbeat(tmp_path):
    held = acquire(tmp_path)
    path = tmp_path / "claim.json"
    foreign = {**json.loads(path.read_text()), "host": "elsewhere"}
    path.write_text(json.dumps(foreign))
    assert acquire(tmp_path) is None
    old = time.time() - lease.EXPIRY_SECONDS - 1
    os.utime(path, (old, old))
    second = acquire(tmp_path)
    assert second is not None
    second.release()
    held.release()


def test_an_owner_that_was_replaced_is_told_and_leaves_the_new_lease_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.02)
    held = acquire(tmp_path)
    path = tmp_path / "claim.json"
    other = json.dumps({**json.loads(path.read_text()), "token": "another"})
    path.write_text(other)
    deadline = time.monotonic() + 10
    while not held.lost and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(LeaseLost, match="taken over"):
        held.check()
    held.release()
    assert path.read_text() == other


def test_a_process_is_known_by_its_start_time_not_by_its_number_alone():
    own = process_started(os.getpid())
    assert is_alive(os.getpid(), own)
    assert not is_alive(os.getpid(), "0")
