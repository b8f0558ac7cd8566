"""A worker's process whose work is done ends well, whatever signals still reach it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DONE = """
import sys, torch
from suite.config import Runtime
from sweeps.workers.worker_job import WorkerJob
WorkerJob.of([], Runtime(runs_root=sys.argv[1], accelerator="cpu", tracker="none"), 0.0)()
print("done", flush=True)
"""


@pytest.mark.parametrize("notice", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_after_the_last_run_does_not_make_a_failure(tmp_path, notice):
    job = {"EXECUTOR": "local", "LOCAL_JOB_ID": "1", "LOCAL_GLOBALID": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", DONE, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}
        | {f"SUBMITIT_{name}": value for name, value in job.items()},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "done\n"
    while process.poll() is None:
        process.send_signal(notice)
    assert process.returncode == 0
