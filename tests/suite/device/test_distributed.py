"""Two processes (gloo, CPU) train what one process trains with the same global batch."""

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

METHODS = methods.names()
OPTIONS = {"crd": {"negatives": 128, "feature_dim": 16}}
OPTIONS |= {"dskd": {"hash_bits": 64, "lsh_weight": 3.0}}
OPTIONS |= {"rkd": {"distance_weight": 1.0, "angle_weight": 2.0}}  # steep: it amplifies rounding
OPTIONS |= {"lshfm": {"hash_bits": 64, "hash_bias": "mean"}}
TOLERANCE = 1e-4
"""Of weights after 10 steps: float32 sums in another order. With batch normalisation over each
rank's own images instead the gaps are 0.03 to 0.9."""


def spec_of(method, teacher=None, lr=0.005, epochs=2, batch_size=32, **train):
    student = {"name": "cifar_resnet8", "options": {"widths": [4, 4, 8, 16]}}
    config = {
        "data": {"name": "fake", "train_limit": 160},
        "student": student,
        "method": {"name": method, "options": OPTIONS.get(method, {})},
        "optimizer": {"lr": lr},
        "train": {"epochs": epochs, "batch_size": batch_size, **train},
    }
    if teacher is not None and methods.find(method).uses_teacher:
        config["teacher"] = student | {"run_id": teacher.run_id}
    place = {"experiment": "teachers" if teacher is None else "distributed", "label": method}
    role = "teacher" if teacher is None else "student"
    return RunSpec.model_validate({"config": config, **place, "role": role})


TEACHER = spec_of("scratch", lr=0.05, epochs=8, batch_size=16)
"""It has learnt something: DIST divides by the spread of its predictions."""
RATES = {"crd": 0.0025}  # at 0.005 a unit near zero goes the other way, and rounding becomes 3e-4
STUDENTS = [spec_of(method, TEACHER, lr=RATES.get(method, 0.005)) for method in METHODS]
LOCAL = spec_of("kd", TEACHER, batch_norm="local")
HALF = [spec_of("crd", TEACHER, precision=it) for it in ("bf16-mixed", "16-mixed")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder of runs trained by one process, and of the same runs trained by two."""
    place = tmp_path_factory.mktemp("distributed")
    train(place / "one", [TEACHER, *STUDENTS, LOCAL, *HALF], [], devices=1)
    shutil.copytree(place / "one" / "teachers", place / "two" / "teachers")
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    train(place / "two", [*STUDENTS, LOCAL, *HALF], torchrun, devices=2)
    return place


def train(runs_root, specs, starter, devices):
    file = runs_root.with_suffix(".json")
    file.write_text(json.dumps([spec.model_dump(mode="json") for spec in specs]))
    script = Path(__file__).with_name("distributed_runs.py")
    command = [sys.executable, *starter, script, file, runs_root, str(devices)]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def directories(place, spec):
    return [RunDirectory.of(place / it, spec.experiment, spec.run_id) for it in ("one", "two")]


@pytest.mark.parametrize("spec", STUDENTS, ids=lambda spec: spec.label)
def test_two_ranks_train_what_one_rank_trains(runs, spec):
    weights, others = (load_file(directory.weights) for directory in directories(runs, spec))
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        gap = (tensor.double() - others[name].double()).abs().max().item()
        assert gap <= TOLERANCE * max(1.0, tensor.abs().max().item()), (name, gap)


@pytest.mark.parametrize("spec", STUDENTS, ids=lambda spec: spec.label)
def test_losses_of_both_are_the_same_rows(runs, spec):
    rows = [directory.read_metrics() for directory in directories(runs, spec)]
    assert [row["epoch"] for row in rows[1]] == [1, 2]
    for one, two in zip(*rows, strict=True):
        for key in (key for key in one if key.startswith("train/")):
            assert two[key] == pytest.approx(one[key], rel=1e-4, abs=1e-5), key


def test_statistics_of_each_rank_apart_are_another_training(runs):
    weights, others = (load_file(directory.weights) for directory in directories(runs, LOCAL))
    gaps = [(weights[name] - others[name]).abs().max().item() for name in weights]
    assert max(gaps) > 10 * TOLERANCE
    assert [it.read_result()["ranks"] for it in directories(runs, LOCAL)] == [1, 2]


@pytest.mark.parametrize("spec", HALF, ids=lambda spec: spec.config.train.precision)
def test_half_precision_trains_on_two_ranks_as_on_one_up_to_its_rounding(runs, spec):
    """Nine layers that round three times each: a relative error of 27 unit roundoffs at most."""
    roundoff = {"bf16-mixed": 2.0**-8, "16-mixed": 2.0**-11}[spec.config.train.precision]
    rows = [directory.read_metrics() for directory in directories(runs, spec)]
    for one, two in zip(*rows, strict=True):
        assert two["train/loss"] == pytest.approx(one["train/loss"], rel=27 * roundoff)
