"""Sweeps on a real SLURM with accounting (`bash .ci/slurm.sh` starts one); skipped without."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps.slurm import available

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not available(), reason="no SLURM answers (bash .ci/slurm.sh)")
CLUSTER = "gpus: 0\ncpus: 1\nmemory_gb: 3\nminutes: 30\nmax_jobs: 2\nruns_per_job: 2\n"
SETTINGS = (
    "pairs=[cifar_resnet8/cifar_resnet8] data.name=fake train_limit=128 methods=[scratch,kd] "
    "seeds=[0]"
)


def command(root, executor, epochs):
    cluster = root.parent / "cluster.yaml"
    cluster.write_text(CLUSTER)
    settings = f"{SETTINGS} epochs={epochs}"
    options = [f"--executor={executor}", f"--runs-root={root}", f"--cluster={cluster}"]
    fixed = ["--accelerator=cpu", "--threads=1", "--tracker=none", "--no-report"]
    return [
        *(sys.executable, "-m", "suite.cli", "sweep", "dskd_digits", "--set", settings),
        *options,
        *fixed,
    ]


def start(root, executor="slurm", epochs=3):
    return subprocess.Popen(
        command(root, executor, epochs),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process, seconds=240):
    out, _ = process.communicate(timeout=seconds)
    return process.returncode, out


def hashes(root):
    """Run id -> weights, for all finished runs."""
    found = [json.loads(path.read_text()) for path in root.rglob("result.json")]
    return {result["run_id"]: result["weights_sha256"] for result in found}


def slurm(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


def running_job(root, rows):
    """The id of a running job once some run has written so many rows."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        written = [len(p.read_text().splitlines()) for p in root.rglob("metrics.jsonl")]
        jobs = slurm("squeue", "-h", "-t", "RUNNING", "-o", "%i").split()
        if jobs and max(written, default=0) >= rows:
            return jobs
        time.sleep(0.1)
    raise TimeoutError("no job got so far")


def release_requeued():
    """A requeued job waits two minutes unless its start is moved."""
    for job in slurm("squeue", "-h", "-t", "PENDING", "-r", "-o", "%i").split():
        subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=False)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The same sweeps in one process, never interrupted: epochs -> weights of all runs."""
    found = {}
    for epochs in (3, 60):
        root = tmp_path_factory.mktemp(f"unbroken{epochs}") / "runs"
        status, out = finish(start(root, "debug", epochs))
        assert status == 0, out
        found[epochs] = hashes(root)
    return found


def test_a_sweep_ends_with_the_bits_of_the_same_sweep_in_one_process(tmp_path, unbroken):
    status, out = finish(start(tmp_path / "runs"))
    assert status == 0, out
    assert "3 of 3 runs finished" in out
    assert hashes(tmp_path / "runs") == unbroken[3]


@pytest.mark.parametrize("blow", ["signal", "requeue", "kill"])
def test_interrupted_jobs_are_continued_and_end_with_the_same_bits(tmp_path, unbroken, blow):
    root = tmp_path / "runs"
    process = start(root, epochs=60)
    for job in running_job(root, rows=5):
        if blow == "signal":  # what preemption and the time limit send
            slurm("scancel", "--signal=USR2", job)
        elif blow == "requeue":
            slurm("scontrol", "requeue", job)
    if blow == "kill":
        subprocess.run(["pkill", "-KILL", "-f", f"submitit.core._submit {root}"], check=True)
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        release_requeued()
        time.sleep(1)
    status, out = finish(process, 5)
    if blow == "kill":  # nobody requeues a killed job: the next call goes on
        status, out = finish(start(root, epochs=60))
    assert status == 0, out
    assert hashes(root) == unbroken[60]
    for metrics in root.rglob("metrics.jsonl"):
        epochs = [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()]
        assert epochs == list(range(1, 61))
