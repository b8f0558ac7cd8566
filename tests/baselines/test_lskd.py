"""LSKD against its authors' numbers, what standardization takes away, and rows without spread."""

import math

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup

from baselines._standardize import standardize
from baselines.kd import kd_loss
from baselines.lskd import LSKD, LSKDConfig, lskd_loss
from suite.interface.taps import Outputs

KD_CASES = ("lskd_kd_b8c10_t2", "lskd_kd_b16c100_t3")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", KD_CASES)
def test_standardized_logits_kd_and_gradient_are_the_references(golden, name, dtype):
    case = golden(name, dtype)
    student, teacher = case.inputs["y_s"], case.inputs["y_t"]
    loss = lskd_loss(student, teacher, case.inputs["target"], "kd", case.hyper["T"])
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(student.grad, "y_s")
    case.check_output(standardize(student), "z_s")
    case.check_output(standardize(teacher), "z_t")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", KD_CASES)
def test_the_whole_method_on_kd_weights_as_the_launcher(golden, name, dtype):
    case = golden(name, dtype)
    config = LSKDConfig(temperature=case.hyper["T"])
    case.check_loss(sum(_terms(case, config, 1).values()), "loss_total")


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_dkd_parts_and_the_whole_method_are_the_references(golden, dtype):
    case = golden("lskd_dkd_b8c10_a9b72t2", dtype)
    _check_parts(case, "dkd", {"loss": (9, 72), "loss_tckd": (1, 0), "loss_nckd": (0, 1)})
    config = LSKDConfig(base="dkd")
    whole = _terms(case, config, case.hyper["epoch"])
    case.check_loss(sum(whole.values()), "loss_ce_plus_warm_dkd")


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_rld_parts_and_gradients_are_the_references(golden, dtype):
    case = golden("rld_ls_b8c20_a9b72t2", dtype)
    _check_parts(case, "rld", {"loss": (9, 72), "loss_scd": (1, 0), "loss_mcd": (0, 1)})


def _check_parts(case, base, parts):
    student, teacher, label = (case.inputs[key] for key in ("y_s", "y_t", "target"))
    for name, weights in parts.items():
        loss = lskd_loss(student, teacher, label, base, case.hyper["T"], *weights)
        case.check_loss(loss, name)
        (gradient,) = torch.autograd.grad(loss, student)
        case.check_gradient(gradient, "y_s", name)


def _terms(case, config, epoch):
    setup = make_setup()
    batch = make_batch(setup)
    batch = type(batch)(batch.image, case.inputs["target"], batch.index)
    outputs = Outputs(case.inputs["y_s"]), Outputs(case.inputs["y_t"])
    return LSKD(config, setup).losses(batch, *outputs, make_progress(epoch, epochs=240))


def test_a_row_by_hand():
    """0, 3, 6: mean 3; the sample's deviation is 3, the population's sqrt(6)."""
    logits = torch.tensor([[0.0, 3.0, 6.0]], dtype=torch.float64)
    assert standardize(logits)[0].tolist() == pytest.approx([-1, 0, 1], abs=1e-6)
    wide = math.sqrt(3 / 2)
    assert standardize(logits, "paper")[0].tolist() == pytest.approx([-wide, 0, wide], abs=1e-6)


def test_the_papers_deviation_is_the_codes_at_another_temperature():
    student, teacher = torch.randn(2, 4, 10, generator=torch.Generator().manual_seed(0)).double()
    label = torch.zeros(4, dtype=torch.int64)
    paper = lskd_loss(student, teacher, label, "kd", 2.0, variant="paper").item()
    cooler = 2.0 * math.sqrt(9 / 10)
    code = lskd_loss(student, teacher, label, "kd", cooler).item()
    assert paper / 4.0 == pytest.approx(code / cooler**2, rel=1e-5)


def test_positive_affine_changes_of_either_network_change_nothing():
    student, teacher = torch.randn(2, 4, 10, generator=torch.Generator().manual_seed(1)).double()
    label = torch.zeros(4, dtype=torch.int64)
    before = lskd_loss(student, teacher, label, "dkd", 2.0)
    after = lskd_loss(3 * student + 7, 0.2 * teacher - 1, label, "dkd", 2.0)
    assert after.item() == pytest.approx(before.item(), rel=1e-5)


@pytest.mark.parametrize("base", ["kd", "dkd", "rld"])
@pytest.mark.parametrize("variant", ["code", "paper"])
def test_equal_logits_and_huge_ones_are_finite(base, variant):
    student = torch.tensor([[2.0] * 5, [1e3, 0, 0, 0, 0]], requires_grad=True)
    teacher = torch.tensor([[1.0, 2, 3, 4, 5], [0.0] * 5])
    label = torch.tensor([0, 4])
    loss = lskd_loss(student, teacher, label, base, 2.0, variant=variant)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_one_class_becomes_zero_where_the_reference_gives_nan():
    logits = torch.tensor([[4.0], [-1.0]], requires_grad=True)
    loss = kd_loss(standardize(logits), standardize(logits.detach()), 2.0)
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad.tolist() == [[0.0], [0.0]]


def test_two_classes_leave_only_their_order():
    """Of two logits +-1 / sqrt(2) is left, whatever they were."""
    logits = torch.tensor([[3.0, -1.0], [0.1, 0.3]], dtype=torch.float64)
    half = 1 / math.sqrt(2)
    found = standardize(logits)
    assert found.flatten().tolist() == pytest.approx([half, -half, -half, half], abs=1e-6)
