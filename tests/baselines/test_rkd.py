"""RKD against RepDistiller's numbers and triangles one can check by hand."""

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup, run_both

from baselines.rkd import RKD, RKDConfig, rkd_angle_loss, rkd_distance_loss


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["rkd_b8", "rkd_b5_dist_only"])
def test_loss_and_gradient_are_repdistillers(golden, name, dtype):
    case = golden(name, dtype)
    features = case.inputs["f_s"], case.inputs["f_t"]
    distance, angle = rkd_distance_loss(*features), rkd_angle_loss(*features)
    loss = case.hyper["w_d"] * distance + case.hyper["w_a"] * angle
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(case.inputs["f_s"].grad, "f_s")


LINE = torch.tensor([[0.0], [1.0], [2.0]])  # distances 1, 1, 2: mean 4/3
EVEN = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])  # all distances 1


def test_a_line_against_an_even_triangle_by_hand():
    """Scaled distances (3/4, 3/4, 3/2) against 1; Huber x^2 / 2, twice each, over 9 entries."""
    want = 2 * (0.25**2 / 2 + 0.25**2 / 2 + 0.5**2 / 2) / 9
    assert rkd_distance_loss(LINE, EVEN).item() == pytest.approx(want, rel=1e-5)


def test_angles_of_a_line_against_an_even_triangle_by_hand():
    """Cosines at the corners 1, -1, 1 against 1/2; Huber 1/8, 1, 1/8, twice each, over 27."""
    want = 2 * (0.5**2 / 2 + (1.5 - 0.5) + 0.5**2 / 2) / 27
    assert rkd_angle_loss(LINE, EVEN).item() == pytest.approx(want, rel=1e-5)


def test_both_losses_are_zero_for_a_scaled_and_moved_teacher():
    feature = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert rkd_distance_loss(feature, 3 * feature + 7).item() < 1e-25
    assert rkd_angle_loss(feature, 3 * feature + 7).item() < 1e-25


def test_a_batch_of_one_image_costs_nothing():
    """RepDistiller returns nan."""
    student = torch.randn(1, 4, requires_grad=True)
    loss = rkd_distance_loss(student, torch.ones(1, 6)) + rkd_angle_loss(student, torch.ones(1, 6))
    loss.backward()
    assert loss.item() == 0.0
    assert student.grad.tolist() == [[0.0] * 4]


@pytest.mark.parametrize("rows", [torch.ones(4, 3), torch.tensor([[1.0], [1.0], [2.0], [4.0]])])
def test_equal_images_give_finite_losses_and_gradients(rows):
    student = rows.clone().requires_grad_()
    teacher = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    loss = rkd_distance_loss(student, teacher) + rkd_angle_loss(student, teacher)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.abs().max() < 1e7


def test_a_common_offset_does_not_change_the_losses():
    """RepDistiller's |a|^2 + |b|^2 - 2ab loses three digits at an offset of 100."""
    feature = torch.randn(8, 16, generator=torch.Generator().manual_seed(2))
    teacher = torch.randn(8, 16, generator=torch.Generator().manual_seed(3))
    for loss in (rkd_distance_loss, rkd_angle_loss):
        moved, still = loss(feature + 100.0, teacher).item(), loss(feature, teacher).item()
        assert moved == pytest.approx(still, rel=1e-4)


def test_half_precision_features_give_float32_losses():
    student = torch.full((3, 300), 100.0, dtype=torch.float16)
    student[1] = -100.0  # squared distance 1.2e7, above float16's range
    for loss in (rkd_distance_loss, rkd_angle_loss):
        found = loss(student, torch.randn(3, 4, generator=torch.Generator().manual_seed(4)))
        assert found.dtype == torch.float32
        assert found.isfinite()


def test_terms_are_weighted_25_and_50():
    setup = make_setup("test_vit", "test_resnet")
    method = RKD(RKDConfig(), setup)
    batch = make_batch(setup)
    student, teacher = run_both(setup, method, batch)
    terms = method.losses(batch, student, teacher, make_progress())
    features = student["pooled"], teacher["pooled"]
    assert set(terms) == {"ce", "distance", "angle"}
    assert terms["distance"].item() == pytest.approx(25 * rkd_distance_loss(*features).item())
    assert terms["angle"].item() == pytest.approx(50 * rkd_angle_loss(*features).item())
