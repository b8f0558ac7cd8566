"""A sweep on a cluster: submitting 1,000 runs, and asking how 10,000 runs are.

Whole commands as the user gives them, start of Python included. Submitting needs a SLURM that
answers; the jobs are held and taken back. The 10,000 runs are folders as training leaves them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.registry import Figure, Settings
from bench.timing import once, spread
from suite.store.record import RunDirectory, write_json
from sweeps.slurm import jobs

RUNS, METHODS = 10_000, ("scratch", "kd", "crd", "dkd", "dskd")
PER_JOB = 4
EXPERIMENT = "dskd_digits"
SEEDS = 250
"""Of four methods: 1,000 students."""
CLUSTER = "gpus: 0\ncpus: 1\nmemory_gb: 1\nmax_jobs: 100\nruns_per_job: 1\nextra: {hold: true}\n"


def measure(settings: Settings) -> Iterator[Figure]:
    """Seconds of ``status``, and of ``sweep --detach`` where SLURM answers."""
    with TemporaryDirectory() as folder:
        runs_root = Path(folder)
        make_store(runs_root)
        seconds = [once(lambda: _bench(runs_root, "status")) for _ in range(settings.rounds)]
        note = "of half 10,000 runs finished, the rest with ended jobs or waiting"
        yield Figure("status of 10,000 runs", spread(seconds), "s", at_most=2.0, note=note)
        started = once(lambda: _bench(runs_root, "--help"))
        yield Figure("of which start of the command", started, "s")
    if jobs.available():
        yield from _submission()


def make_store(runs_root: Path, runs: int = RUNS) -> None:
    """A run store whose experiment has so many runs: half of them are finished."""
    rows, ledger = [], []
    for number in range(runs):
        run = RunDirectory.of(runs_root, EXPERIMENT, f"{number:016x}")
        rows.append(_row(number, run))
        if number % PER_JOB == 0:
            mine = tuple(f"{EXPERIMENT}/{number + i:016x}" for i in range(PER_JOB))
            ledger.append(jobs.Job(f"{10**9 + number // 4000}_{number}", mine, time.time()))
        if number < runs // 2:
            run.path.mkdir(parents=True)
            run.result.write_text(json.dumps({"run_id": run.path.name}))
    write_json(runs_root / EXPERIMENT / "manifest.json", {"experiment": EXPERIMENT, "runs": rows})
    jobs.add(runs_root, EXPERIMENT, ledger)


def _row(number: int, run: RunDirectory) -> dict[str, object]:
    label = METHODS[number % len(METHODS)]
    return {
        "run_id": run.path.name,
        "directory": f"{EXPERIMENT}/{run.path.name}",
        "role": "student",
        "label": label,
        "method": label,
        "student": "cifar_resnet8",
        "pair": "cifar_resnet20/cifar_resnet8",
        "seed": number // len(METHODS),
        "planned_epochs": 240,
    }


def _submission() -> Iterator[Figure]:
    with TemporaryDirectory() as folder:
        runs_root, cluster = Path(folder) / "runs", Path(folder) / "cluster.yaml"
        cluster.write_text(CLUSTER)
        seeds = ",".join(map(str, range(SEEDS)))
        settings = f"methods=[scratch,kd,fitnet,dkd] seeds=[{seeds}]"
        options = ["--set", settings, "--executor=slurm", f"--cluster={cluster}", "--detach"]
        try:
            seconds = once(lambda: _bench(runs_root, "sweep", *options, "--accelerator=cpu"))
            submitted = jobs.read(runs_root, EXPERIMENT)
            arrays = {job.id.partition("_")[0] for job in submitted}
            note = f"{len(submitted)} jobs in {len(arrays)} sbatch calls; command as a whole"
            yield Figure("submitting 1,000 runs", seconds, "s", at_most=30.0, note=note)
            again = once(lambda: _bench(runs_root, "sweep", *options, "--accelerator=cpu"))
            yield Figure("again, with all of them queued", again, "s")
        finally:
            jobs.cancel(jobs.read(runs_root, EXPERIMENT))


def _bench(runs_root: Path, command: str, *options: str) -> None:
    words = [sys.executable, "-m", "suite.cli", command]
    if command != "--help":
        words += [EXPERIMENT, f"--runs-root={runs_root}", *options]
    subprocess.run(words, check=True, capture_output=True)
