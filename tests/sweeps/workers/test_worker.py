"""Which runs a worker trains side by side, and that a failure stays with its run."""

import math
import time

import pytest

from suite.config import RunSpec, Runtime, parse
from suite.store.lease import acquire
from suite.store.states import directory_of
from suite.train.pack import AT_ONCE_ON_CPU
from sweeps.executors.local import with_pack
from sweeps.workers.source import SharedList
from sweeps.workers.worker import Worker


def spec(method="kd", seed=0, lr=0.1, **data):
    config = {
        "data": {"name": "fake", **data},
        "student": {"name": "cifar_resnet8"},
        "teacher": {"name": "cifar_resnet8", "pretrained": True},
        "method": method,
        "optimizer": {"lr": lr},
        "train": {"epochs": 1},
        "seed": seed,
    }
    return parse(RunSpec, {"config": config, "experiment": "e", "label": method}, "test")


class Record:
    """Finishes every run it is given; notes what came together."""

    def __init__(self, broken=()):
        self.groups, self.broken = [], set(broken)

    def __call__(self, specs, runtime, stop):
        self.groups.append([(one.label, one.config.seed) for one in specs])
        assert not stop()
        for one in specs:
            if one not in self.broken:
                directory = directory_of(one, runtime.runs_root)
                directory.start({})
                directory.result.write_text('{"run_id": "a"}')
        return {one: RuntimeError("no luck") for one in specs if one in self.broken}


def work(specs, root, pack, broken=(), patience_seconds=math.inf):
    record = Record(broken)
    runtime = Runtime(runs_root=root, accelerator="cpu", tracker="none", pack=pack)
    source = SharedList(specs, runtime, time.time() - 1, patience_seconds)
    Worker(source, runtime, lambda: False, record, lambda _: None).work()
    return record.groups


def test_runs_that_share_seed_and_teacher_train_side_by_side(tmp_path):
    specs = [spec(method, seed) for seed in (0, 1) for method in ("kd", "dkd", "dskd")]
    groups = work(specs, tmp_path, pack=8)
    assert groups == [[(m, seed) for m in ("kd", "dkd", "dskd")] for seed in (0, 1)]


@pytest.mark.parametrize(("pack", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), ("auto", [4, 1])])
def test_no_more_than_allowed(tmp_path, pack, sizes):
    specs = [spec(lr=0.1 * (1 + number)) for number in range(5)]
    assert [len(group) for group in work(specs, tmp_path, pack)] == sizes


def test_a_failure_is_written_into_its_own_run(tmp_path):
    good, bad = spec(), spec("dkd")
    work([good, bad], tmp_path, pack=8, broken=[bad])
    assert directory_of(good, tmp_path).finished()
    assert "no luck" in directory_of(bad, tmp_path).failure.read_text()


def test_what_somebody_else_trains_is_left_out_of_the_pack(tmp_path):
    specs = [spec(), spec("dkd"), spec("dskd")]
    path = directory_of(specs[1], tmp_path).path
    path.mkdir(parents=True)
    with acquire(path):
        groups = work(specs, tmp_path, pack=8, patience_seconds=0.01)
    assert groups == [[("kd", 0), ("dskd", 0)]]


@pytest.mark.parametrize(("runs", "workers", "pack"), [(3, 2, 1), (8, 2, 2), (40, 2, "auto")])
def test_packs_leave_something_for_every_worker(runs, workers, pack):
    runtime = with_pack(Runtime(accelerator="cpu"), runs, workers)
    assert runtime.pack == pack
    assert runs // (2 * workers) < AT_ONCE_ON_CPU or pack == "auto"
