"""NKD against cls_KD's numbers, a case by hand and predictions at the ends."""

import math

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup

from baselines.nkd import NKD, NKDConfig, nkd_terms
from suite.interface.taps import Outputs

CASES = ("nkd_b8c10_t1g15", "nkd_b16c100_t3g35", "nkd_scores_b6c12_t1g1")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_parts_sum_and_gradients_are_those_of_cls_kd(golden, name, dtype):
    case = golden(name, dtype)
    student, teacher, label = (case.inputs[key] for key in ("y_s", "y_t", "target"))
    temperature, gamma = case.hyper["temp"], case.hyper["gamma"]
    target, others = nkd_terms(student, teacher, label, temperature)
    found = {
        "loss": target + gamma * others,
        "loss_target": target,
        "loss_nontarget": others,
    }
    for loss_name, loss in found.items():
        case.check_loss(loss, loss_name)
        (gradient,) = torch.autograd.grad(loss, student, retain_graph=True)
        case.check_gradient(gradient, "y_s", loss_name)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES[:2])
def test_the_method_adds_the_cross_entropy(golden, name, dtype):
    case = golden(name, dtype)
    setup = make_setup()
    batch = make_batch(setup)
    batch = type(batch)(batch.image, case.inputs["target"], batch.index)
    config = NKDConfig(temperature=case.hyper["temp"], gamma=case.hyper["gamma"])
    outputs = Outputs(case.inputs["y_s"]), Outputs(case.inputs["y_t"])
    terms = NKD(config, setup).losses(batch, *outputs, make_progress())
    case.check_loss(sum(terms.values()), "loss_total")


def test_three_classes_by_hand():
    """Label 0: p_t 1/2 on it, others 3/4 and 1/4; the student 1/4, others 1/2 and 1/2."""
    teacher = torch.tensor([[1 / 2, 3 / 8, 1 / 8]], dtype=torch.float64).log()
    student = torch.tensor([[1 / 4, 3 / 8, 3 / 8]], dtype=torch.float64).log()
    target, others = nkd_terms(student, teacher, torch.tensor([0]), 1.0)
    assert target.item() == pytest.approx(0.5 * math.log(4))
    assert others.item() == pytest.approx(math.log(2))


def test_a_student_that_equals_the_teacher_pays_the_entropies():
    """A cross-entropy, no divergence: 1/2 log 2 for the label, log 2 for two even others."""
    logits = torch.tensor([[1 / 2, 1 / 4, 1 / 4]], dtype=torch.float64).log()
    target, others = nkd_terms(logits, logits, torch.tensor([0]), 1.0)
    assert target.item() == pytest.approx(0.5 * math.log(2))
    assert others.item() == pytest.approx(math.log(2))


def test_of_two_classes_the_other_one_teaches_nothing():
    student = torch.tensor([[2.0, -1.0]], requires_grad=True)
    _, others = nkd_terms(student, torch.tensor([[0.0, 3.0]]), torch.tensor([1]), 2.0)
    others.backward()
    assert others.item() == 0.0
    assert student.grad.tolist() == [[0.0, 0.0]]


def nkd_loss(student, teacher, label, temperature, gamma):
    target, others = nkd_terms(student, teacher, label, temperature)
    return target + gamma * others


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_huge_logits_give_finite_losses_and_gradients(dtype):
    student = torch.zeros(2, 5, dtype=dtype)
    student[:, 0] = 1e3
    student.requires_grad_()
    teacher = torch.zeros(2, 5, dtype=dtype)
    teacher[:, 1] = 1e3
    loss = nkd_loss(student, teacher, torch.tensor([0, 2]), 1.0, 1.5)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_one_image_is_its_share_of_a_batch():
    student, teacher = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(2))
    label = torch.tensor([1, 4, 1])
    rows = [nkd_loss(student[i, None], teacher[i, None], label[i, None], 3, 3.5) for i in range(3)]
    whole = nkd_loss(student, teacher, label, 3.0, 3.5)
    assert whole.item() == pytest.approx(torch.stack(rows).mean().item(), rel=1e-6)
