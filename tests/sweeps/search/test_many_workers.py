"""64 workers at once. CI gives them 2,000 trials (DSKD_TRIALS=2000); the tests fewer."""

import os

import simulated

TRIALS = int(os.environ.get("DSKD_TRIALS", "100"))


def test_64_workers_finish_with_a_consistent_study(tmp_path):
    root = tmp_path / "runs"
    path = simulated.write_search(tmp_path, budget={"trials": TRIALS})
    driver = simulated.start(simulated.drive, path, root, 64)
    workers = [simulated.start(simulated.serve, "quick", root) for _ in range(64)]
    for process in [driver, *workers]:
        process.join()
        assert process.exitcode == 0
    found = simulated.check_consistent(path, root, TRIALS)
    assert simulated.told_once(root, "quick") == 1
    assert len({trial.state for trial in found}) == 2  # some complete, some pruned
