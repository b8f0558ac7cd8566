"""RSD against its authors' numbers, features by hand and batches of one."""

import pytest
import torch
from golden_numbers import PRECISIONS

from baselines.rsd import Projector, rsd_loss


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["rsd_b8d16", "rsd_b16d12_k005"])
def test_loss_diagonal_and_gradients_are_the_references(golden, name, dtype):
    case = golden(name, dtype)
    student, teacher = case.inputs["f_s"], case.inputs["f_t"]
    for loss_name, kappa in {"loss": case.hyper["kappa"], "loss_diagonal": 0.0}.items():
        loss = rsd_loss(student, teacher, kappa)
        case.check_loss(loss, loss_name)
        (gradient,) = torch.autograd.grad(loss, student)
        case.check_gradient(gradient, "f_s", loss_name)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_projector_loss_and_gradients_are_the_references(golden, dtype):
    case = golden("rsd_projector_b8_6to10_g2", dtype)
    projector = Projector(6, 10, case.hyper["gamma"]).to(dtype)
    projector.load_state_dict(case.state("projector"), strict=False)  # no num_batches_tracked
    projected = projector(case.inputs["f_s"])
    distance = rsd_loss(projected, case.inputs["f_t"], case.hyper["kappa"])
    loss = case.hyper["loss_weight"] * distance
    loss.backward()
    case.check_loss(loss)
    case.check_output(projected, "projected")
    case.check_output(projector[1].running_var, "1_running_var_after")
    case.check_gradient(case.inputs["f_s"].grad, "f_s")
    for leaf, parameter in projector.named_parameters():
        case.check_gradient(parameter.grad, f"projector.{leaf}")


def test_two_dimensions_by_hand():
    """Columns +-1: C is [[1, 0], [1, 0]] where the student repeats its first dimension ..."""
    teacher = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    assert rsd_loss(teacher, teacher, 0.5).item() == pytest.approx(0.0, abs=1e-8)
    repeated = teacher[:, [0, 0]]  # C = [[1, 1], [0, 0]]: (0 - 1)^2 + 0.5 * 1
    assert rsd_loss(repeated, teacher, 0.5).item() == pytest.approx(1.5, abs=1e-4)


def test_scale_and_offset_of_a_feature_do_not_count():
    student, teacher = torch.randn(2, 16, 4, generator=torch.Generator().manual_seed(0)).double()
    loss, moved = (rsd_loss(it, teacher, 0.01) for it in (student, 3 * student + 5))
    assert moved.item() == pytest.approx(loss.item(), rel=1e-4)


def test_one_image_costs_the_width_and_teaches_nothing():
    student = torch.randn(1, 4, requires_grad=True)
    loss = rsd_loss(student, torch.randn(1, 4), 0.01)
    loss.backward()
    assert loss.item() == 4.0
    assert student.grad.abs().max().item() == 0.0


def test_a_dead_dimension_costs_one_and_stays_finite():
    student = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    teacher = student.clone()
    teacher[:, 2] = 0.0
    student.requires_grad_()
    loss = rsd_loss(student, teacher, 0.0)
    loss.backward()
    assert loss.item() == pytest.approx(1.0, abs=1e-3)
    assert student.grad.isfinite().all()


def test_the_projector_takes_a_batch_of_one_in_training():
    assert Projector(6, 10, 2).train()(torch.randn(1, 6)).isfinite().all()
