"""A worker trains for hours and days: nothing stays of the runs and the epochs that are over."""

import os
import subprocess
import sys
from pathlib import Path

from train_many_runs import METHODS

TESTS = Path(__file__).parents[2]
WARM = (1, 1)
"""Epochs of the packs before the first count: what libraries keep of their first use."""


def objects(tmp_path, *epochs):
    """How many objects Python holds after each pack, in a process of its own: pytest keeps logs."""
    script = TESTS / "train_many_runs.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path / "runs", *map(str, (*WARM, *epochs))],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return list(map(int, done.stdout.split()))[len(WARM) :]


def test_nothing_stays_of_the_runs_a_worker_has_trained(tmp_path):
    first, *_, last = objects(tmp_path, 1, 1, 1, 1, 1)
    assert last - first < 4 * len(METHODS)  # not one object a run


def test_nothing_stays_of_the_epochs_of_a_run(tmp_path):
    short, long = objects(tmp_path, 2, 22)
    assert long - short < 20  # not one object an epoch
