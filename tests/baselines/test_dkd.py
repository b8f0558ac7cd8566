"""DKD against mdistiller's numbers, the KD identity and logits that break the reference."""

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup
from torch.nn import functional

from baselines.dkd import DKD, DKDConfig, decouple, dkd_loss, dkd_terms
from baselines.kd import kd_loss
from suite.interface.taps import Outputs

CASES = ("dkd_b8c10_a1b8t4", "dkd_b16c100_a1b8t4", "dkd_b5c7_a2b05t2")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_loss_terms_and_gradients_are_mdistillers(golden, name, dtype):
    case = golden(name, dtype)
    student, teacher = case.inputs["y_s"], case.inputs["y_t"]
    label, hyper = case.inputs["target"], case.hyper
    weights = {
        "loss": (hyper["alpha"], hyper["beta"]),
        "loss_tckd": (1.0, 0.0),
        "loss_nckd": (0.0, 1.0),
    }
    for loss_name, (alpha, beta) in weights.items():
        loss = dkd_loss(student, teacher, label, alpha, beta, hyper["T"])
        case.check_loss(loss, loss_name)
        (gradient,) = torch.autograd.grad(loss, student)
        case.check_gradient(gradient, "y_s", loss_name)


@pytest.mark.parametrize("name", CASES)
def test_terms_equal_sixty_digit_arithmetic(golden, name):
    case = golden(name, torch.float64)
    tckd, nckd = dkd_terms(
        case.inputs["y_s"], case.inputs["y_t"], case.inputs["target"], case.hyper["T"]
    )
    assert tckd.item() == pytest.approx(case.arrays["exact_tckd"].item(), rel=1e-12)
    assert nckd.item() == pytest.approx(case.arrays["exact_nckd"].item(), rel=1e-12)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_the_whole_method_is_mdistillers_forward_train(golden, name, dtype):
    case = golden(name, dtype)
    hyper = case.hyper
    config = DKDConfig(
        temperature=hyper["T"],
        alpha=hyper["alpha"],
        beta=hyper["beta"],
        warmup_epochs=hyper["warmup"],
    )
    setup = make_setup()
    batch = make_batch(setup)
    batch = type(batch)(batch.image, case.inputs["target"], batch.index)
    progress = make_progress(epoch=hyper["epoch"], epochs=240)
    outputs = Outputs(case.inputs["y_s"]), Outputs(case.inputs["y_t"])
    terms = DKD(config, setup).losses(batch, *outputs, progress)
    case.check_loss(sum(terms.values()), "loss_ce_plus_warm_dkd")


def test_kd_is_tckd_plus_nckd_weighted_by_what_the_teacher_leaves_to_the_others():
    """Zhao et al. 2022, eq. 6, one image at a time."""
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(6, 9, generator=generator, dtype=torch.float64) * 3
    teacher = torch.randn(6, 9, generator=generator, dtype=torch.float64) * 3
    label = torch.tensor([0, 3, 3, 8, 1, 5])
    for row in range(6):
        one = slice(row, row + 1)
        left = 1 - (teacher[one] / 2).softmax(1)[0, label[row]]
        decoupled = dkd_loss(student[one], teacher[one], label[one], 1.0, float(left), 2.0)
        assert decoupled.item() == pytest.approx(kd_loss(student[one], teacher[one], 2.0).item())


def test_two_even_students_of_a_sure_teacher_by_hand():
    """TCKD = 3/4 log 3/2 + 1/4 log 1/2, NCKD = 1/2 log 3/4 + 1/2 log 3/2."""
    teacher = torch.tensor([[3 / 4, 1 / 8, 1 / 8]], dtype=torch.float64).log()
    student = torch.tensor([[1 / 2, 1 / 3, 1 / 6]], dtype=torch.float64).log()
    tckd, nckd = dkd_terms(student, teacher, torch.tensor([0]), 1.0)
    ln = torch.log(torch.tensor([3 / 2, 1 / 2, 3 / 4, 3 / 2], dtype=torch.float64))
    assert tckd.item() == pytest.approx((0.75 * ln[0] + 0.25 * ln[1]).item())
    assert nckd.item() == pytest.approx((0.5 * ln[2] + 0.5 * ln[3]).item())


def test_loss_is_zero_when_student_equals_teacher_up_to_a_shift():
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = dkd_loss(logits + 5.0, logits, torch.tensor([0, 1, 2, 5]), 1.0, 8.0, 4.0)
    assert abs(loss.item()) < 1e-12


@pytest.mark.parametrize("size", [1e3, -1e3, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_huge_logits_give_finite_losses_and_gradients(size, dtype):
    """mdistiller returns inf from a target logit of about 104 at T = 1."""
    student = torch.zeros(4, 5)
    student[:, 0] = size
    student = student.to(dtype).requires_grad_()
    teacher = torch.zeros(4, 5, dtype=dtype)
    teacher[:, 1] = abs(size)
    loss = dkd_loss(student, teacher, torch.tensor([0, 0, 1, 2]), 1.0, 8.0, 1.0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_a_target_that_leads_by_more_than_1000_does_not_leak_into_the_others():
    """mdistiller lowers it by 1000 only. Exact: 1/2 log((1 + e)^2 / (4 e)) = 0.1201145."""
    student = torch.tensor([[2000.0, 1.0, 0.0]])
    teacher = torch.tensor([[2000.0, 0.0, 0.0]])
    _, nckd = dkd_terms(student, teacher, torch.tensor([0]), 1.0)
    assert nckd.item() == pytest.approx(0.1201145, rel=1e-5)


def test_one_other_class_carries_no_non_target_knowledge():
    _, nckd = dkd_terms(
        torch.tensor([[3.0, -1.0]]), torch.tensor([[0.0, 7.0]]), torch.tensor([1]), 1.0
    )
    assert nckd.item() == 0.0


def test_a_batch_of_one_image_equals_its_share_of_a_larger_batch():
    student, teacher = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(2))
    label = torch.tensor([1, 1, 1])
    whole = dkd_loss(student, teacher, label, 1.0, 8.0, 4.0)
    parts = [
        dkd_loss(student[i, None], teacher[i, None], label[i, None], 1.0, 8.0, 4.0)
        for i in range(3)
    ]
    assert whole.item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-6)


def test_log_odds_are_those_of_the_target():
    odds = decouple(torch.tensor([[0.8, 0.1, 0.1]]).log(), torch.tensor([0]), 1.0).log_odds
    assert odds.item() == pytest.approx(1.3862944, rel=1e-6)  # log 4


@pytest.mark.parametrize(("epoch", "factor"), [(1, 0.05), (10, 0.5), (20, 1.0), (240, 1.0)])
def test_distillation_warms_up_over_twenty_epochs_and_cross_entropy_does_not(epoch, factor):
    setup = make_setup()
    batch = make_batch(setup)
    student, teacher = torch.randn(2, len(batch), 5, generator=torch.Generator().manual_seed(3))
    progress = make_progress(epoch=epoch, epochs=240)
    terms = DKD(DKDConfig(), setup).losses(batch, Outputs(student), Outputs(teacher), progress)
    tckd, nckd = dkd_terms(student, teacher, batch.label, 4.0)
    assert terms["ce"].item() == pytest.approx(
        functional.cross_entropy(student, batch.label).item()
    )
    assert terms["tckd"].item() == pytest.approx(factor * tckd.item(), rel=1e-6)
    assert terms["nckd"].item() == pytest.approx(8 * factor * nckd.item(), rel=1e-6)
