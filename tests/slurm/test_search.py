"""A search whose workers are SLURM jobs: its driver killed, a job cancelled, and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SEARCH = {
    "experiment": "dskd_digits",
    "pair": "cifar_resnet8/cifar_resnet8",
    "methods": {"kd": "tunable"},
    "budget": {"trials": 5},
    "pruner": {"name": "hyperband", "min_epochs": 2},
    "data": {"name": "fake", "train_limit": 128},
    "train": {"epochs": 12, "eval_every": 2},
    "teacher": {"train": {"epochs": 2}},
}
CLUSTER = "gpus: 0\ncpus: 1\nmemory_gb: 2\nminutes: 30\nmax_jobs: 2\n"


def start(folder, cluster=CLUSTER):
    (folder / "quick.yaml").write_text(yaml.safe_dump(SEARCH))
    (folder / "cluster.yaml").write_text(cluster)
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


def claims(folder):
    return list((folder / "runs" / "quick").glob("*/claim.json"))


def test_a_search_goes_on_after_its_driver_and_a_job_are_gone(tmp_path):
    driver = start(tmp_path)
    while driver.poll() is None and not claims(tmp_path):
        time.sleep(0.2)
    assert driver.poll() is None, driver.communicate()[0]
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    ledger = (tmp_path / "runs" / "quick" / "jobs.jsonl").read_text()
    jobs = [json.loads(line)["id"] for line in ledger.splitlines() if line.strip()]
    assert len(jobs) == 2
    subprocess.run(["scancel", jobs[0]], check=True)
    driver = start(tmp_path)
    out, _ = driver.communicate(timeout=500)
    assert driver.returncode == 0, out
    record = json.loads((tmp_path / "runs" / "quick" / "search.json").read_text())
    trials = record["studies"][0]["trials"]
    assert [trial["number"] for trial in trials] == list(range(5))
    assert {trial["state"] for trial in trials} <= {"complete", "pruned"}
    assert (tmp_path / "tuned" / "quick" / "kd.yaml").is_file()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:  # the closed queue sends the jobs home
        queued = subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True)
        if not any(
            line.split("_")[0] in {j.split("_")[0] for j in jobs} for line in queued.stdout.split()
        ):
            break
        time.sleep(1)
    else:
        raise AssertionError("jobs stay in the queue after the search")


def test_a_search_whose_jobs_all_fail_says_why_and_ends(tmp_path):
    folder = tmp_path
    broken = "max_jobs: 1\nsetup: ['echo the module torch is not here', 'exit 3']\n"
    driver = start(folder, CLUSTER.replace("max_jobs: 2\n", broken))
    out, _ = driver.communicate(timeout=500)
    assert driver.returncode == 2, out
    assert "3 jobs of the search failed, the last: job" in out
    assert "FAILED: the module torch is not here" in out
    ledger = (folder / "runs" / "quick" / "jobs.jsonl").read_text().split("\n")
    assert len([line for line in ledger if line]) == 4  # the first, and one after each failure
    for line in filter(None, ledger):
        subprocess.run(["scancel", json.loads(line)["id"]], check=False)
