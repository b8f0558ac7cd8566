"""Every method through the real engine in every precision: packed, alone, stopped and resumed.

Gradients are clipped, and the last batch of an epoch is short.
"""

from itertools import count

import pytest

from suite import methods
from suite.config import RunSpec, Runtime, parse
from suite.names import TEACHERS
from suite.store.record import RunDirectory
from suite.train.pack import Interrupted
from suite.train.run import run, run_packed

NETWORK = {"name": "cifar_resnet8", "options": {"widths": [4, 4, 8, 8]}}
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
OPTIONS = {"crd": {"negatives": 32, "feature_dim": 8}, "dskd": {"hash_bits": 32}}


def spec_of(method, precision="32-true", teacher=None):
    config = {
        "data": {"name": "fake", "train_limit": 72, "eval_splits": ["test"]},
        "student": NETWORK,
        "method": {"name": method, "options": OPTIONS.get(method, {})},
        "optimizer": {"lr": 0.01, "clip_grad_norm": 1.0},
        "train": {"epochs": 1, "batch_size": 32, "precision": precision},  # 32, 32 and 8 images
    }
    if teacher is not None and methods.find(method).uses_teacher:
        config["teacher"] = NETWORK | {"run_id": teacher.run_id}
    role, place = ("teacher", TEACHERS) if teacher is None else ("student", "modes")
    values = {"config": config, "experiment": place, "role": role, "label": method}
    return parse(RunSpec, values, "test")


TEACHER = spec_of("scratch")


def runtime(root):
    return Runtime(runs_root=root, threads=1, tracker="none", accelerator="cpu")


def outcome(root, spec):
    directory = RunDirectory.of(root, spec.experiment, spec.run_id)
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in directory.read_metrics()]
    return directory.read_result()["weights_sha256"], rows


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = tmp_path_factory.mktemp("modes")
    run(TEACHER, runtime(place / "packed"))
    (place / "alone").mkdir()
    (place / "alone" / TEACHERS).symlink_to(place / "packed" / TEACHERS)
    return place


@pytest.fixture(scope="module", params=PRECISIONS)
def packed(request, root):
    """Specs by method, after all methods with a teacher trained side by side."""
    specs = {name: spec_of(name, request.param, TEACHER) for name in methods.names()}
    with_teacher = [it for it in specs.values() if it.config.teacher is not None]
    assert run_packed(with_teacher, runtime(root / "packed")) == {}
    rest = [it for it in specs.values() if it.config.teacher is None]
    assert run_packed(rest, runtime(root / "packed")) == {}
    return specs


@pytest.mark.parametrize("name", methods.names())
def test_alone_stopped_and_resumed_it_ends_with_the_bits_of_the_pack(packed, root, name):
    spec, calls = packed[name], count()
    with pytest.raises(Interrupted):
        run(spec, runtime(root / "alone"), lambda: next(calls) >= 1)
    run(spec, runtime(root / "alone"))
    assert outcome(root / "alone", spec) == outcome(root / "packed", spec)
