"""SP against RepDistiller's numbers and batches one can check by hand."""

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup, run_both

from baselines.sp import SP, SPConfig, similarities, sp_loss


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["sp_b8", "sp_b5_2d"])
def test_loss_and_gradient_are_repdistillers(golden, name, dtype):
    case = golden(name, dtype)
    loss = sp_loss(case.inputs["f_s"], case.inputs["f_t"])
    loss.backward()
    case.check_loss(loss[None] if case.want("loss").ndim else loss)
    case.check_gradient(case.inputs["f_s"].grad, "f_s")


def test_unlike_against_like_images_by_hand():
    """G_s = identity, G_t = all 1 / sqrt 2: 2 (1 - r)^2 + 2 r^2 over 4 with r = 0.7071."""
    r = 0.5**0.5
    loss = sp_loss(torch.eye(2), torch.ones(2, 3))
    assert loss.item() == pytest.approx((2 * (1 - r) ** 2 + 2 * r**2) / 4, rel=1e-6)


def test_loss_is_zero_for_a_rotated_and_scaled_teacher():
    feature = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=_stream(1)))[0]
    assert sp_loss(feature, 3 * feature @ rotation).item() < 1e-30


def test_a_single_image_has_nothing_to_be_like():
    assert sp_loss(torch.randn(1, 4, 2, 2), torch.randn(1, 6, 3, 3)).item() == 0.0


def test_zero_features_give_finite_losses_and_gradients():
    student = torch.zeros(3, 4, requires_grad=True)
    loss = sp_loss(student, torch.eye(3))
    loss.backward()
    assert loss.item() == pytest.approx(3 / 9)
    assert student.grad.isfinite().all()


def test_channels_last_and_half_precision_maps_are_taken():
    """RepDistiller's view() refuses the first."""
    feature = torch.randn(4, 3, 5, 5, generator=_stream(2))
    last = feature.contiguous(memory_format=torch.channels_last)
    assert torch.allclose(similarities(last), similarities(feature), atol=1e-6)
    assert similarities(100 * torch.ones(2, 512, dtype=torch.float16)).isfinite().all()


@pytest.mark.parametrize("teacher", ["test_resnet", "test_vit"])
def test_the_term_is_that_of_the_last_stages_times_3000(teacher):
    setup = make_setup("test_convnext", teacher)
    method = SP(SPConfig(), setup)
    batch = make_batch(setup)
    student, taught = run_both(setup, method, batch)
    last = student[setup.student.stages[-1]], taught[setup.teacher.stages[-1]]
    terms = method.losses(batch, student, taught, make_progress())
    assert set(terms) == {"ce", "sp"}
    assert terms["sp"].item() == pytest.approx(3000 * sp_loss(*last).item(), rel=1e-6)


def _stream(seed):
    return torch.Generator().manual_seed(seed)
