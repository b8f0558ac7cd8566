"""Jobs that are interrupted in every way SLURM knows end with the bits of an unbroken sweep."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.sweeps.test_image_folders import EXPERIMENT, paint

EPOCHS = list(range(1, 41))


def whole(sweep, unbroken):
    """Every run ended once, with the same bits, and no row of metrics is lost or doubled."""
    assert sweep.hashes() == unbroken
    assert list(sweep.epochs().values()) == [EPOCHS] * len(unbroken)


def restarts(sweep, job):
    text = sweep.slurm("scontrol", "show", "job", job)
    return int(text.partition("Restarts=")[2].split()[0])


@pytest.mark.parametrize(
    "blow",
    [
        ["scancel", "--signal=USR2"],  # what a time limit and some clusters' preemption send
        ["scancel", "--signal=TERM"],  # the notice of preemption
        ["scontrol", "requeue"],
    ],
    ids=["usr2", "term", "requeue"],
)
def test_a_told_job_saves_is_requeued_and_goes_on(sweep, unbroken, blow):
    process = sweep.start()
    jobs = sweep.wait_for_rows(5)
    for job in jobs:
        sweep.slurm(*blow, job)
    deadline = time.monotonic() + 300
    while not all(restarts(sweep, job) for job in jobs) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [restarts(sweep, job) for job in jobs] == [1] * len(jobs)
    status, out = sweep.finish(process)
    assert status == 0, out
    whole(sweep, unbroken)


def test_jobs_that_a_more_urgent_job_preempts_save_at_once_and_go_on_afterwards(sweep):
    long = sweep.settings.replace("train_limit=128", "train_limit=512 batch_size=32")
    process = sweep.start(long, "--checkpoint-seconds=3600")
    jobs = sweep.wait_for_rows(5)
    urgent = ["sbatch", "--parsable", "-p", sweep.part.urgent, "-N2", "--exclusive", "--mem=7000"]
    other = sweep.slurm(*urgent, "--output=/dev/null", "--wrap", "sleep 1").strip()
    while sweep.slurm("squeue", "-h", "-t", "PENDING", "-j", other):
        time.sleep(0.2)
    assert [restarts(sweep, job) for job in jobs] == [1] * len(jobs)
    saved = list(sweep.root.rglob("checkpoint.pt"))
    assert len(saved) == len(jobs)  # they were not killed
    status, out = sweep.finish(process)
    assert status == 0, out
    whole(sweep, sweep.unbroken(long))


def test_a_job_at_its_time_limit_saves_and_goes_on(sweep):
    long = sweep.settings.replace("epochs=40", "epochs=300").replace("[scratch,kd]", "[scratch]")
    long = long.replace("train_limit=128", "train_limit=512 batch_size=8")
    process = sweep.start(long)
    (job,) = sweep.wait_for_rows(5)
    sweep.slurm("scontrol", "update", f"JobId={job}", "TimeLimit=2")  # told 120 s before the end
    deadline = time.monotonic() + 300
    while restarts(sweep, job) == 0 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert restarts(sweep, job) == 1
    sweep.slurm("scontrol", "update", f"JobId={job}", "TimeLimit=60")  # once is enough
    status, out = sweep.finish(process)
    assert status == 0, out
    assert list(sweep.epochs().values()) == [list(range(1, 301))]


def test_after_kill_9_the_next_call_goes_on_from_the_last_checkpoint(sweep, unbroken):
    process = sweep.start(sweep.settings, "--checkpoint-seconds=0")
    sweep.wait_for_rows(5)
    for pid in sweep.processes():
        os.kill(pid, signal.SIGKILL)
    status, out = sweep.finish(process)
    assert status == 1, out
    assert "FAILED" in out
    assert list(sweep.root.rglob("checkpoint.pt"))
    status, out = sweep.finish(sweep.start())
    assert status == 0, out
    whole(sweep, unbroken)


def test_two_damaged_checkpoints_are_named_and_cost_their_deletion_not_the_sweep(sweep, unbroken):
    process = sweep.start(sweep.settings, "--checkpoint-seconds=0")
    for job in sweep.wait_for_rows(5):
        sweep.slurm("scancel", job)
    status, out = sweep.finish(process)
    assert status == 1, out
    assert "CANCELLED" in out
    previous = list(sweep.root.rglob("checkpoint.previous.pt"))
    assert previous
    both = [*previous, *sweep.root.rglob("checkpoint.pt")]
    for path in both:
        path.write_bytes(path.read_bytes()[:-1000])
    for path in sweep.root.rglob("metrics.jsonl"):
        with path.open("ab") as file:
            file.write(b'{"epoch": 41, "lr": 0.0')
    status, out = sweep.finish(sweep.start())
    assert status == 2, out
    assert "delete the damaged file" in out
    assert "checkpoint.previous.pt is damaged" in out
    for path in both:
        path.unlink()
    status, out = sweep.finish(sweep.start())
    assert status == 0, out
    whole(sweep, unbroken)


@contextmanager
def load():
    """Two processes that want all of the machine."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def test_the_jobs_of_a_node_lost_while_both_train_under_load_go_on_on_the_other(sweep):
    """A teacher and two students without one fill three of four cores: both nodes train."""
    settings = sweep.settings.replace("seeds=[0]", "seeds=[0,1]")
    text = sweep.cluster.read_text().replace("max_jobs: 3", "max_jobs: 8")
    sweep.cluster.write_text(text.replace("runs_per_job: 2", "runs_per_job: 1"))
    lost_node, other_node = sweep.part.nodes
    with load():
        process = sweep.start(settings)
        while True:
            sweep.wait_for_rows(3)
            lines = sweep.slurm("squeue", "-h", "-r", "-t", "RUNNING", "-o", "%i %N").splitlines()
            nodes = {job: node for job, node in map(str.split, lines) if job in sweep.queue()}
            if set(nodes.values()) == {lost_node, other_node}:
                break
        lost = [job for job, node in nodes.items() if node == lost_node]
        pid_file = Path(f"/run/slurmd-{lost_node}.pid")
        steps = processes_of(sweep.slurm("squeue", "-h", "-w", lost_node, "-o", "%A").split())
        assert steps
        try:
            for pid in [int(pid_file.read_text()), *steps, *sweep.processes(lost_node)]:
                os.kill(pid, signal.SIGKILL)
            status, out = sweep.finish(process)
            assert status == 0, out
            assert [restarts(sweep, job) for job in lost] == [1] * len(lost)
            assert {sweep.accounting("NodeList")[job][0] for job in lost} == {other_node}
        finally:
            pid_file.unlink(missing_ok=True)
            subprocess.run(["slurmd", "-N", lost_node], check=True)
            resume = ["scontrol", "update", f"NodeName={lost_node}", "State=RESUME"]
            subprocess.run(resume, check=False)  # it may have come back by itself
    whole(sweep, sweep.unbroken(settings))


def processes_of(jobs):
    """SLURM's own processes that hold the steps of these jobs."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            title = (place / "cmdline").read_text()
        except OSError:
            continue
        held = re.match(r"slurmstepd: \[(\d+)\.", title)
        if held and held[1] in jobs:
            found.append(int(place.name))
    return found


def test_a_full_disk_fails_the_run_and_the_next_call_goes_on(sweep, unbroken):
    sweep.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", sweep.root], check=True)
    try:
        process = sweep.start()
        sweep.wait_for_rows(5)
        filler = sweep.root / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], check=False)
        status, out = sweep.finish(process)
        assert status in {1, 2}, out
        assert "No space left" in out
        filler.unlink()
        status, out = sweep.finish(sweep.start())
        assert status == 0, out
        whole(sweep, unbroken)
    finally:
        sweep.slurm("umount", "-l", sweep.root)


@pytest.mark.skipif(not Path("/dev/loop-control").exists(), reason="no loop devices")
@pytest.mark.parametrize("executor", ["local", "slurm"])
def test_a_file_system_that_turns_read_only_ends_the_sweep_and_the_next_call_goes_on(
    sweep, tmp_path, unbroken, executor
):
    """As ext4 does after an error of the disk (``errors=remount-ro``)."""
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(200 * 2**20)
    sweep.slurm("mkfs.ext4", "-q", disk)
    sweep.root.mkdir()
    sweep.slurm("mount", "-o", "loop,errors=remount-ro", disk, sweep.root)
    try:
        process = sweep.start(executor=executor)
        while len(max(sweep.epochs().values(), key=len, default=())) < 5:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        sweep.slurm("mount", "-o", "remount,abort", sweep.root)
        status, out = sweep.finish(process)
        assert status == 1, out
        assert f"The file system of {sweep.root} is read-only" in out
        status, out = sweep.finish(sweep.start(executor=executor))
        assert status == 2, out
        assert "Read-only file system" in out
        sweep.wait_until_gone()
        sweep.slurm("umount", "-l", sweep.root)
        deadline = time.monotonic() + 30
        while subprocess.run(["e2fsck", "-fy", disk], check=False).returncode > 2:
            assert time.monotonic() < deadline
            time.sleep(1)
        sweep.slurm("mount", "-o", "loop", disk, sweep.root)
        status, out = sweep.finish(sweep.start(executor=executor))
        assert status == 0, out
        whole(sweep, unbroken)
    finally:
        subprocess.run(["umount", "-l", sweep.root], check=False)


def test_images_on_a_read_only_mount_are_enough_for_jobs(sweep, tmp_path):
    data = tmp_path / "data"
    paint(data / "my birds", seed=1)
    experiment = tmp_path / "birds.yaml"
    experiment.write_text(EXPERIMENT)
    sweep.slurm("mount", "--bind", data, data)
    try:
        sweep.slurm("mount", "-o", "remount,bind,ro", data)
        with pytest.raises(OSError, match="Read-only file system"):
            (data / "my birds" / "more").mkdir()
        more = (f"--data-root={data}", "--workers=1")
        sweep.train("", *more, experiment=experiment)
        assert len(list(sweep.root.rglob("result.json"))) == 3
    finally:
        sweep.slurm("umount", "-l", data)
