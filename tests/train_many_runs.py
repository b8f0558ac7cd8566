"""Trains packs of runs one after the other, as a worker does; prints how many objects Python holds.

``python train_many_runs.py RUNS_ROOT EPOCHS...``: a pack of METHODS for each number of epochs.
"""

import gc
import sys
from pathlib import Path

from suite.config import RunSpec, Runtime, parse
from suite.names import TEACHERS
from suite.train.run import run_packed

NETWORK = {"name": "cifar_resnet8", "options": {"widths": [4, 4, 8, 8]}}
METHODS = {
    "kd": {},
    "crd": {"negatives": 32, "feature_dim": 8},
    "dskd": {"hash_bits": 32},
}


def spec(method, seed, epochs, teacher=None):
    config = {
        "data": {"name": "fake", "train_limit": 64, "eval_splits": ["test"]},
        "student": NETWORK,
        "method": {"name": method, "options": METHODS.get(method, {})},
        "optimizer": {"lr": 0.01},
        "seed": seed,
        "train": {"epochs": epochs, "batch_size": 32},
    }
    if teacher is not None:
        config["teacher"] = NETWORK | {"run_id": teacher.run_id}
    role, place = ("teacher", TEACHERS) if teacher is None else ("student", "growth")
    values = {"config": config, "experiment": place, "role": role, "label": method}
    return parse(RunSpec, values, "test")


def main(root, *epochs):
    runtime = Runtime(runs_root=Path(root), threads=1, tracker="none", accelerator="cpu")
    teacher = spec("scratch", 0, 1)
    assert run_packed([teacher], runtime) == {}
    for seed, number in enumerate(map(int, epochs)):
        specs = [spec(method, seed, number, teacher) for method in METHODS]
        assert run_packed(specs, runtime) == {}
        gc.collect()
        print(len(gc.get_objects()))


if __name__ == "__main__":
    main(*sys.argv[1:])
