"""CTKD against its authors' numbers: the loss, the turned gradient of T and its schedules."""

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup

from baselines.ctkd import CTKD, CTKDConfig, gradient_factor, scale_gradient, temperature_of
from suite.interface.taps import Outputs


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["ctkd_b8c10_e3", "ctkd_b6c20_e12"])
def test_loss_and_both_gradients_are_the_references(golden, name, dtype):
    case = golden(name, dtype)
    hyper, setup = case.hyper, make_setup()
    batch = make_batch(setup)
    batch = type(batch)(batch.image, case.inputs["target"], batch.index)
    config = CTKDConfig(
        ce_weight=hyper["ce_weight"],
        kd_weight=hyper["kd_weight"],
        temperature_low=hyper["t_start"],
        temperature_range=hyper["t_end"],
        ramp_epochs=hyper["decay_loops"],
    )
    method = CTKD(config, setup).to(dtype)
    with torch.no_grad():
        method.temperature.copy_(case.params["global_T"])
    outputs = Outputs(case.inputs["y_s"]), Outputs(case.inputs["y_t"].detach())
    terms = method.losses(batch, *outputs, make_progress(hyper["epoch"], epochs=240))
    loss = sum(terms.values())
    loss.backward()
    case.check_loss(loss)
    case.check_loss(terms["kd"] / hyper["kd_weight"], "loss_div")
    case.check_gradient(case.inputs["y_s"].grad, "y_s")
    case.check_gradient(method.temperature.grad, "global_T")
    case.check_output(method.diagnostics()["temperature"][None], "temp")


def test_both_schedules_are_the_references(golden):
    case = golden("ctkd_schedule_10", torch.float64)
    for schedule in ("cosine", "linear"):
        found = [gradient_factor(epoch, 10, schedule) for epoch in range(16)]
        case.check_output(torch.tensor(found, dtype=torch.float64), schedule)


def test_the_schedule_by_hand():
    """Over two epochs: half the way after one, -1 from the second on."""
    assert [gradient_factor(epoch, 2) for epoch in (1, 2, 9)] == pytest.approx([-0.5, -1, -1])
    assert gradient_factor(1, 1) == -1.0


def test_turning_a_gradient_keeps_the_value_bit_by_bit():
    value = torch.tensor([0.1, 1e7, -3e-8], requires_grad=True)
    turned = scale_gradient(value, -0.3)
    assert torch.equal(turned, value)
    turned.sum().backward()
    assert value.grad.tolist() == pytest.approx([-0.3] * 3)


def test_the_temperature_lies_between_1_and_21_and_starts_at_15_62():
    ends = temperature_of(torch.tensor([-1e4, 1.0, 1e4]), 1.0, 20.0)
    assert ends.tolist() == pytest.approx([1.0, 15.6212, 21.0], rel=1e-5)


def test_a_step_moves_t_against_the_student():
    """From the second ramp epoch on descent on g ascends the distillation loss."""
    setup = make_setup()
    batch = make_batch(setup)
    method = CTKD(CTKDConfig(ramp_epochs=1), setup)
    student, teacher = torch.randn(2, len(batch), 5, generator=torch.Generator().manual_seed(0)) * 3

    def distance():
        return method.losses(batch, Outputs(student), Outputs(teacher), make_progress(2))["kd"]

    before = distance()
    before.backward()
    with torch.no_grad():
        method.temperature -= 0.1 * method.temperature.grad.sign()
    assert distance().item() > before.item()


def test_teacher_probabilities_that_underflow_leave_t_a_finite_gradient():
    """The reference's gradient through the teacher's softmax is nan there."""
    setup = make_setup()
    batch = make_batch(setup, size=2)
    method = CTKD(CTKDConfig(), setup)
    student = torch.tensor([[1e4, 0, 0, 0, 0], [0, 0, 1e4, 0, 0]], requires_grad=True)
    teacher = student.detach().roll(1, 1)
    terms = method.losses(batch, Outputs(student), Outputs(teacher), make_progress())
    sum(terms.values()).backward()
    assert method.temperature.grad.isfinite().all()
    assert student.grad.isfinite().all()


def test_no_epochs_of_ramp_are_refused():
    with pytest.raises(ValueError, match="ramp_epochs"):
        CTKDConfig(ramp_epochs=0)
