"""SRD's two forms against their authors' numbers, equal features and batches of one."""

import math

import pytest
import torch
from golden_numbers import PRECISIONS

from baselines.kd import kd_loss
from baselines.srd import NormalizedDistance, correlation_loss, distance_loss


def layers_of(case, dtype):
    layers = NormalizedDistance(6, 10).to(dtype)
    layers.load_state_dict(case.state("loss"), strict=False)  # no num_batches_tracked
    return layers


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_imagenet_form_is_the_references(golden, dtype):
    case = golden("srd_imagenet_b8_6to10", dtype)
    layers = layers_of(case, dtype)
    pooled = case.inputs["f_s"].mean((2, 3)), case.inputs["f_t"].mean((2, 3))
    loss = case.hyper["rep_weight"] * distance_loss(*layers.normalized(*pooled))
    loss = loss + kd_loss(case.inputs["y_s"], case.inputs["y_t"], 1.0)
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(case.inputs["f_s"].grad, "f_s")
    case.check_gradient(case.inputs["y_s"].grad, "y_s")
    case.check_gradient(layers.embed.weight.grad, "loss.embed.weight")
    case.check_gradient(layers.embed.bias.grad, "loss.embed.bias")
    case.check_output(layers.bn_s.running_mean, "bn_s_running_mean_after")
    case.check_output(layers.bn_t.running_var, "bn_t_running_var_after")


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_deit_form_is_the_references(golden, dtype):
    case = golden("srd_deit_b8_6to10", dtype)
    layers = layers_of(case, dtype)
    loss = correlation_loss(layers.embed(case.inputs["f_s"]), case.inputs["f_t"])
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(case.inputs["f_s"].grad, "f_s")
    case.check_gradient(layers.embed.weight.grad, "loss.embed.weight")
    case.check_gradient(layers.embed.bias.grad, "loss.embed.bias")


def test_the_distance_by_hand():
    """Gaps of 2 and 1: log(16 + 1)."""
    found = distance_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    assert found.item() == pytest.approx(math.log(17))


def test_correlations_by_hand():
    """One dimension is the teacher's (r = 1), one its opposite (r = -1): log(2^4 + 1e-5)."""
    teacher = torch.tensor([[1.0, 5.0], [3.0, 4.0], [8.0, 6.0]], dtype=torch.float64)
    student = teacher * torch.tensor([2.0, -3.0]) + 1
    assert correlation_loss(student, teacher).item() == pytest.approx(math.log(16 + 1e-5))


def test_equal_features_are_finite_where_the_reference_gives_minus_infinity():
    student = torch.randn(4, 3, requires_grad=True)
    loss = distance_loss(student, student.detach().clone())
    loss.backward()
    assert loss.item() == pytest.approx(-87.3365, abs=1e-3)  # log of the least normal float32
    assert student.grad.abs().max().item() == 0.0


@pytest.mark.parametrize("rows", [1, 2])
def test_small_batches_and_constant_features_are_finite(rows):
    layers = NormalizedDistance(3, 4).train()
    student = torch.ones(rows, 3, requires_grad=True)
    teacher = torch.ones(rows, 4)
    loss = distance_loss(*layers.normalized(student, teacher))
    loss = loss + correlation_loss(layers.embed(student), teacher)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()
