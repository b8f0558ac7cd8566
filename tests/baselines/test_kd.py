"""KD against mdistiller's and RepDistiller's numbers."""

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup

from baselines.kd import KD, KDConfig, kd_loss
from suite.interface.taps import Outputs

CASES = ("kd_b8c10_t4", "kd_b16c100_t4", "kd_b4c5_t2")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_are_mdistillers(golden, name, dtype):
    case = golden(name, dtype)
    loss = kd_loss(case.inputs["y_s"], case.inputs["y_t"], case.hyper["T"])
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(case.inputs["y_s"].grad, "y_s")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_the_weighted_terms_are_mdistillers(golden, name, dtype):
    case = golden(name, dtype)
    hyper, setup = case.hyper, make_setup()
    batch = make_batch(setup)
    batch = type(batch)(batch.image, case.inputs["target"], batch.index)
    config = KDConfig(
        temperature=hyper["T"], ce_weight=hyper["ce_weight"], kd_weight=hyper["kd_weight"]
    )
    outputs = Outputs(case.inputs["y_s"]), Outputs(case.inputs["y_t"])
    terms = KD(config, setup).losses(batch, *outputs, make_progress())
    case.check_loss(terms["ce"], "loss_ce_weighted")
    case.check_loss(terms["kd"], "loss_kd_weighted")
    case.check_loss(sum(terms.values()), "loss_total")


def test_maps_of_logits_are_summed_over_positions_as_repdistiller_does(golden):
    case = golden("kd_spatial_2x5x3x3_t2")
    loss = kd_loss(case.inputs["y_s"], case.inputs["y_t"], case.hyper["T"])
    want = case.arrays["var_RepDistiller_loss"].item()
    assert loss.item() == pytest.approx(want, rel=1e-5)


def test_loss_is_zero_when_student_equals_teacher_up_to_a_shift():
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert abs(kd_loss(logits - 3.0, logits, 4.0).item()) < 1e-12


def test_an_even_student_of_a_sure_teacher_loses_the_entropy_of_the_classes():
    """Teacher (1, 0), student (1/2, 1/2): log 2, times T^2 = 1."""
    loss = kd_loss(torch.zeros(1, 2), torch.tensor([[100.0, 0.0]]), 1.0)
    assert loss.item() == pytest.approx(0.6931472, rel=1e-6)


def test_at_high_temperature_it_is_half_the_squared_distance_of_centred_logits():
    """Hinton et al. 2015, eq. 4: T^2 KL -> 1 / (2 K) sum (z_s - z_t)^2 for zero-mean logits."""
    student = torch.tensor([[1.0, -1.0, 0.0, 0.0]], dtype=torch.float64)
    teacher = torch.tensor([[0.0, 0.0, 2.0, -2.0]], dtype=torch.float64)
    assert kd_loss(student, teacher, 1e4).item() == pytest.approx(10 / 8, rel=1e-3)


def test_huge_logits_give_a_finite_loss_and_gradient():
    student = torch.tensor([[1e3, -1e3, 0.0]], requires_grad=True)
    loss = kd_loss(student, torch.tensor([[-1e3, 1e3, 0.0]]), 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(2000.0)
    assert student.grad.tolist() == [[1.0, -1.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_a_float32_loss(dtype):
    student = torch.tensor([[1e3, -1e3]], dtype=dtype, requires_grad=True)
    loss = kd_loss(student, torch.tensor([[-1e3, 1e3]], dtype=dtype), 4.0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert student.grad.isfinite().all()
