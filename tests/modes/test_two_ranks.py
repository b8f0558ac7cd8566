"""Every method: two processes (gloo, CPU) train what one trains with the same global batch."""

import pytest
import two_ranks
from two_ranks import TEACHER, spec_of, student_of

from suite import methods

pytestmark = pytest.mark.modes
STUDENTS = [student_of(method) for method in methods.names()]
STUDENTS += [student_of("fitnet", optimizer={"name": "dot", "delta": 0.075})]
STUDENTS += [
    spec_of("crd", TEACHER, lr=0.0005, accumulate=4),  # rounding grows with statistics of 8 images
    student_of("fitnet", optimizer={"name": "dot", "delta": 0.075}, accumulate=4),
]
HALF = [spec_of("crd", TEACHER, precision=precision) for precision in ("bf16-mixed", "16-mixed")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder of runs trained by one process, and of the same runs trained by two."""
    return two_ranks.train_both(tmp_path_factory.mktemp("ranks"), [*STUDENTS, *HALF])


@pytest.mark.parametrize("spec", STUDENTS, ids=two_ranks.name_of)
def test_two_ranks_train_what_one_rank_trains(runs, spec):
    two_ranks.check_same_weights(runs, spec)


@pytest.mark.parametrize("spec", STUDENTS, ids=two_ranks.name_of)
def test_losses_of_both_are_the_same_rows(runs, spec):
    two_ranks.check_same_losses(runs, spec)


@pytest.mark.parametrize("spec", HALF, ids=lambda spec: spec.config.train.precision)
def test_half_precision_trains_on_two_ranks_as_on_one_up_to_its_rounding(runs, spec):
    """Nine layers that round three times each: a relative error of 27 unit roundoffs at most."""
    roundoff = {"bf16-mixed": 2.0**-8, "16-mixed": 2.0**-11}[spec.config.train.precision]
    rows = [directory.read_metrics() for directory in two_ranks.directories(runs, spec)]
    for one, two in zip(*rows, strict=True):
        assert two["train/loss"] == pytest.approx(one["train/loss"], rel=27 * roundoff)
