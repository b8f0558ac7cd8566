"""kill -9 of the driver and of workers, again and again: no trial lost, told twice or running."""

import os
import random
import signal
import time

import pytest
import simulated

from suite.store.lease import acquire
from sweeps.search.plan import load

EPOCH_SECONDS = 0.06  # on the fastest machine too, the study lives long enough to be killed


@pytest.mark.parametrize("seed", [0, 1])
def test_driver_and_workers_killed_at_random_leave_a_consistent_study(tmp_path, seed):
    chance = random.Random(seed)
    root = tmp_path / "runs"
    path = simulated.write_search(tmp_path, budget={"trials": 40})
    driver = simulated.start(simulated.drive, path, root, 3)
    workers = [simulated.start(simulated.serve, "quick", root, EPOCH_SECONDS) for _ in range(3)]
    kills = {"driver": 0, "worker": 0}
    while driver.exitcode != 0:
        assert driver.exitcode in (None, -signal.SIGKILL), "the driver failed by itself"
        time.sleep(chance.uniform(0.02, 0.4))
        if driver.exitcode is None and kills["driver"] < 12 and chance.random() < 0.5:
            os.kill(driver.pid, signal.SIGKILL)
            driver.join()
            kills["driver"] += 1
        victim = chance.randrange(3)
        if workers[victim].exitcode is None and chance.random() < 0.5 and kills["worker"] < 12:
            os.kill(workers[victim].pid, signal.SIGKILL)
            workers[victim].join()
            kills["worker"] += 1
        if driver.exitcode == -signal.SIGKILL:
            driver = simulated.start(simulated.drive, path, root, 3)
        for number, worker in enumerate(workers):
            if worker.exitcode == -signal.SIGKILL:
                workers[number] = simulated.start(simulated.serve, "quick", root, EPOCH_SECONDS)
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    assert kills["driver"] >= 3
    assert kills["worker"] >= 3
    simulated.check_consistent(path, root, trials=40)
    assert simulated.told_once(root, "quick") == 1


def test_a_driver_killed_between_any_two_writes_goes_on_with_the_same_study(tmp_path):
    """The journal cut after each of its lines is what a driver killed there would have left."""
    path = simulated.write_search(tmp_path, sampler={"name": "tpe", "startup_trials": 3})
    whole_root = tmp_path / "whole"
    whole = simulated.drive_alone(path, whole_root, trials=6).studies[0].study
    lines = (whole_root / "quick" / "study.journal").read_bytes().splitlines(keepends=True)
    for cut in range(0, len(lines), 3):
        root = tmp_path / f"cut{cut}"
        (root / "quick").mkdir(parents=True)
        (root / "quick" / "study.journal").write_bytes(b"".join(lines[:cut]))
        study = simulated.drive_alone(path, root, trials=6).studies[0].study
        kept = [(it.number, it.params) for it in study.trials]
        assert kept == [(it.number, it.params) for it in whole.trials]
        assert all(trial.state.is_finished() for trial in study.trials)


def test_a_second_driver_is_refused(tmp_path):
    from suite.interface.errors import UserError
    from sweeps.search.launch import SearchOptions, search

    path = simulated.write_search(tmp_path)
    root = tmp_path / "runs"
    with acquire(root / load(path).name), pytest.raises(UserError, match="one driver at a time"):
        search(path, (), simulated.runtime_of(root), SearchOptions(executor="in_process"))
