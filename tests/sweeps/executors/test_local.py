"""Workers on this machine: their code, their GPUs, how many runs each gets, what is refused."""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import pytest
import torch

import suite
from suite.cli.app import main
from suite.config import Runtime
from suite.device import machine
from suite.train.pack import AT_ONCE_ON_GPU
from sweeps.executors import local
from sweeps.executors.local import LocalWorkers, share, with_pack
from sweeps.workers.worker_job import WorkerJob


@pytest.fixture
def gpus(monkeypatch):
    """Makes the environment show so many GPUs; there are none."""

    def show(names):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))

    return show


@dataclass
class Look(WorkerJob):
    """Writes down what a worker would train on, and leaves."""

    folder: str = ""

    def _install_signals(self):
        return None

    def _lead(self, runtime, slurm_id):
        seen = os.environ["CUDA_VISIBLE_DEVICES"]
        started = "torch.cuda" in sys.modules and sys.modules["torch.cuda"].is_initialized()
        (Path(self.folder) / seen).write_text("CUDA started" if started else "before CUDA")


def test_workers_get_the_gpus_that_are_visible_by_their_names(gpus, tmp_path):
    names = ["GPU-8a", "GPU-9b"]
    gpus(names)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    runtime = Runtime(runs_root=tmp_path, tracker="none")
    job = Look([], runtime.model_dump_json(), 0.0, folder=str(tmp_path / "seen"))
    (tmp_path / "seen").mkdir()
    workers = LocalWorkers.spawn(job, runtime, range(2))
    for started in workers.jobs:
        started.result()
    seen = {path.name: path.read_text() for path in (tmp_path / "seen").iterdir()}
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


def test_packages_in_the_working_folder_do_not_hide_ours_from_a_worker(tmp_path):
    """`python -m` looks there first; a user's folder `suite` or `analysis` ended every worker."""
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "__init__.py").write_text("raise RuntimeError('not this one')\n")
    command = [*shlex.split(local._python()), "-u", "-c"]
    script = "import suite; print(suite.__file__)"
    done = subprocess.run(
        [*command, script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == suite.__file__
