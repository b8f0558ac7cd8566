"""Runs that one process trains, and two (gloo, CPU) with the same global batch; what they compare.

`tests/suite/device/test_distributed.py` has the methods whose state spans ranks;
`tests/modes/test_two_ranks.py` has all methods.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from suite import methods
from suite.config import RunSpec
from suite.store.record import RunDirectory

OPTIONS = {"crd": {"negatives": 128, "feature_dim": 16}}
OPTIONS |= {"dskd": {"hash_bits": 64, "lsh_weight": 3.0}}
OPTIONS |= {"rkd": {"distance_weight": 1.0, "angle_weight": 2.0}}  # steep: it amplifies rounding
OPTIONS |= {"lshfm": {"hash_bits": 64, "hash_bias": "mean"}}
TOLERANCE = 1e-4
"""Of weights after 10 steps: float32 sums in another order. With batch normalisation over each
rank's own images instead the gaps are 0.03 to 0.9."""


def spec_of(method, teacher=None, lr=0.005, epochs=2, batch_size=32, optimizer=None, **train):
    student = {"name": "cifar_resnet8", "options": {"widths": [4, 4, 8, 16]}}
    config = {
        "data": {"name": "fake", "train_limit": 160},
        "student": student,
        "method": {"name": method, "options": OPTIONS.get(method, {})},
        "optimizer": {"lr": lr, **(optimizer or {})},
        "train": {"epochs": epochs, "batch_size": batch_size, **train},
    }
    if teacher is not None and methods.find(method).uses_teacher:
        config["teacher"] = student | {"run_id": teacher.run_id}
    names = {"experiment": "teachers" if teacher is None else "distributed", "label": method}
    role = "teacher" if teacher is None else "student"
    return RunSpec.model_validate({"config": config, **names, "role": role})


TEACHER = spec_of("scratch", lr=0.05, epochs=8, batch_size=16)
"""It has learnt something: DIST divides by the spread of its predictions."""
RATES = {"at": 0.0005, "crd": 0.0025, "srd": 0.0005}
"""Where a unit near zero may go the other way at 0.005: rounding then grows to 3e-4 with CRD and
SRD, to 7e-3 with AT, whose weight is 1000, on some kinds of CPU and not on others."""


def student_of(method, **options):
    """A run of the method under TEACHER."""
    return spec_of(method, TEACHER, lr=RATES.get(method, 0.005), **options)


def train_both(folder, specs):
    """The runs by one process in ``folder / "one"``, by two in ``folder / "two"``."""
    train(folder / "one", [TEACHER, *specs], [], devices=1)
    shutil.copytree(folder / "one" / "teachers", folder / "two" / "teachers")
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    train(folder / "two", specs, torchrun, devices=2)
    return folder


def train(runs_root, specs, starter, devices):
    file = runs_root.with_suffix(".json")
    file.write_text(json.dumps([spec.model_dump(mode="json") for spec in specs]))
    script = Path(__file__).with_name("train_each_run.py")
    command = [sys.executable, *starter, script, file, runs_root, str(devices)]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def directories(folder, spec):
    return [RunDirectory.of(folder / it, spec.experiment, spec.run_id) for it in ("one", "two")]


def name_of(spec):
    """For pytest."""
    return f"{spec.label}-{spec.config.optimizer.name}"


def check_same_weights(folder, spec):
    """Two ranks train what one rank trains."""
    weights, others = (load_file(directory.weights) for directory in directories(folder, spec))
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        gap = (tensor.double() - others[name].double()).abs().max().item()
        assert gap <= TOLERANCE * max(1.0, tensor.abs().max().item()), (name, gap)


def check_same_losses(folder, spec):
    """The rows of metrics agree."""
    rows = [directory.read_metrics() for directory in directories(folder, spec)]
    assert [row["epoch"] for row in rows[1]] == [1, 2]
    for one, two in zip(*rows, strict=True):
        for key in (key for key in one if key.startswith("train/")):
            assert two[key] == pytest.approx(one[key], rel=1e-4, abs=1e-5), key
