"""VID against RepDistiller's numbers, and its likelihood by hand."""

import math

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup, run_both

from baselines.vid import VID, VariationalRegressor, VIDConfig, vid_loss


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["vid_same", "vid_s_larger"])
def test_loss_and_gradients_are_repdistillers(golden, name, dtype):
    case = golden(name, dtype)
    student, teacher = case.inputs["f_s"], case.inputs["f_t"]
    regressor = VariationalRegressor(student.shape[1], teacher.shape[1], 5.0).to(dtype)
    regressor.load_state_dict(case.state("vid"))
    loss = regressor(student, teacher)
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(student.grad, "f_s")
    for leaf, parameter in regressor.named_parameters():
        case.check_gradient(parameter.grad, f"vid.{leaf}")


def test_the_variance_starts_at_its_initial_value():
    for variance in (5.0, 0.1):
        scale = VariationalRegressor(2, 3, variance).log_scale
        start = torch.nn.functional.softplus(scale) + 1e-5
        assert start.tolist() == pytest.approx([variance] * 3, rel=1e-5)


def test_an_error_of_two_at_unit_variance_costs_two():
    """(4 / 1 + log 1) / 2."""
    log_scale = torch.tensor([math.log(math.expm1(1 - 1e-5))] * 3)
    loss = vid_loss(torch.full((2, 3, 4, 4), 5.0), torch.full((2, 3, 4, 4), 3.0), log_scale)
    assert loss.item() == pytest.approx(2.0, rel=1e-4)


def test_a_perfect_prediction_gains_the_log_of_the_standard_deviation():
    log_scale = torch.tensor([math.log(math.expm1(0.01 - 1e-5))])
    teacher = torch.randn(2, 1, 3, 3)
    assert vid_loss(teacher, teacher, log_scale).item() == pytest.approx(math.log(0.1), rel=1e-4)


def test_each_channel_has_a_variance_of_its_own():
    log_scale = torch.zeros(2, requires_grad=True)
    teacher = torch.zeros(1, 2, 2, 2)
    teacher[:, 1] = 10.0
    vid_loss(torch.zeros(1, 2, 2, 2), teacher, log_scale).backward()
    assert log_scale.grad[0] > 0 > log_scale.grad[1]  # less where it fits, more where it does not


@pytest.mark.parametrize("scale", [100.0, 1e4, -100.0, -1e4])
def test_extreme_scales_give_finite_losses_and_gradients(scale):
    """log(1 + exp(s)) of RepDistiller is inf above 88."""
    log_scale = torch.tensor([scale], requires_grad=True)
    loss = vid_loss(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), log_scale)
    loss.backward()
    assert loss.isfinite()
    assert log_scale.grad.isfinite().all()


def test_half_precision_maps_give_a_float32_loss():
    mean = torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16)
    loss = vid_loss(mean, torch.zeros(1, 1, 2, 2, dtype=torch.float16), torch.tensor([1.0]))
    assert loss.dtype == torch.float32
    assert loss.isfinite()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("teacher", ["test_resnet", "test_vit"])
def test_every_pair_of_stages_has_a_regressor_that_learns(teacher, memory_format):
    setup = make_setup("test_resnet", teacher)
    method = VID(VIDConfig(), setup)
    assert len(method.regressors) == len(method.student_taps()) == len(method.teacher_taps())
    batch = make_batch(setup)
    batch = type(batch)(
        batch.image.contiguous(memory_format=memory_format), batch.label, batch.index
    )
    student, taught = run_both(setup, method, batch)
    terms = method.losses(batch, student, taught, make_progress())
    pairs = zip(method.regressors, method.student_taps(), method.teacher_taps(), strict=True)
    want = sum(regressor(student[s], taught[t]).item() for regressor, s, t in pairs)
    assert terms["vid"].item() == pytest.approx(want, rel=1e-5)
    terms["vid"].backward()
    assert all(it.grad is not None and it.grad.any() for it in method.parameters())
