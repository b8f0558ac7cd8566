"""WKD-L against its authors' numbers: transport, its marginals and the costs between classes."""

from dataclasses import replace

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup

from baselines._decoupled import soft_target_loss
from baselines._losses import is_label
from baselines._schedules import cosine_decay
from baselines._transport import (
    class_distance,
    classifier_distance,
    sinkhorn,
    transport_cost,
    transport_loss,
)
from baselines.wkd_l import WKDL, WKDLConfig, wkd_logit_loss
from suite.interface.distiller import UnsupportedPair
from suite.interface.taps import Outputs

CASES = ("wkdl_b6c10_t8g600", "wkdl_b8c20_t2g30")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_parts_sum_and_gradients_are_the_references(golden, name, dtype):
    case = golden(name, dtype)
    student, teacher, label = (case.inputs[key] for key in ("y_s", "y_t", "target"))
    hyper = case.hyper
    cost = transport_cost(case.inputs["cost"], hyper["sharpen"])
    distance = wkd_logit_loss(
        student,
        teacher,
        label,
        cost,
        hyper["T"],
        hyper["sinkhorn_lambda"],
        hyper["sinkhorn_iter"],
    )
    target = soft_target_loss(student, teacher, label)
    losses = {
        "loss": target + hyper["gamma"] * distance,
        "loss_target": target,
        "loss_wd": distance,
    }
    for loss_name, loss in losses.items():
        case.check_loss(loss, loss_name)
        (gradient,) = torch.autograd.grad(loss, student, retain_graph=True)
        case.check_gradient(gradient, "y_s", loss_name)


@pytest.mark.parametrize("name", CASES)
def test_the_plans_marginals_are_the_references(golden, name):
    case = golden(name, torch.float64)
    hyper, label = case.hyper, case.inputs["target"]
    cost = transport_cost(case.inputs["cost"], hyper["sharpen"])
    target = is_label(label, len(cost))
    shares = [
        (case.inputs[key].detach() / hyper["T"]).masked_fill(target, -torch.inf).softmax(1)
        for key in ("y_s", "y_t")
    ]
    kernel = torch.exp(-cost / hyper["sinkhorn_lambda"])
    scale_s, scale_t = sinkhorn(*shares, ~target, kernel, hyper["sinkhorn_iter"])
    rows, columns = scale_s * (scale_t @ kernel.T), (scale_s @ kernel) * scale_t
    case.check_output(rows[~target].view(len(label), -1), "flow_row_sum")
    case.check_output(columns[~target].view(len(label), -1), "flow_col_sum")


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_costs_between_classes_are_the_references(golden, dtype):
    case = golden("wkd_cost_cka_c6", dtype)
    distance = class_distance(case.inputs["feat"])
    case.check_output(distance, "dist")
    case.check_output(transport_cost(distance, 1.0), "cost_sharpened1")
    case.check_output(transport_cost(distance, 2.0), "cost_sharpened2")


def test_features_that_differ_by_a_rotation_are_at_distance_0_and_unrelated_ones_at_1():
    first = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
    turned = first @ torch.tensor([[0.0, 1], [-1, 0]], dtype=torch.float64) + 5
    constant = torch.ones(4, 2, dtype=torch.float64)
    found = class_distance(torch.stack([first, turned, constant]))
    assert found[0, 1].item() == pytest.approx(0.0, abs=1e-12)
    assert found[0, 2].item() == 1.0
    assert found[2, 2].item() == 1.0


def test_moving_half_the_mass_by_hand():
    """Kernel almost diagonal: half of the mass goes from class 0 to class 1, at cost 1 each."""
    cost = 1.0 - torch.eye(2, dtype=torch.float64)
    student = torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    teacher = torch.tensor([[0.25, 0.75]], dtype=torch.float64)
    every = torch.ones(1, 2, dtype=torch.bool)
    loss = transport_loss(student, teacher, every, cost, regularization=0.1, iterations=500)
    assert loss.item() == pytest.approx(0.5, abs=1e-3)


def test_of_two_classes_one_is_left_and_nothing_moves():
    student = torch.tensor([[2.0, -1.0]], requires_grad=True)
    cost = transport_cost(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 1.0)
    loss = wkd_logit_loss(student, torch.tensor([[0.0, 3.0]]), torch.tensor([1]), cost, 2.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert student.grad.abs().max().item() < 1e-6


def test_predictions_that_underflow_are_finite():
    student = torch.tensor([[1e4, 0.0, -1e4, 0.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, -1e4, 0.0, 1e4]])
    cost = transport_cost(1 - torch.eye(4), 0.0)
    loss = wkd_logit_loss(student, teacher, torch.tensor([1]), cost, 1.0)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("costs", ["map", "logits", "classifier"])
def test_costs_of_a_real_teacher(costs):
    setup = make_setup("cifar_resnet8", "cifar_resnet8x4")
    cost = WKDL(WKDLConfig(costs=costs), setup).cost
    assert cost.shape == (5, 5)
    torch.testing.assert_close(cost, cost.T)
    assert cost.diagonal().max() < 1e-5
    apart = cost[~torch.eye(5, dtype=torch.bool)]
    assert apart.min() > 0
    assert apart.max() < 1 - torch.exp(torch.tensor(-2.0))  # 1 - cosine is at most 2
    if costs == "classifier":
        weight = setup.teacher.head.weight.detach()
        assert torch.equal(cost, transport_cost(classifier_distance(weight), 1.0))


def test_classes_pair_their_images_in_the_order_of_the_index_whatever_the_order_of_the_pass():
    setup = make_setup()

    def backwards(taps):
        return reversed(list(setup.teacher_pass(taps)))

    config = WKDLConfig(costs="logits")
    assert torch.equal(
        WKDL(config, setup).cost, WKDL(config, replace(setup, teacher_pass=backwards)).cost
    )


def test_a_pass_over_a_part_of_the_set_is_no_reason_to_refuse():
    """The trial before a sweep shows a method a few images."""
    setup = make_setup()

    def few(taps):
        for batch, outputs in setup.teacher_pass(taps):
            yield (
                type(batch)(batch.image[:1], batch.label[:1], batch.index[:1]),
                Outputs(outputs.logits[:1], {tap: outputs[tap][:1] for tap in taps}),
            )
            return

    for costs in ("map", "logits"):
        assert WKDL(WKDLConfig(costs=costs), replace(setup, teacher_pass=few)).cost.isfinite().all()


def test_a_class_without_two_images_is_refused_in_one_line():
    setup = make_setup(train_size=7)
    with pytest.raises(UnsupportedPair, match="one class has 1; costs='classifier'") as refusal:
        WKDL(WKDLConfig(costs="logits"), setup)
    assert "\n" not in str(refusal.value)
    WKDL(WKDLConfig(costs="classifier"), setup)


@pytest.mark.parametrize(("epoch", "factor"), [(1, 1.0), (150, 1.0), (195, 0.5), (240, 0.0)])
def test_the_weight_decays_after_epoch_150_of_240_and_the_target_part_does_not(epoch, factor):
    progress = make_progress(epoch, epochs=240)
    assert cosine_decay(progress, 150) == pytest.approx(factor)
    setup = make_setup()
    batch = make_batch(setup)
    method = WKDL(WKDLConfig(costs="classifier"), setup)
    student, teacher = torch.randn(2, len(batch), 5, generator=torch.Generator().manual_seed(3))
    terms = method.losses(batch, Outputs(student), Outputs(teacher), progress)
    full = 600 * wkd_logit_loss(student, teacher, batch.label, method.cost, 8.0)
    assert terms["wkd"].item() == pytest.approx(factor * full.item(), rel=1e-5)
    target = soft_target_loss(student, teacher, batch.label)
    assert terms["target"].item() == pytest.approx(target.item(), rel=1e-6)
