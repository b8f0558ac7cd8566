"""A run that is interrupted in the middle of an epoch, beside one that is not, on one data set."""

import pytest

from suite.config import RunSpec, Runtime
from suite.data import identify
from suite.store.record import RunDirectory
from suite.train.pack import Interrupted
from suite.train.run import run


def check_same_bits(root, name):
    """Stopped after five steps and gone on with, a run on the images of ``name`` is the same."""
    config = {
        "data": {"name": name, "image_size": 16, "contents": identify(name, root)},
        "student": {"name": "cifar_resnet8"},
        "method": "scratch",
        "optimizer": {"lr": 0.1},
        "train": {"epochs": 3, "batch_size": 4},
    }
    spec = RunSpec(config=config, experiment="e", label="scratch")
    weights = []
    for place, stop in (("whole", False), ("broken", True)):
        runtime = Runtime(
            data_root=root, runs_root=root / place, accelerator="cpu", tracker="none", workers=0
        )
        if stop:
            asked = iter([False] * 5)
            with pytest.raises(Interrupted):
                run(spec, runtime, lambda asked=asked: next(asked, True))
        run(spec, runtime)
        weights.append(RunDirectory.of(root / place, "e", spec.run_id).weights.read_bytes())
    assert weights[0] == weights[1]
