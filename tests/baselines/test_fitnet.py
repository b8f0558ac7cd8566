"""FitNet against mdistiller's numbers, and pairs whose maps the references refuse."""

import copy

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup, run_both
from torch import nn

from baselines._adapters import BatchNorm, ConvReg, paired_stages, pool_to_smaller
from baselines.fitnet import FitNet, FitNetConfig, hint_loss
from suite.interface.distiller import UnsupportedPair

CASES = ("fitnet_equal_8to8", "fitnet_half_8to4", "fitnet_double_4to8")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_regressor_loss_and_gradients_are_mdistillers(golden, name, dtype):
    case = golden(name, dtype)
    student, teacher = case.inputs["f_s"], case.inputs["f_t"]
    regressor = ConvReg(student.shape[1:], teacher.shape[1:]).to(dtype)
    regressor.load_state_dict(case.state("reg"), strict=False)  # no num_batches_tracked
    regressed = regressor(student)
    loss = hint_loss(regressed, teacher)
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(student.grad, "f_s")
    for leaf, parameter in regressor.named_parameters():
        case.check_gradient(parameter.grad, f"reg.{leaf}")
    case.check_output(regressed, "reg_out")
    case.check_output(regressor.bn.running_mean, "bn_running_mean_after")
    case.check_output(regressor.bn.running_var, "bn_running_var_after")


@pytest.mark.parametrize(
    ("student", "teacher", "layer", "kernel", "after"),
    [
        ((6, 8, 8), (10, 8, 8), nn.Conv2d, (1, 1), (8, 8)),
        ((6, 8, 8), (10, 4, 4), nn.Conv2d, (3, 3), (4, 4)),
        ((6, 4, 4), (10, 8, 8), nn.ConvTranspose2d, (4, 4), (8, 8)),
        ((6, 7, 9), (10, 5, 8), nn.Conv2d, (3, 2), (5, 8)),
        ((6, 9, 9), (10, 1, 1), nn.Conv2d, (9, 9), (1, 1)),
        ((6, 10, 10), (10, 1, 1), nn.Conv2d, (1, 1), (1, 1)),  # pooled: kernel would be 10
        ((6, 7, 7), (10, 16, 16), nn.Conv2d, (1, 1), (7, 7)),  # the reference raises
        ((6, 7, 3), (10, 5, 8), nn.Conv2d, (1, 1), (5, 3)),
    ],
)
def test_regressor_follows_the_ratio_of_sizes(student, teacher, layer, kernel, after):
    regressor = ConvReg(student, teacher)
    assert type(regressor.conv) is layer
    assert regressor.conv.kernel_size == kernel
    assert regressor(torch.randn(2, *student)).shape == (2, 10, *after)


def test_loss_is_the_mean_square_over_all_entries():
    assert hint_loss(torch.full((2, 3, 4, 4), 1.5), torch.ones(2, 3, 4, 4)).item() == 0.25


def test_a_larger_hint_is_average_pooled():
    hint = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])  # mean 4
    assert hint_loss(torch.ones(1, 1, 1, 1), hint).item() == 9.0


def test_pooling_brings_each_axis_to_the_smaller_size():
    student, teacher = pool_to_smaller(torch.zeros(2, 3, 8, 4), torch.zeros(2, 5, 4, 6))
    assert student.shape == (2, 3, 4, 4)
    assert teacher.shape == (2, 5, 4, 4)


def test_half_precision_inputs_give_a_float32_loss():
    for dtype in (torch.float16, torch.bfloat16):
        loss = hint_loss(torch.full((1, 1, 1, 1), 300.0, dtype=dtype), torch.zeros(1, 1, 1, 1))
        assert loss.item() == pytest.approx(9e4)  # above float16's largest number


def test_one_value_per_channel_is_normalised_by_the_running_statistics():
    layer = BatchNorm(2)
    layer.running_mean.fill_(1.0)
    layer.running_var.fill_(4.0)
    out = layer(torch.tensor([[[[5.0]], [[1.0]]]]))
    assert out.flatten().tolist() == pytest.approx([2.0, 0.0], abs=1e-4)
    assert layer.running_mean.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("student", "teacher"),
    [("test_resnet", "test_vit"), ("test_convnext", "test_resnet"), ("test_vit", "test_resnet")],
)
def test_unlike_networks_are_joined_at_the_stage_equally_far_from_the_end(
    student, teacher, memory_format
):
    setup = make_setup(student, teacher)
    fitnet = FitNet(FitNetConfig(), setup)
    names = setup.student.stages, setup.teacher.stages
    from_the_end = [
        len(all_) - all_.index(it) for all_, it in zip(names, _taps(fitnet), strict=True)
    ]
    assert from_the_end[0] == from_the_end[1]
    batch = make_batch(setup)
    batch = type(batch)(
        batch.image.contiguous(memory_format=memory_format), batch.label, batch.index
    )
    terms = fitnet.losses(batch, *run_both(setup, fitnet, batch), make_progress())
    assert set(terms) == {"ce", "hint"}
    terms["hint"].backward()
    assert terms["hint"].isfinite()
    assert any(it.grad is not None and it.grad.any() for it in setup.student.parameters())


def test_the_guided_stage_can_be_chosen():
    fitnet = FitNet(FitNetConfig(hint="stage3", guided="stage1"), make_setup())
    assert _taps(fitnet) == ("stage1", "stage3")


def test_an_unknown_stage_is_refused_in_one_line():
    with pytest.raises(UnsupportedPair, match=r"student .* no tap 'stage9', only stage0, .*$"):
        FitNet(FitNetConfig(guided="stage9"), make_setup())
    with pytest.raises(UnsupportedPair, match=r"teacher .* no tap 'stage9'"):
        FitNet(FitNetConfig(hint="stage9"), make_setup())


def test_stages_are_paired_from_the_deep_end_without_either_networks_first():
    """test_resnet has five stages, its stem first; test_vit has four."""
    pairs = (("stage2", "stage1"), ("stage3", "stage2"), ("stage4", "stage3"))
    assert paired_stages(make_setup("test_resnet", "test_vit")) == pairs
    turned = tuple((teacher, student) for student, teacher in pairs)
    assert paired_stages(make_setup("test_vit", "test_resnet")) == turned
    alike = tuple((f"stage{i}", f"stage{i}") for i in (1, 2, 3, 4))
    assert paired_stages(make_setup("test_resnet", "test_resnet")) == alike


def test_the_weight_multiplies_the_mean_square():
    setup = make_setup()
    batch = make_batch(setup)
    light = FitNet(FitNetConfig(hint_weight=1.0), setup)
    heavy = copy.deepcopy(light)
    heavy.config = FitNetConfig()
    outputs = run_both(setup, light, batch)
    one = light.losses(batch, *outputs, make_progress())["hint"]
    hundred = heavy.losses(batch, *outputs, make_progress())["hint"]
    assert hundred.item() == pytest.approx(100 * one.item(), rel=1e-6)


def _taps(fitnet):
    (guided,), (hint,) = fitnet.student_taps(), fitnet.teacher_taps()
    return guided, hint
