"""Workers on this machine: their code, their GPUs, how many runs each gets, what is refused."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from suite.cli.app import main
from suite.config import Runtime
from suite.device import machine
from suite.train.pack import AT_ONCE_ON_GPU
from sweeps.executors import local
from sweeps.executors.base import ExecutorOptions
from sweeps.executors.local import Local, share, start_process, with_pack
from sweeps.workers.job import Job
from sweeps.workers.source import RunList


@pytest.fixture
def gpus(monkeypatch):
    """Makes the environment show so many GPUs; there are none."""

    def show(names):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))

    return show


@dataclass(frozen=True)
class Look:
    """Work that writes down what a worker would train on."""

    experiment: str
    size: int = 2

    def open(self, runtime, job):
        seen = os.environ["CUDA_VISIBLE_DEVICES"]
        started = "torch.cuda" in sys.modules and sys.modules["torch.cuda"].is_initialized()
        (Path(runtime.runs_root) / seen).write_text("CUDA started" if started else "before CUDA")
        return self

    def ready(self, idle_seconds):
        return None

    def unfinished(self, runs_root):
        return []


def test_workers_get_the_gpus_that_are_visible_by_their_names(gpus, tmp_path, monkeypatch):
    names = ["GPU-8a", "GPU-9b"]
    gpus(names)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # for the class above
    local_ = Local(Runtime(runs_root=tmp_path, tracker="none"), ExecutorOptions(jobs=2))
    workers = local_.start(Look("e"), lambda: None)
    while not workers.done():
        workers.attend()
    seen = {path.name: path.read_text() for path in tmp_path.glob("GPU*")}
    assert seen == dict.fromkeys(names, "before CUDA")


def test_numbers_and_parts_of_gpus_are_handed_out_as_they_are_called(gpus):
    for names in (["4", "5"], ["MIG-1/2", "MIG-3/4"]):
        gpus(names)
        assert [share(machine.gpus("auto"), 1, number) for number in (0, 1, 2)] == [
            (names[0],),
            (names[1],),
            (names[0],),
        ]


def test_two_gpus_each_are_never_shared_by_halves():
    assert [share(["4", "5", "6"], 2, number) for number in (0, 1)] == [("4", "5")] * 2
    assert [share("abcd", 2, number) for number in (0, 1, 2)] == [
        ("a", "b"),
        ("c", "d"),
        ("a", "b"),
    ]
    assert share([], 2, 3) == ()


@pytest.mark.parametrize(
    ("runs", "workers", "pack"), [(8, 4, 2), (3, 4, 1), (6, 1, 6), (64, 4, "auto")]
)
def test_on_gpus_too_packs_leave_something_for_every_worker(gpus, runs, workers, pack):
    gpus([str(number) for number in range(4)])
    assert with_pack(Runtime(), runs, workers).pack == pack
    assert runs // workers < AT_ONCE_ON_GPU or pack == "auto"
    assert with_pack(Runtime(pack=3), runs, workers).pack == 3


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["sweep", "dskd_digits", "--executor=local"], "--devices=2000"),
        (["sweep", "dskd_digits", "--executor=debug"], "--devices=2000"),
        (["sweep", "dskd_digits", "--executor=slurm"], "--jobs=0"),
        (["sweep", "dskd_digits", "--executor=slurm"], "--threads=2000"),
        (["search", "dskd_digits_search", "--executor=local"], "--jobs=2000"),
    ],
)
def test_the_command_refuses_before_anything_starts(tmp_path, capsys, command, option):
    with pytest.raises(SystemExit) as left:
        main([*command, option, "--accelerator=cpu", f"--runs-root={tmp_path}"])
    out = capsys.readouterr()
    assert left.value.code == 2
    assert out.out == ""
    assert out.err.count("\n") == 1
    assert out.err.startswith(f"error: {option.replace('=', ' ')}: ")
    assert not list(tmp_path.iterdir())


def test_train_refuses_more_processes_than_the_machine_carries(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(
        "{data: {name: fake}, student: {name: cifar_resnet8}, method: {name: scratch}, "
        "optimizer: {lr: 0.1}, train: {epochs: 1}}"
    )
    with pytest.raises(SystemExit):
        main(["train", str(path), "--devices=2000", f"--runs-root={tmp_path}"])
    assert "--devices 2000: this machine has" in capsys.readouterr().err


def test_ranks_that_wait_for_one_that_has_failed_are_ended(tmp_path, monkeypatch):
    """As in a collective on GPUs, which does not notice: deaf to all but the last signal."""
    monkeypatch.setattr(local, "PARTING_SECONDS", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    ranks = [subprocess.Popen([sys.executable, "-c", it]) for it in (deaf, "raise SystemExit(1)")]
    worker, started = local.Processes(tuple(ranks), tmp_path / "log"), time.monotonic()
    while not worker.done():
        time.sleep(0.05)
        assert time.monotonic() - started < 60
    assert [rank.returncode for rank in ranks] == [-signal.SIGKILL, 1]


def test_ranks_that_end_well_one_after_the_other_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "PARTING_SECONDS", 0.0)
    later = "import time; time.sleep(1)"
    ranks = [subprocess.Popen([sys.executable, "-c", it]) for it in (later, "")]
    worker = local.Processes(tuple(ranks), tmp_path / "log")
    while not worker.done():
        time.sleep(0.05)
    assert [rank.returncode for rank in ranks] == [0, 0]


def test_packages_in_the_working_folder_do_not_hide_ours_from_a_worker(tmp_path, monkeypatch):
    """`python -m` looks there first; a user's folder `suite` or `analysis` ended every worker."""
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "__init__.py").write_text("raise RuntimeError('not this one')\n")
    monkeypatch.chdir(tmp_path)
    runtime = Runtime(runs_root=tmp_path, accelerator="cpu", tracker="none")
    workers = start_process(Job.of(RunList.of("e", [], 0.0), runtime), runtime, 0, tmp_path)
    assert workers.ranks[0].wait() == 0, workers.log.read_text()
