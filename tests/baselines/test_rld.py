"""RLD against its authors' numbers, by hand, and labels at the ends of the teacher's ranking."""

import math

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup

from baselines.lskd import LSKD, LSKDConfig
from baselines.rld import RLD, RLDConfig, ranked_above, rld_terms
from suite.interface.taps import Outputs

CASES = ("rld_b8c10_a1b8t4", "rld_b16c100_a1b8t4")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_parts_sum_mask_and_gradients_are_the_references(golden, name, dtype):
    case = golden(name, dtype)
    student, teacher, label = (case.inputs[key] for key in ("y_s", "y_t", "target"))
    hyper = case.hyper
    scd, mcd = rld_terms(student, teacher, label, hyper["T"], hyper["alpha_T"])
    found = {"loss": hyper["alpha"] * scd + hyper["beta"] * mcd, "loss_scd": scd, "loss_mcd": mcd}
    for loss_name, loss in found.items():
        case.check_loss(loss, loss_name)
        (gradient,) = torch.autograd.grad(loss, student, retain_graph=True)
        case.check_gradient(gradient, "y_s", loss_name)
    assert torch.equal(ranked_above(teacher, label), torch.from_numpy(case.arrays["out_mask"] > 0))


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", [*CASES, "rld_ls_b8c20_a9b72t2"])
def test_the_whole_method_warms_up_as_the_reference(golden, name, dtype):
    case = golden(name, dtype)
    hyper, setup = case.hyper, make_setup()
    batch = make_batch(setup)
    batch = type(batch)(batch.image, case.inputs["target"], batch.index)
    if hyper["logit_stand"]:
        method = LSKD(LSKDConfig(base="rld"), setup)
    else:
        alone = None if hyper["alpha_T"] == hyper["T"] else hyper["alpha_T"]
        method = RLD(RLDConfig(temperature=hyper["T"], alpha_temperature=alone), setup)
    outputs = Outputs(case.inputs["y_s"]), Outputs(case.inputs["y_t"])
    terms = method.losses(batch, *outputs, make_progress(hyper["epoch"], epochs=240))
    case.check_loss(sum(terms.values()), "loss_ce_plus_warm_rld")


def test_three_classes_by_hand():
    """The teacher's top is class 1 with 1/2, the label 0 has 1/4 of the student: KL of the pairs
    (1/2, 1/2) and (1/4, 3/4) is log 2 / 2 + log(2/3) / 2. One class is below the label: no MCD."""
    teacher = torch.tensor([[3 / 8, 1 / 2, 1 / 8]], dtype=torch.float64).log()
    student = torch.tensor([[1 / 4, 3 / 8, 3 / 8]], dtype=torch.float64).log()
    scd, mcd = rld_terms(student, teacher, torch.tensor([0]), 1.0)
    assert scd.item() == pytest.approx(math.log(2) / 2 + math.log(2 / 3) / 2)
    assert mcd.item() == 0.0


def test_two_classes_below_the_label_by_hand():
    """Of the classes 2 and 3 the teacher has (3/4, 1/4), the student (1/2, 1/2)."""
    teacher = torch.tensor([[0.3, 0.5, 0.15, 0.05]], dtype=torch.float64).log()
    student = torch.tensor([[0.1, 0.1, 0.4, 0.4]], dtype=torch.float64).log()
    _, mcd = rld_terms(student, teacher, torch.tensor([0]), 1.0)
    assert mcd.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_a_label_that_comes_last_for_the_teacher_gives_no_correlation_and_no_gradient():
    student = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    teacher = torch.tensor([[0.0, 1.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.0]])  # a tie counts as above
    _, mcd = rld_terms(student, teacher, torch.tensor([0, 2]), 4.0)
    mcd.backward()
    assert mcd.item() == 0.0
    assert student.grad.abs().max().item() == 0.0


def test_ties_with_the_label_are_left_out():
    mask = ranked_above(torch.tensor([[1.0, 1.0, 0.0, 2.0]]), torch.tensor([0]))
    assert mask.tolist() == [[True, True, False, True]]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_probabilities_that_underflow_stay_finite(alpha):
    """The reference takes the logarithm of 0, and 0 times infinity where alpha is 0."""
    student = torch.zeros(4, 5)
    student[:, 0] = -1e3
    student.requires_grad_()
    teacher = torch.zeros(4, 5)
    teacher[:, 0] = 1e3
    label = torch.tensor([0, 1, 2, 0])
    scd, mcd = rld_terms(student, teacher, label, 1.0)
    (alpha * scd + 8 * mcd).backward()
    assert scd.isfinite()
    assert mcd.isfinite()
    assert student.grad.isfinite().all()


def test_two_classes_and_one_image_are_finite():
    student = torch.tensor([[0.5, -0.5]], requires_grad=True)
    scd, mcd = rld_terms(student, torch.tensor([[1.0, 3.0]]), torch.tensor([1]), 4.0)
    (scd + mcd).backward()
    assert mcd.item() == 0.0
    assert student.grad.isfinite().all()
