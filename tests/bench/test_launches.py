"""What a step launches on a GPU that is not there, against the budget: exact numbers, no times."""

import pytest

from bench import absent_gpu, budgets, h100, pairs
from bench.measures import launches
from suite.interface.absent_gpu import Operation


@pytest.fixture
def images(monkeypatch):
    """Few of them, in small batches: the number of kernels does not depend on either."""
    monkeypatch.setattr(pairs, "IMAGES", 200)
    monkeypatch.setattr(pairs, "BATCH_SIZE", 4)
    return pairs.dataset(absent_gpu.SETTINGS)


def test_a_step_of_kd_keeps_its_budget_of_launches_and_waits_for_nothing(images):
    work = absent_gpu.step_work("kd", images)
    assert 0 < work.outside.launches <= budgets.OUTSIDE
    assert 0 < work.inside.launches <= budgets.INSIDE["kd"]
    assert work.outside.waits == work.inside.waits == 0


def test_operations_one_by_one_are_the_whole_step(images):
    work = absent_gpu.step_work("kd", images)
    inside = [it for it in work.operations if it.recorded]
    assert sum(it.launches for it in inside) == work.inside.launches
    assert sum(it.moved for it in inside) == work.inside.moved
    assert sum(it.flops for it in inside) == work.inside.flops > 0
    assert sum(it.launches for it in work.operations) == (
        work.inside.launches + work.outside.launches
    )


def operation(launches=1, moved=0, flops=0, recorded=True):
    return Operation("any", launches, moved, flops, recorded)


@pytest.mark.parametrize(
    ("given", "microseconds"),
    [
        (operation(launches=3), 6.0),  # three empty kernels of 2
        (operation(flops=335_000_000), 10.0),  # at half of 67 TFLOP/s
        (operation(moved=26_800_000), 10.0),  # at 80 % of 3.35 TB/s
        (operation(moved=26_800_000, flops=670_000_000), 20.0),  # the longest of the three
        (operation(launches=2, moved=10**9, recorded=False), 10.0),  # the host's time alone
    ],
)
def test_an_operation_takes_the_longest_of_its_work_and_its_kernels(given, microseconds):
    assert 1e6 * h100.ARITHMETIC["float32"].seconds([given]) == pytest.approx(microseconds)


def test_240_epochs_of_cifar_100_are_187_680_steps():
    """Of 1 ms each 3.1 minutes; 500 empty kernels take that, of which a product's 100 remain."""
    operations = [operation(launches=400), operation(launches=100, flops=1)]
    times = {it.name: it for it in launches._modelled("m", operations)}
    whole = times["m: float32, model, 240 epochs"]
    assert whole.median == pytest.approx(187_680 * 1e-3 / 60)
    assert whole.note == "0.63 of the goal"
    assert times["m: bf16, products alone, model"].median == pytest.approx(0.2)
    assert times["m: empty kernels, model"].median == pytest.approx(1.0)
