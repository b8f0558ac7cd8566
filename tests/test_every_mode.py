"""Every method through the real engine in bf16-mixed: packed, alone, stopped and resumed.

Gradients are clipped, and the last batch of an epoch is short. `make test-modes` runs the other
precisions, too.
"""

import copy
from itertools import count

import pytest

from suite import methods
from suite.config import RunSpec, Runtime, parse
from suite.names import TEACHERS
from suite.store.record import RunDirectory
from suite.train.pack import Interrupted, shared
from suite.train.run import run, run_packed

NETWORK = {"name": "cifar_resnet8", "options": {"widths": [4, 4, 8, 8]}}
OTHERS = ("32-true", "16-mixed")  # part of `make test-modes`
DOT = {"name": "dot", "delta": 0.05, "lr": 0.01, "clip_grad_norm": 1.0}
RECIPE = {"name": "fake", "train_limit": 72, "eval_splits": ["test"], "label_smoothing": 0.1}
RECIPE |= {"auto_augment": "rand-m9-mstd0.5-inc1", "random_erasing": 0.5, "mixup": 0.8, "cutmix": 1}
AVERAGED = {"epochs": 1, "batch_size": 32, "ema_decay": 0.5}
PARTED = {"epochs": 1, "batch_size": 32, "accumulate": 4}
ROWS = {name: (name, {}) for name in methods.names()} | {
    "fitnet with dot": ("fitnet", {"optimizer": DOT}),  # a regressor that one gradient reaches
    "mlkd with a recipe": ("mlkd", {"data": RECIPE, "train": AVERAGED}),
    "crd with a recipe": ("crd", {"data": RECIPE, "train": AVERAGED}),
    "dskd in parts": ("dskd", {"train": PARTED}),
    "fitnet with dot in parts": ("fitnet", {"optimizer": DOT, "train": PARTED}),
    "crd with a recipe in parts": ("crd", {"data": RECIPE, "train": AVERAGED | PARTED}),
}
"""Label -> method and the sections that are not as usual."""
OPTIONS = {"crd": {"negatives": 32, "feature_dim": 8}, "dskd": {"hash_bits": 32}}


def spec_of(label, precision="32-true", teacher=None):
    method, sections = ROWS[label]
    config = {
        "data": {"name": "fake", "train_limit": 72, "eval_splits": ["test"]},
        "student": NETWORK,
        "method": {"name": method, "options": OPTIONS.get(method, {})},
        "optimizer": {"lr": 0.01, "clip_grad_norm": 1.0},
        "train": {"epochs": 1, "batch_size": 32},  # 32, 32 and 8 images
        **copy.deepcopy(sections),
    }
    config["train"]["precision"] = precision
    if teacher is not None and methods.find(method).uses_teacher:
        config["teacher"] = NETWORK | {"run_id": teacher.run_id}
    role, place = ("teacher", TEACHERS) if teacher is None else ("student", "modes")
    values = {"config": config, "experiment": place, "role": role, "label": label}
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


@pytest.fixture(
    scope="module",
    params=["bf16-mixed", *(pytest.param(it, marks=pytest.mark.modes) for it in OTHERS)],
)
def packed(request, root):
    """Specs by label, after all rows with a teacher trained side by side."""
    specs = {label: spec_of(label, request.param, TEACHER) for label in ROWS}
    for pack in {shared(it.config) for it in specs.values()}:
        together = [it for it in specs.values() if shared(it.config) == pack]
        assert run_packed(together, runtime(root / "packed")) == {}
    return specs


@pytest.mark.parametrize("label", ROWS)
def test_alone_stopped_and_resumed_it_ends_with_the_bits_of_the_pack(packed, root, label):
    spec, calls = packed[label], count()
    with pytest.raises(Interrupted):
        run(spec, runtime(root / "alone"), lambda: next(calls) >= 1)
    run(spec, runtime(root / "alone"))
    assert outcome(root / "alone", spec) == outcome(root / "packed", spec)
