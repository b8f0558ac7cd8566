"""A worker's process whose work is done ends well, whatever still reaches it or was open."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DONE = """
import os, pickle, sys, torch
from pathlib import Path
from suite.config import Runtime
from sweeps.workers.__main__ import main
from sweeps.workers.job import Job
from sweeps.workers.ranks import Rank
from sweeps.workers.source import RunList
runtime = Runtime(runs_root=sys.argv[1], accelerator="cpu", tracker="none")
job = Path(sys.argv[1], "job.pkl")
job.write_bytes(pickle.dumps(Job.of(RunList.of("e", [], 0.0), runtime)))
main(job, os.getppid(), Rank())
print("done", flush=True)
"""


@pytest.mark.parametrize("notice", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_after_the_last_run_does_not_make_a_failure(tmp_path, notice):
    process = subprocess.Popen(
        [sys.executable, "-c", DONE, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "done\n"
    while process.poll() is None:
        process.send_signal(notice)
    assert process.returncode == 0


TWO_RANKS = """
import os, sys
from suite.config import Runtime
from sweeps.workers.job import Job
from sweeps.workers.ranks import Rank
from sweeps.workers.source import RunList
runtime = Runtime(runs_root=sys.argv[1], accelerator="cpu", tracker="none", devices=2)
rank = Rank(int(sys.argv[2]), int(sys.argv[2]), int(sys.argv[3]))
Job.of(RunList.of("e", [], 0.0), runtime).run(lambda: False, rank)
from torch import distributed
print("still connected:", distributed.is_initialized())
"""


def test_ranks_part_before_python_ends(tmp_path):
    """Threads of a connection that is still open abort the process now and then as Python ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_RANKS, str(tmp_path), str(number), port],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for rank in ranks:
        out, _ = rank.communicate(timeout=120)
        assert rank.returncode == 0
        assert out.endswith("still connected: False\n")
