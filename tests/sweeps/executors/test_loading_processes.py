"""How many processes load the images of each run, unless the user says so."""

import json

import pytest

from suite.config import Runtime
from suite.device import machine
from sweeps.executors.base import ExecutorOptions
from sweeps.executors.local import Local
from sweeps.executors.slurm import Slurm
from sweeps.workers.source import RunList


class Noted(Local):
    """Starts nothing and notes what would be."""

    def spawn(self, job, number, logs):
        self.runtimes = [*getattr(self, "runtimes", []), json.loads(job.runtime)]


@pytest.mark.parametrize(
    ("jobs", "devices", "asked", "expected"),
    [
        (2, 1, None, 8),
        (2, 2, None, 4),
        (3, 1, None, 5),
        (4, 8, None, 1),
        (2, 1, 3, 3),
        (2, 1, 0, 0),
    ],
)
def test_workers_of_a_machine_share_its_cores(
    tmp_path, monkeypatch, jobs, devices, asked, expected
):
    """16 cores."""
    monkeypatch.setattr(machine, "cores", lambda: 16)
    runtime = Runtime(runs_root=tmp_path, accelerator="cpu", devices=devices, workers=asked)
    local = Noted(runtime, ExecutorOptions(jobs=jobs))
    work = RunList("e", ("run",) * 9, 0.0)
    local.start(work, lambda: None)
    assert [it["workers"] for it in local.runtimes] == [expected] * jobs


@pytest.mark.parametrize(("asked", "expected"), [(None, 6), (2, 2)])
def test_a_process_of_a_slurm_job_has_the_cores_that_it_asks_for(tmp_path, asked, expected):
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("{gpus: 1, cpus: 6, memory_gb: 16, minutes: 60}")
    slurm = Slurm(Runtime(workers=asked, devices=2), ExecutorOptions("slurm", cluster=cluster))
    in_jobs = slurm._in_jobs()
    assert (in_jobs.workers, in_jobs.threads) == (expected, 6)
