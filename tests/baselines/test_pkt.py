"""PKT against RepDistiller's numbers and batches one can check by hand."""

import math

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup, run_both
from torch.nn import functional

from baselines.pkt import PKT, PKTConfig, neighbour_probabilities, pkt_loss


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["pkt_b8", "pkt_b5"])
def test_loss_and_gradient_are_repdistillers(golden, name, dtype):
    case = golden(name, dtype)
    loss = pkt_loss(case.inputs["f_s"], case.inputs["f_t"])
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(case.inputs["f_s"].grad, "f_s")


def test_an_orthogonal_neighbour_is_half_as_likely_as_the_image_itself():
    found = neighbour_probabilities(torch.eye(2))
    assert found.flatten().tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 3, 2 / 3], rel=1e-6)


def test_orthogonal_student_of_a_teacher_that_sees_no_difference_by_hand():
    """p = (1/2, 1/2), q = (2/3, 1/3) in either row: (log 3/4 + log 3/2) / 4."""
    loss = pkt_loss(torch.eye(2), torch.ones(2, 3))
    assert loss.item() == pytest.approx((math.log(3 / 4) + math.log(3 / 2)) / 4, rel=1e-5)


def test_loss_is_zero_for_a_scaled_teacher_of_another_width():
    feature = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    teacher = torch.cat([3 * feature, torch.zeros(5, 2, dtype=torch.float64)], 1)
    assert abs(pkt_loss(feature, teacher).item()) < 1e-9  # epsilon beside the norms shifts it


def test_a_zero_feature_is_equally_near_to_all_and_its_gradient_is_small():
    """RepDistiller's gradient is nan."""
    student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    rows = neighbour_probabilities(student)
    assert rows[0].tolist() == pytest.approx([1 / 3] * 3)
    pkt_loss(student, torch.randn(3, 4, generator=torch.Generator().manual_seed(1))).backward()
    assert student.grad.abs().max() < 1


def test_opposite_features_give_finite_losses_and_gradients():
    """Rounding takes cosines below -1; an unlikely row would get the logarithm of less than 0."""
    rows = torch.randn(64, 64, generator=torch.Generator().manual_seed(2))
    cosines = functional.normalize(rows) @ functional.normalize(-rows).T
    assert cosines.min() < -1
    student = torch.cat([rows, -rows]).requires_grad_()
    loss = pkt_loss(student, torch.randn(128, 4, generator=torch.Generator().manual_seed(3)))
    loss.backward()
    assert (neighbour_probabilities(student) >= 0).all()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_a_batch_of_one_image_costs_nothing():
    assert pkt_loss(torch.randn(1, 4), torch.randn(1, 6)).item() == 0.0


def test_half_precision_features_give_a_float32_loss():
    student = torch.full((3, 300), 100.0, dtype=torch.float16)
    loss = pkt_loss(student, torch.randn(3, 4, generator=torch.Generator().manual_seed(4)))
    assert loss.dtype == torch.float32
    assert loss.isfinite()


def test_the_term_is_weighted_30000():
    setup = make_setup("test_vit", "test_resnet")
    method = PKT(PKTConfig(), setup)
    batch = make_batch(setup)
    student, teacher = run_both(setup, method, batch)
    terms = method.losses(batch, student, teacher, make_progress())
    want = 30000 * pkt_loss(student["pooled"], teacher["pooled"]).item()
    assert set(terms) == {"ce", "pkt"}
    assert terms["pkt"].item() == pytest.approx(want, rel=1e-6)
