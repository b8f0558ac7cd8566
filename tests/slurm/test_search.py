"""A search whose workers are SLURM jobs: its driver killed, a job cancelled, and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SEARCH = {
    "experiment": "dskd_digits",
    "pair": "cifar_resnet8/cifar_resnet8",
    "methods": {"kd": "tunable"},
    "budget": {"trials": 12},
    "pruner": {"name": "hyperband", "min_epochs": 2},
    "data": {"name": "fake", "train_limit": 128},
    "train": {"epochs": 12, "eval_every": 2},
    "teacher": {"train": {"epochs": 2}},
}
CLUSTER = "gpus: 0\ncpus: 1\nmemory_gb: 2\nminutes: 30\nmax_jobs: 4\n"


def start(folder, part, cluster=CLUSTER):
    (folder / "quick.yaml").write_text(yaml.safe_dump(SEARCH))
    (folder / "cluster.yaml").write_text(f"partition: {part.partition}\n{cluster}")
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "suite.cli", "search", str(folder / "quick.yaml")),
            *(f"--runs-root={folder / 'runs'}", f"--tuned={folder / 'tuned'}"),
            *("--executor=slurm", f"--cluster={folder / 'cluster.yaml'}", "--tracker=none"),
            *("--accelerator=cpu", "--threads=1", "--no-report"),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def training(folder):
    """Ids of the jobs that train a run of the search now."""
    jobs = set()
    for path in (folder / "runs" / "quick").glob("*/claim.json"):
        with suppress(FileNotFoundError):
            jobs.add(json.loads(path.read_text())["job"])
    return jobs


def ledger(folder):
    """Ids of all jobs of the search."""
    lines = (folder / "runs" / "quick" / "jobs.jsonl").read_text().splitlines()
    return [json.loads(line)["id"] for line in lines if line.strip()]


def test_a_search_of_several_jobs_goes_on_after_its_driver_and_a_job_are_gone(tmp_path, part):
    driver = start(tmp_path, part)
    while driver.poll() is None and len(training(tmp_path)) < 2:
        time.sleep(0.1)
    assert driver.poll() is None, driver.communicate()[0]
    worked = training(tmp_path)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert len(ledger(tmp_path)) == 4
    subprocess.run(["scancel", min(worked)], check=True)
    driver = start(tmp_path, part)
    while driver.poll() is None:
        worked |= training(tmp_path)
        time.sleep(0.1)
    out, _ = driver.communicate()
    assert driver.returncode == 0, out
    assert len(worked) >= 3, "most jobs trained nothing"
    record = json.loads((tmp_path / "runs" / "quick" / "search.json").read_text())
    trials = record["studies"][0]["trials"]
    assert [trial["number"] for trial in trials] == list(range(12))
    assert {trial["state"] for trial in trials} <= {"complete", "pruned"}
    assert (tmp_path / "tuned" / "quick" / "kd.yaml").is_file()
    mine, deadline = set(ledger(tmp_path)), time.monotonic() + 120
    while mine & set(queued()):  # the closed queue sends the jobs home
        assert time.monotonic() < deadline, "jobs stay in the queue after the search"
        time.sleep(1)


def queued():
    """Ids of all jobs in SLURM's queue."""
    words = ["squeue", "-h", "-r", "-o", "%i"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def test_a_search_whose_jobs_all_fail_says_why_and_ends(tmp_path, part):
    folder = tmp_path
    broken = "max_jobs: 1\nsetup: ['echo the module torch is not here', 'exit 3']\n"
    driver = start(folder, part, CLUSTER.replace("max_jobs: 4\n", broken))
    out, _ = driver.communicate(timeout=500)
    assert driver.returncode == 2, out
    assert "3 jobs of the search failed, the last: job" in out
    assert "FAILED: the module torch is not here" in out
    jobs = ledger(folder)
    assert len(jobs) == 4  # the first, and one after each failure
    subprocess.run(["scancel", *jobs], check=False)
