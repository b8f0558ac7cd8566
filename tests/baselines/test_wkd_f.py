"""WKD-F against its authors' numbers, cells by hand and maps of one pixel."""

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup, run_both

from baselines._adapters import ConvReg
from baselines.wkd_f import WKDF, WKDFConfig, cells, wkd_feature_terms
from suite.interface.distiller import UnsupportedPair


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["wkdf_g1_b4c6_8x8", "wkdf_g4_b3c5_8x8"])
def test_parts_sum_and_gradients_are_the_references(golden, name, dtype):
    case = golden(name, dtype)
    student, teacher, hyper = case.inputs["f_s"], case.inputs["f_t"], case.hyper
    mean, deviation = wkd_feature_terms(student, teacher, hyper["grid"], hyper["eps"])
    losses = {
        "loss": hyper["mean_cov_ratio"] * mean + deviation,
        "loss_mean": mean,
        "loss_cov": deviation,
    }
    for loss_name, loss in losses.items():
        case.check_loss(loss, loss_name)
        (gradient,) = torch.autograd.grad(loss, student, retain_graph=True)
        case.check_gradient(gradient, "f_s", loss_name)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_projector_loss_and_gradients_are_the_references(golden, dtype):
    case = golden("wkdf_conv1x1_b4_4to6", dtype)
    student, teacher, hyper = case.inputs["f_s"], case.inputs["f_t"], case.hyper
    projector = ConvReg(student.shape[1:], teacher.shape[1:]).to(dtype)
    projector.load_state_dict(case.state("reg"), strict=False)  # no num_batches_tracked
    mean, deviation = wkd_feature_terms(projector(student), teacher, hyper["grid"], hyper["eps"])
    loss = hyper["mean_cov_ratio"] * mean + deviation
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(student.grad, "f_s")
    for leaf, parameter in projector.named_parameters():
        case.check_gradient(parameter.grad, f"reg.{leaf}")


def test_two_pixels_by_hand():
    """Means 1 and 4; sample deviations sqrt(2) and sqrt(8); no epsilon."""
    student = torch.tensor([0.0, 2.0], dtype=torch.float64).view(1, 1, 1, 2)
    teacher = torch.tensor([2.0, 6.0], dtype=torch.float64).view(1, 1, 1, 2)
    mean, deviation = wkd_feature_terms(student, teacher, epsilon=0.0)
    assert mean.item() == pytest.approx(9.0)
    assert deviation.item() == pytest.approx(2.0)  # (2 sqrt 2 - sqrt 2)^2


def test_cells_are_those_of_adaptive_pooling():
    """Seven pixels in four cells: 0-1, 1-3, 3-5, 5-6; neighbours share a pixel."""
    rows = [(rows.start, rows.stop) for rows, _ in cells(7, 8, 4)[::4]]
    assert rows == [(0, 2), (1, 4), (3, 6), (5, 7)]


@pytest.mark.parametrize(("size", "grid"), [(1, 1), (4, 4), (2, 4)])
def test_cells_of_one_pixel_are_refused_where_the_reference_gives_nan(size, grid):
    maps = torch.randn(2, 3, size, size)
    with pytest.raises(UnsupportedPair, match="cells of one pixel") as refusal:
        wkd_feature_terms(maps, maps, grid)
    assert "\n" not in str(refusal.value)


def test_a_pair_with_such_cells_is_refused_before_training():
    setup = make_setup("cifar_resnet8", "cifar_resnet8x4")  # 8x8
    WKDF(WKDFConfig(grid=4), setup)
    with pytest.raises(UnsupportedPair, match="8x8 in 8x8 cells"):
        WKDF(WKDFConfig(grid=8), setup)


@pytest.mark.parametrize("projector", ["conv1x1", "bottleneck"])
@pytest.mark.parametrize("student", ["cifar_resnet8", "cifar_mobilenet_v2"])
def test_both_projectors_take_equal_and_unequal_maps(projector, student):
    setup = make_setup(student, "cifar_resnet8x4")
    config = WKDFConfig(projector=projector)
    if student == "cifar_mobilenet_v2":  # 2x2 beside 8x8
        assert setup.student.shapes["map"][1:] != setup.teacher.shapes["map"][1:]
    method = WKDF(config, setup)
    batch = make_batch(setup, size=2)
    terms = method.losses(batch, *run_both(setup, method, batch), make_progress())
    assert all(term.isfinite() for term in terms.values())


def test_constant_maps_are_finite():
    student = torch.zeros(1, 3, 2, 2, requires_grad=True)
    loss = sum(wkd_feature_terms(student, torch.ones(1, 3, 2, 2)))
    loss.backward()
    assert loss.item() == pytest.approx(3.0)
    assert student.grad.isfinite().all()
