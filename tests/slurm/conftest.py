"""Sweeps of a few seconds on a real SLURM (`bash .ci/slurm.sh` starts one)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from sweeps.slurm.jobs import available

ROOT = Path(__file__).parents[2]
EXPERIMENT = "dskd_digits"
SETTINGS = (
    "pairs=[cifar_resnet8/cifar_resnet8] data.name=fake train_limit=128 methods=[scratch,kd] "
    "seeds=[0] epochs=40"
)
REVOKED_SECONDS = 3
"""A node refuses a requeued job whose credential is of the second in which it was requeued."""
ACCOUNTING_SECONDS = 30
"""How far SLURM's accounting may be behind its queue."""
CLUSTER = "gpus: 0\ncpus: 1\nmemory_gb: 2\nminutes: 30\nmax_jobs: 3\nruns_per_job: 2\n"


class Part(NamedTuple):
    """The part of the cluster that the tests of one process have for themselves."""

    partition: str
    urgent: str
    nodes: tuple[str, str]

    @classmethod
    def mine(cls):
        """By the name of this process of pytest-xdist; there are parts for two."""
        parts = {
            "gw0": cls("main", "urgent", ("n1", "n2")),
            "gw1": cls("main2", "urgent2", ("n3", "n4")),
        }
        return parts[os.environ.get("PYTEST_XDIST_WORKER", "gw0")]


def pytest_collection_modifyitems(items):
    mine = [item for item in items if Path(item.fspath).parent == Path(__file__).parent]
    if mine and not available():
        for item in mine:
            item.add_marker(pytest.mark.skip(reason="no SLURM answers (bash .ci/slurm.sh)"))


def slurm(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


class Sweep:
    """One run store and the sweeps over it."""

    slurm = staticmethod(slurm)
    settings = SETTINGS
    part = Part.mine()

    def __init__(self, folder):
        self.root = folder / "runs"
        self.cluster = folder / "cluster.yaml"
        folder.mkdir(exist_ok=True)
        self.cluster.write_text(f"partition: {self.part.partition}\n{CLUSTER}")
        self.launchers = []
        self.requeued = {}  # id of a job that waits after a requeue -> when that was seen

    def start(self, settings=SETTINGS, *more, executor="slurm", tree=ROOT, experiment=EXPERIMENT):
        """A launcher as the user starts it."""
        options = [f"--executor={executor}", f"--cluster={self.cluster}", "--accelerator=cpu"]
        options += ["--threads=1", "--tracker=none", *more]
        if "--report" not in more:
            options.append("--no-report")
        words = ["sweep", str(experiment), "--set", settings, f"--runs-root={self.root}", *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "suite.cli", *words],
            env={**os.environ, "PYTHONPATH": str(tree)},
            cwd=tree,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.launchers.append(process)
        return process

    def bench(self, command, settings=SETTINGS, experiment=EXPERIMENT):
        """What another command prints."""
        words = [command, str(experiment), "--set", settings, f"--runs-root={self.root}"]
        return slurm(sys.executable, "-m", "suite.cli", *words)

    def finish(self, process, seconds=1800):
        """(exit status, output) of a launcher; requeued jobs need not wait their two minutes."""
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            self.release_requeued()
            time.sleep(1)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    def train(self, *arguments, **options):
        """What the launcher of a sweep that ends well has printed."""
        status, out = self.finish(self.start(*arguments, **options))
        assert status == 0, out
        return out

    def unbroken(self, settings=SETTINGS):
        """Run id -> weights, trained beside in one process without any interruption."""
        beside = Sweep(self.cluster.parent / "unbroken")
        beside.train(settings, executor="in_process")
        return beside.hashes()

    def release_requeued(self):
        """Requeued jobs start after REVOKED_SECONDS, not after SLURM's two minutes."""
        mine = {row["id"] for row in self.ledger()}
        lines = slurm("squeue", "-h", "-t", "PENDING", "-r", "-o", "%i %r").splitlines()
        reasons = dict(line.split(maxsplit=1) for line in lines)
        waiting = {job for job in mine if reasons.get(job) == "BeginTime"}
        now = time.monotonic()
        self.requeued = {job: self.requeued.get(job, now) for job in waiting}
        for job, since in self.requeued.items():
            if now - since >= REVOKED_SECONDS:
                subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=False)

    def wait_for_rows(self, rows, seconds=600):
        """Until a run has written so many rows and SLURM calls its job running; their ids."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            running = [job for job, state in self.queue().items() if state == "RUNNING"]
            if running and max(map(len, self.epochs().values()), default=0) >= rows:
                return running
            for process in self.launchers:
                assert not process.poll(), process.communicate()[0]
            time.sleep(0.1)
        raise TimeoutError(f"no run wrote {rows} rows in {seconds} s")

    def queue(self):
        """Id -> state of this sweep's jobs that are in the queue."""
        mine = {row["id"] for row in self.ledger()}
        lines = slurm("squeue", "-h", "-r", "-o", "%i %T").splitlines()
        return {job: state for job, state in map(str.split, lines) if job in mine}

    def wait_until_gone(self, seconds=1800):
        """Until none of this sweep's jobs is in the queue, and accounting has heard of it."""
        deadline = time.monotonic() + seconds
        while self.queue() and time.monotonic() < deadline:
            self.release_requeued()
            time.sleep(0.5)
        mine, deadline = {row["id"] for row in self.ledger()}, time.monotonic() + ACCOUNTING_SECONDS
        while time.monotonic() < deadline:
            heard = {job: state for job, (state,) in self.accounting("State").items()}
            if mine <= set(heard) and not {"PENDING", "RUNNING"} & set(heard.values()):
                break
            time.sleep(0.5)

    def hashes(self):
        """Run id -> weights, for all finished runs."""
        found = [json.loads(path.read_text()) for path in self.root.rglob("result.json")]
        return {result["run_id"]: result["weights_sha256"] for result in found}

    def epochs(self):
        """Run id -> the epochs in its metrics."""
        found = {}
        for path in self.root.rglob("metrics.jsonl"):
            lines = path.read_bytes().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith(b"\n")]
            found[path.parent.name] = [json.loads(line)["epoch"] for line in whole]
        return found

    def accounting(self, *fields):
        """Id -> the fields of SLURM's accounting, for the jobs of this sweep."""
        mine = [row["id"] for row in self.ledger()]
        names = f"JobID,{','.join(fields)}"
        text = slurm("sacct", "-X", "-n", "-P", "-o", names, "-j", ",".join(mine))
        return {row[0]: row[1:] for row in (line.split("|") for line in text.splitlines())}

    def ledger(self):
        """The rows of all jobs submitted."""
        lines = [p.read_text().splitlines() for p in self.root.glob("*/jobs.jsonl")]
        return [json.loads(line) for some in lines for line in some if line]

    def processes(self, node=None):
        """Ids of the processes that train this sweep's runs, on one node or on all."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                words = (place / "cmdline").read_bytes().decode().split("\0")
                environment = (place / "environ").read_bytes().decode().split("\0")
            except OSError:
                continue
            if node is not None and f"SLURMD_NODENAME={node}" not in environment:
                continue
            if "submitit.core._submit" in words and any(str(self.root) in word for word in words):
                found += [int(place.name)] if "python" in words[0] else []
        return found


@pytest.fixture
def part():
    return Part.mine()


@pytest.fixture
def sweep(tmp_path):
    """A sweep; what it leaves in the queue is cancelled."""
    made = Sweep(tmp_path)
    yield made
    for process in made.launchers:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
    ids = [row["id"] for row in made.ledger()]
    if ids:
        subprocess.run(["scancel", *ids], check=False)
    made.wait_until_gone()


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory):
    """Weights of all runs of SETTINGS, trained without any interruption."""
    return Sweep(tmp_path_factory.mktemp("sweep")).unbroken()
