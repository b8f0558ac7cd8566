"""Every method: two processes (gloo, CPU) train what one trains with the same global batch."""

import pytest
import two_ranks

from suite import methods

pytestmark = pytest.mark.modes
STUDENTS = [two_ranks.student_of(method) for method in methods.names()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder of runs trained by one process, and of the same runs trained by two."""
    return two_ranks.train_both(tmp_path_factory.mktemp("ranks"), STUDENTS)


@pytest.mark.parametrize("spec", STUDENTS, ids=two_ranks.name_of)
def test_two_ranks_train_what_one_rank_trains(runs, spec):
    two_ranks.check_same_weights(runs, spec)


@pytest.mark.parametrize("spec", STUDENTS, ids=two_ranks.name_of)
def test_losses_of_both_are_the_same_rows(runs, spec):
    two_ranks.check_same_losses(runs, spec)
