"""OFA: its loss by hand, its relation to KD, and its exits."""

import math

import pytest
import torch
from method_setup import make_batch, make_progress, make_setup, run_both

from baselines.kd import kd_loss
from baselines.ofa import OFA, OFAConfig, make_exit, ofa_loss
from suite.interface.rng import generator

LABEL = torch.tensor([0, 2, 1, 1])


def logits(seed):
    return torch.randn(4, 3, generator=generator(seed, "ofa"), dtype=torch.float64)


def test_two_classes_by_hand():
    """p_t = (3/4, 1/4), p_s = (1/2, 1/2), y = 0, gamma 2: (1.75^2 - 1 + 0.25^2) log 2."""
    teacher = torch.tensor([[math.log(3.0), 0.0]])
    loss = ofa_loss(torch.zeros(1, 2), teacher, torch.tensor([0]), 2.0, 1.0)
    assert loss.item() == pytest.approx((1.75**2 - 1 + 0.0625) * math.log(2), rel=1e-6)


def test_gamma_one_is_kd_up_to_the_teachers_entropy():
    student, teacher = logits(0).requires_grad_(), logits(1)
    p = teacher.softmax(1)
    entropy = -(p * p.log()).sum(1).mean()
    found = ofa_loss(student, teacher, LABEL, 1.0, 1.0)
    assert found.item() == pytest.approx((kd_loss(student, teacher, 1.0) + entropy).item())
    (ours,) = torch.autograd.grad(found, student)
    (theirs,) = torch.autograd.grad(kd_loss(student, teacher, 1.0), student)
    assert torch.allclose(ours, theirs)


def test_a_larger_gamma_weighs_the_true_class_more_and_the_others_less():
    weights = {}
    for gamma in (1.0, 1.5):
        log_student = torch.zeros(1, 3, dtype=torch.float64).requires_grad_()
        teacher = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64)
        loss = ofa_loss(log_student, teacher, torch.tensor([0]), gamma, 1.0)
        (weights[gamma],) = torch.autograd.grad(loss, log_student)
    assert weights[1.5][0, 0] < weights[1.0][0, 0]  # pulled up harder
    assert weights[1.5][0, 2] > weights[1.0][0, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_huge_logits_give_finite_losses_and_gradients(dtype):
    student = torch.tensor([[1e3, -1e3, 0.0]] * 4, dtype=dtype).requires_grad_()
    loss = ofa_loss(student, -student.detach(), LABEL, 1.4, 1.0)
    loss.backward()
    assert loss.isfinite()
    assert loss.dtype == torch.float32
    assert student.grad.isfinite().all()


def test_exits_double_their_channels_and_end_in_the_wanted_width():
    exit_ = make_exit(16, 128, 3, 10)
    made = [
        layer.out_channels
        for block in list(exit_)[:3]
        for layer in block
        if hasattr(layer, "out_channels")
    ]
    assert made == [16, 16, 16, 32, 32, 32, 32, 64, 64, 64, 64, 128]
    assert exit_(torch.randn(2, 16, 8, 8)).shape == (2, 10)
    assert make_exit(16, 128, 0, 10)(torch.randn(2, 16, 2, 2)).shape == (2, 10)


def test_terms_sum_over_exits_and_reach_every_stage():
    setup = make_setup("cifar_resnet8", "test_vit")
    distiller = OFA(OFAConfig(ofa_weight=0.5), setup)
    assert distiller.student_taps() == setup.student.stages
    batch = make_batch(setup)
    student, teacher = run_both(setup, distiller, batch)
    terms = distiller.eval().losses(batch, student, teacher, make_progress())
    exits = zip(distiller.student_taps(), distiller.exits, strict=True)
    want = sum(
        ofa_loss(exit_(student[tap]), teacher.logits, batch.label, 1.0, 1.0) for tap, exit_ in exits
    )
    assert set(terms) == {"ce", "kd", "ofa"}
    assert terms["ofa"].item() == pytest.approx(0.5 * want.item(), rel=1e-5)
    terms["ofa"].backward()
    assert setup.student.classifier.weight.grad is None
    assert setup.student.model.stem[0].weight.grad.abs().sum() > 0
