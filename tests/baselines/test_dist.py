"""DIST against its authors' numbers and correlations one can check by hand."""

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup

from baselines.dist import DIST, DISTConfig, correlation, dist_terms
from suite.interface.taps import Outputs


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["dist_b8c10_t1", "dist_b16c100_t4", "dist_b5c7_b2g05"])
def test_loss_and_gradient_are_the_authors(golden, name, dtype):
    case = golden(name, dtype)
    hyper = case.hyper
    inter, intra = dist_terms(case.inputs["y_s"], case.inputs["y_t"], hyper["tau"])
    loss = hyper["beta"] * inter + hyper["gamma"] * intra
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(case.inputs["y_s"].grad, "y_s")


def test_correlation_of_three_points_by_hand():
    """(-1, 0, 1) with (-1/3, 2/3, -1/3) is 0; with (1, 1, 4) it is 3 / sqrt(2 * 6)."""
    rows = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    others = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 4.0], [-1.0, -2.0, -3.0]])
    want = [0.0, 3 / 12**0.5, -1.0]
    assert correlation(rows, others).tolist() == pytest.approx(want, abs=1e-6)


def test_both_terms_are_zero_when_student_equals_teacher_up_to_a_shift():
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inter, intra = dist_terms(logits + 3.0, logits, 1.0)
    assert abs(inter.item()) < 1e-6
    assert abs(intra.item()) < 1e-6


def test_a_student_who_swaps_two_classes_is_anticorrelated():
    """1 - (-1) = 2, times T^2 = 4, in either term."""
    student = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    inter, intra = dist_terms(student, student.flip(1), 2.0)
    assert inter.item() == pytest.approx(8.0, rel=1e-5)
    assert intra.item() == pytest.approx(8.0, rel=1e-5)


def test_a_batch_of_one_image_has_a_constant_intra_term():
    student = torch.randn(1, 5, generator=torch.Generator().manual_seed(1), requires_grad=True)
    _, intra = dist_terms(student, torch.randn(1, 5), 4.0)
    intra.backward()
    assert intra.item() == 16.0
    assert student.grad.tolist() == [[0.0] * 5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_huge_logits_give_finite_terms_and_gradients(dtype):
    student = torch.zeros(4, 5)
    student[:, 0] = 1e3
    student = student.to(dtype).requires_grad_()
    teacher = torch.zeros(4, 5, dtype=dtype)
    teacher[:, 1] = 1e3
    terms = dist_terms(student, teacher, 1.0)
    sum(terms).backward()
    assert all(term.isfinite() and term.dtype == torch.float32 for term in terms)
    assert student.grad.isfinite().all()


def test_terms_are_weighted_two():
    setup = make_setup()
    batch = make_batch(setup)
    student, teacher = torch.randn(2, len(batch), 5, generator=torch.Generator().manual_seed(2))
    config = DISTConfig(gamma=0.5)
    terms = DIST(config, setup).losses(batch, Outputs(student), Outputs(teacher), make_progress())
    inter, intra = dist_terms(student, teacher, 4.0)
    assert set(terms) == {"ce", "inter", "intra"}
    assert terms["inter"].item() == pytest.approx(2 * inter.item())
    assert terms["intra"].item() == pytest.approx(intra.item())
