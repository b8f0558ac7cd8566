"""MLKD against its authors' numbers, what its masks come to, and what the paper means by hand."""

import math
from dataclasses import replace

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup

from baselines.lskd import LSKD, LSKDConfig
from baselines.mlkd import (
    MLKD,
    STRONG,
    MLKDConfig,
    Views,
    batch_loss,
    class_loss,
    paper_terms,
    shares,
)
from suite.interface.taps import Outputs

PARTS = {"kd": ("kd_weak", "kd_strong"), "kd_weak": ("kd_weak",), "kd_strong": ("kd_strong",)}
PARTS |= {"cc": ("cc",), "bc": ("bc",), "ce": ("ce",)}


def outputs(case, who):
    weak, strong = (case.inputs[f"y_{who}_{view}"] for view in ("weak", "strong"))
    return Outputs(weak, views={STRONG: Outputs(strong)})


def terms_of(case, method, config):
    setup = make_setup()
    batch = replace(make_batch(setup), label=case.inputs["target"])
    given = outputs(case, "s"), outputs(case, "t")
    return method(config, setup).losses(batch, *given, make_progress())


def check_gradients(case, loss, name="loss"):
    for view in ("weak", "strong"):
        key = f"grad_y_s_{view}" if name == "loss" else f"grad_{name}_y_s_{view}"
        if key in case.arrays:
            leaf = case.inputs[f"y_s_{view}"]
            (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=True)
            case.check_gradient(gradient, f"y_s_{view}", name)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["mlkd_b8c10_cifar", "mlkd_b6c20_imagenet"])
def test_all_terms_and_gradients_are_the_references(golden, name, dtype):
    case = golden(name, dtype)
    config = MLKDConfig(
        temperature=case.hyper["T"],
        ce_weight=case.hyper["ce_weight"],
        kd_weight=case.hyper["kd_weight"],
    )
    terms = terms_of(case, MLKD, config)
    for part, of in PARTS.items():
        loss = sum(terms[it] for it in of)
        case.check_loss(loss, f"loss_{part}")
        check_gradients(case, loss, f"loss_{part}")
    case.check_loss(sum(terms.values()))
    check_gradients(case, sum(terms.values()))


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_with_standardized_logits_it_is_the_references(golden, dtype):
    case = golden("mlkd_ls_b8c12_t2w9", dtype)
    weights = {"ce_weight": case.hyper["ce_weight"], "weight": case.hyper["kd_weight"]}
    config = LSKDConfig(base="mlkd", temperature=case.hyper["T"], **weights)
    terms = terms_of(case, LSKD, config)
    case.check_loss(terms["ce"], "loss_ce")
    case.check_loss(sum(terms.values()))
    check_gradients(case, sum(terms.values()))


def test_half_of_the_images_and_of_the_classes_are_below_the_median():
    images, classes = shares(torch.diag(torch.arange(1.0, 7.0)))
    assert (float(images), float(classes)) == (0.5, 0.5)


def test_relations_of_two_images_by_hand():
    """The teacher is even, the student says 1:3 and 3:1."""
    odd = math.log(3)
    student, teacher = torch.tensor([[0.0, odd], [odd, 0.0]]), torch.zeros(2, 2)
    # P_s P_s' has 10/16 on its diagonal and 6/16 beside it, P_t P_t' has 1/2 everywhere
    assert float(batch_loss(student, teacher, 1.0)) == pytest.approx(4 * (1 / 8) ** 2 / 2)
    assert float(class_loss(student, teacher, 1.0)) == pytest.approx(4 * (1 / 8) ** 2 / 2)


def test_the_paper_has_each_part_of_both_views_once():
    stream = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(2, 4, 3, generator=stream)
    terms = paper_terms(Views(ours, ours), Views(theirs, theirs), (2.0,))
    assert float(terms["kd_weak"]) == pytest.approx(float(terms["kd_strong"]))
    assert float(terms["cc"]) == pytest.approx(2 * float(class_loss(ours, theirs, 2.0)))
    assert float(terms["bc"]) == pytest.approx(2 * float(batch_loss(ours, theirs, 2.0)))
