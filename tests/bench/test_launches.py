"""What a step launches on a GPU that is not there, against the budget: exact numbers, no times."""

import pytest

from bench import absent_gpu, budgets, pairs


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
