"""The estimate of memory against runs that train: tensors to the byte, so no scatter."""

import pytest

from bench import whole_run

WITHIN = 0.2


@pytest.fixture(scope="module")
def pairs():
    return {"digits": whole_run.digits(), "cifar": whole_run.cifar(64, 32)}


@pytest.mark.parametrize(
    ("pair", "methods"),
    [
        *(("digits", [it]) for it in ("scratch", "kd", "crd", "dskd", "reviewkd", "rkd")),
        ("digits", ["kd", "fitnet", "crd", "dskd"]),
        ("cifar", ["kd"]),
        ("cifar", ["dskd"]),
    ],
)
def test_a_run_needs_what_small_steps_of_it_say(pairs, pair, methods):
    estimated = whole_run.estimated(pairs[pair], methods)
    measured = whole_run.measured(pairs[pair], methods)
    assert measured.run >= measured.steps > 10**5
    assert estimated.run == pytest.approx(measured.run, rel=WITHIN)
    assert estimated.steps == pytest.approx(measured.steps, rel=WITHIN)
