"""Two processes that share a global batch give what one process gives, whatever the method."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from suite import methods
from suite.config import RunSpec, Runtime, parse
from suite.record import TEACHERS, RunDirectory
from suite.run import run

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
MODEL = {"name": "cifar_resnet8", "options": {"widths": [4, 8, 8, 16]}}
TAUGHT = [name for name in methods.names() if methods.find(name).uses_teacher]
LOCAL = "kd with the statistics of each rank"


def spec(role="student", method="scratch", teacher=None, **train):
    config = {
        "data": {"name": "fake", "train_limit": 80},
        "student": MODEL,
        "teacher": teacher and {**MODEL, "run_id": teacher.run_id},
        "method": method,
        "optimizer": {"lr": 0.02},
        "train": {"epochs": 2, "batch_size": 32, **train},  # the last batch of an epoch is smaller
    }
    experiment = TEACHERS if role == "teacher" else "ranks"
    values = {"config": config, "experiment": experiment, "role": role, "label": method}
    return parse(RunSpec, values, "test")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Label -> (run by one process, the same by two), and the folder of the runs by two."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    teacher = spec("teacher")
    runtime = Runtime(runs_root=one, accelerator="cpu", threads=1, tracker="none")
    run(teacher, runtime)
    shutil.copytree(one, two, dirs_exist_ok=True)
    students = {method: spec(method=method, teacher=teacher) for method in TAUGHT}
    students[LOCAL] = spec(method="kd", teacher=teacher, batch_norm="local")
    with_two_ranks(two, list(students.values()))
    for student in students.values():
        run(student, runtime)
    return {
        label: tuple(RunDirectory.of(root, it.experiment, it.run_id) for root in (one, two))
        for label, it in students.items()
    }


def with_two_ranks(root, specs):
    path = root / "specs.json"
    path.write_text(json.dumps([it.model_dump(mode="json") for it in specs]))
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port = some.getsockname()[1]
    script = [
        sys.executable,
        str(Path(__file__).with_name("one_of_two_ranks.py")),
        str(path),
        str(root),
    ]
    ranks = [subprocess.Popen([*script, str(rank), str(port)], env=ENVIRONMENT) for rank in (0, 1)]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]


def difference(pair):
    """The largest difference of any weight, in units of float32's precision at that weight."""
    one, two = (load_file(run.weights) for run in pair)
    assert one.keys() == two.keys()
    return max(float(((one[name] - two[name]).abs() / (1 + one[name].abs())).max()) for name in one)


@pytest.mark.parametrize("method", TAUGHT)
def test_two_ranks_train_the_weights_of_one(trained, method):
    assert difference(trained[method]) < 1e-4


@pytest.mark.parametrize("method", TAUGHT)
def test_two_ranks_write_the_metrics_of_one(trained, method):
    one, two = (run.read_metrics() for run in trained[method])
    assert [row["epoch"] for row in two] == [1, 2]
    for alone, together in zip(one, two, strict=True):
        assert alone.keys() == together.keys()
        for name in alone.keys() - {"seconds"}:
            torch.testing.assert_close(together[name], alone[name], rtol=1e-3, atol=1e-3)


def test_statistics_of_each_rank_apart_are_another_training(trained):
    assert difference(trained[LOCAL]) > 1e-3
    assert trained[LOCAL][1].read_result()["provenance"]["ranks"] == 2
