"""VkD against its authors' numbers, and projectors that stay orthonormal while they learn."""

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup, run_both
from torch.nn import functional

from baselines.kd import kd_loss
from baselines.vkd import PROJECTORS, VkD, VkDConfig, vkd_loss

CASES = ("vkd_b6_8to12", "vkd_b4_12to8")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_terms_and_gradients_for_a_given_projector_are_the_references(golden, name, dtype):
    case = golden(name, dtype)
    tokens, weight = case.inputs["tokens_s"], case.params["projector.weight"].requires_grad_()
    projected = functional.linear(tokens.mean(1), weight)
    representation = vkd_loss(projected, case.inputs["map_t"].mean((2, 3)))
    divergence = kd_loss(case.inputs["y_s_dist"], case.inputs["y_t"], 1.0)
    case.check_loss(representation, "loss_repr")
    case.check_loss(divergence, "loss_kl")
    case.check_output(projected, "projected")
    (representation + divergence).backward()
    case.check_gradient(tokens.grad, "tokens_s")
    case.check_gradient(weight.grad, "projector.weight")
    case.check_gradient(case.inputs["y_s_dist"].grad, "y_s_dist")


def test_two_dimensions_by_hand():
    """(1, 3) normalises to (-1, 1); gaps of 1/2 and 3 cost 1/8 and 5/2."""
    teacher = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    projected = torch.tensor([[-0.5, 4.0]], dtype=torch.float64)
    assert vkd_loss(projected, teacher).item() == pytest.approx((1 / 8 + 5 / 2) / 2, rel=1e-4)


@pytest.mark.parametrize("variant", ["code", "paper"])
@pytest.mark.parametrize(("student", "teacher"), [(8, 12), (12, 8), (8, 8), (5, 1)])
def test_the_projector_stays_orthonormal_in_training(variant, student, teacher):
    torch.manual_seed(0)
    projector = PROJECTORS[variant](student, teacher)
    optimizer = torch.optim.SGD(projector.parameters(), lr=0.5, momentum=0.9, weight_decay=5e-4)
    features, target = torch.randn(16, student), torch.randn(16, teacher)
    before = projector.weight.detach().clone()
    for _ in range(20):
        optimizer.zero_grad()
        vkd_loss(projector(features), target).backward()
        optimizer.step()
    weight = projector.weight.detach()
    gram = weight @ weight.T if teacher < student else weight.T @ weight
    torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)
    assert (weight - before).abs().max() > 1e-3 or min(student, teacher) == 1


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_a_saved_projector_comes_back(variant):
    torch.manual_seed(0)
    first, second = (PROJECTORS[variant](6, 9) for _ in range(2))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.weight, second.weight)


def test_the_methods_terms_are_the_losses_of_the_means_of_the_maps():
    setup = make_setup("cifar_resnet8", "cifar_resnet8x4")
    batch = make_batch(setup, size=1)
    method = VkD(VkDConfig(vkd_weight=3.0, kd_weight=0.5), setup)
    student, teacher = run_both(setup, method, batch)
    terms = method.losses(batch, student, teacher, make_progress())
    projected = student["map"].mean((2, 3)) @ method.projector.weight.T
    expected = 3 * vkd_loss(projected, teacher["map"].mean((2, 3)))
    assert terms["vkd"].item() == pytest.approx(expected.item(), rel=1e-5)
    expected = kd_loss(student.logits, teacher.logits, 1.0) / 2
    assert terms["kd"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_constant_teacher_feature_is_finite():
    projected = torch.randn(2, 4, requires_grad=True)
    loss = vkd_loss(projected, torch.full((2, 4), 7.0))
    loss.backward()
    assert loss.isfinite()
    assert projected.grad.isfinite().all()
