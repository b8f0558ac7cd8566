"""ReviewKD: its loss and its fusion against sums written out by hand."""

import numpy as np
import pytest
import torch
from method_setup import make_batch, make_progress, make_setup, run_both

from baselines.reviewkd import Fusion, ReviewKD, ReviewKDConfig, hcl_loss
from suite.interface.rng import generator


def random(*shape):
    return torch.randn(*shape, generator=generator(0, str(shape)), dtype=torch.float64)


def pooled(array, side):
    """Average pooling of [B, C, n, n] to [B, C, side, side] where side divides n."""
    batch, channels, size, _ = array.shape
    block = size // side
    return array.reshape(batch, channels, side, block, side, block).mean((3, 5))


def test_hcl_is_the_weighted_mean_over_four_scales():
    student, teacher = random(2, 3, 8, 8), random(2, 3, 8, 8) * 0.5
    one, other = student.numpy(), teacher.numpy()
    scales = [(8, 1.0), (4, 0.5), (2, 0.25), (1, 0.125)]
    terms = [w * np.square(pooled(one, n) - pooled(other, n)).mean() for n, w in scales]
    want = sum(terms) / 1.875
    assert hcl_loss(student, teacher).item() == pytest.approx(want, rel=1e-12)


def test_hcl_of_small_maps_leaves_out_poolings_that_change_nothing():
    student, teacher = random(2, 3, 1, 1), random(2, 3, 1, 1) - 1
    want = (student - teacher).square().mean().item()
    assert hcl_loss(student, teacher).item() == pytest.approx(want)
    student, teacher = random(2, 3, 4, 4), -random(2, 3, 4, 4)
    one, other = student.numpy(), teacher.numpy()
    scales = [(4, 1.0), (2, 0.5), (1, 0.25)]
    terms = [w * np.square(pooled(one, n) - pooled(other, n)).mean() for n, w in scales]
    assert hcl_loss(student, teacher).item() == pytest.approx(sum(terms) / 1.75, rel=1e-12)


def test_fusion_weighs_both_inputs_at_every_position():
    """With attention fixed to sigmoid(b) per input, fused = sigmoid(b0) x + sigmoid(b1) y."""
    fusion = Fusion(4, 4, (6, 4, 4), fuses=True).double().eval()
    with torch.no_grad():
        fusion.enter[0].weight.copy_(torch.eye(4)[:, :, None, None])
        fusion.attention.weight.zero_()
        fusion.attention.bias.copy_(torch.tensor([0.0, 2.0]))
    feature, deeper = random(2, 4, 4, 4), random(2, 4, 2, 2)
    imitation, fused = fusion(feature, deeper)
    upsampled = deeper.repeat_interleave(2, 2).repeat_interleave(2, 3)
    entered = feature / (1 + 1e-5) ** 0.5  # BN at its start, in evaluation mode
    want = 0.5 * entered + torch.sigmoid(torch.tensor(2.0, dtype=torch.float64)) * upsampled
    assert torch.allclose(fused, want)
    assert imitation.shape == (2, 6, 4, 4)


def test_levels_are_the_stages_but_the_first_and_the_pooled_feature():
    distiller = ReviewKD(ReviewKDConfig(), make_setup("cifar_resnet8", "cifar_resnet8x4"))
    assert distiller.student_taps() == ("stage1", "stage2", "stage3", "pooled")
    preacts = ("stage1_preact", "stage2_preact", "stage3_preact", "pooled")
    assert distiller.teacher_taps() == preacts
    assert [fusion.attention is not None for fusion in distiller.fusions] == [True] * 3 + [False]
    assert all(fusion.enter[0].out_channels == 64 for fusion in distiller.fusions)


def test_extra_parameters_are_the_references():
    """mdistiller's ABF modules for resnet32x4 -> resnet8x4, by hand: inner width 256."""
    distiller = ReviewKD(ReviewKDConfig(), make_setup("cifar_resnet8x4", "cifar_resnet8x4"))
    inner, total = 256, 0
    for channels, fuses in ((64, True), (128, True), (256, True), (256, False)):
        total += channels * inner + 2 * inner + 9 * inner * channels + 2 * channels
        total += fuses * (2 * inner * 2 + 2)
    assert sum(p.numel() for p in distiller.parameters()) == total


def test_the_weight_warms_up_over_epochs():
    setup = make_setup("cifar_resnet8", "cifar_resnet8x4")
    distiller = ReviewKD(ReviewKDConfig(reviewkd_weight=2.0, warmup_epochs=4), setup)
    batch = make_batch(setup)
    outputs = run_both(setup, distiller, batch)
    early = distiller.losses(batch, *outputs, make_progress(epoch=1))["reviewkd"]
    late = distiller.losses(batch, *outputs, make_progress(epoch=9))["reviewkd"]
    assert late.item() == pytest.approx(4 * early.item(), rel=1e-5)
    late.backward()
    grads = [it.grad for it in distiller.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize(
    ("student", "teacher"),
    [("test_resnet", "test_vit"), ("test_vit", "test_resnet"), ("cifar_vgg8", "cifar_wrn_16_2")],
)
def test_networks_of_other_sizes_and_numbers_of_stages_meet(student, teacher):
    setup = make_setup(student, teacher)
    distiller = ReviewKD(ReviewKDConfig(), setup)
    batch = make_batch(setup)
    terms = distiller.losses(batch, *run_both(setup, distiller, batch), make_progress())
    assert terms["reviewkd"].isfinite()
