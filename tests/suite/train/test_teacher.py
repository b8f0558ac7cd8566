"""The quick teacher answers as the plain one."""

import pytest
import torch
from contract_networks import VIT
from lightning_fabric import Fabric
from method_setup import make_model
from tape_recorder import TapeRecorder

from suite.config import TrainConfig
from suite.device.precision import HALF, Autocast, round_weights
from suite.train.teacher import CACHED_VALUES, Teacher

TAPS = ("stage2", "map", "pooled")


@pytest.mark.parametrize("images", [1, 7, 64])
def test_in_parts_and_folded_it_says_the_same(images):
    network = make_model("cifar_wrn_16_2", num_classes=10).eval().requires_grad_(False)
    fabric = Fabric(accelerator="cpu", devices=1)
    plain = Teacher(network, fabric, TrainConfig(epochs=1), torch.contiguous_format, fast=False)
    quick = Teacher(network, fabric, TrainConfig(epochs=1), torch.channels_last, fast=True)
    image = torch.randn(images, 3, 32, 32)
    expected, found = plain(image, TAPS), quick(image, TAPS)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
    for tap in TAPS:
        torch.testing.assert_close(found[tap], expected[tap], rtol=1e-4, atol=1e-5)
    assert not found.logits.requires_grad


def test_on_a_cpu_the_largest_map_of_what_it_looks_at_fits_into_the_cache():
    network = make_model("cifar_wrn_16_2", num_classes=10).eval().requires_grad_(False)
    fabric = Fabric(accelerator="cpu", devices=1)
    quick = Teacher(network, fabric, TrainConfig(epochs=1), torch.channels_last, fast=True)
    seen = []
    quick._quick.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    quick(torch.randn(64, 3, 32, 32), ())
    assert seen == [16] * 4
    assert CACHED_VALUES == 16 * 32 * 32 * 32


@pytest.mark.parametrize("name", ["cifar_wrn_16_2", "test_convnext", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_weights_rounded_once_give_the_bits_of_weights_rounded_in_every_call(name, precision):
    options = VIT if "vit" in name else {}
    network = make_model(name, num_classes=10, **options).eval().requires_grad_(False)
    taps = ("stage0", "map", "pooled")
    image = torch.randn(4, 3, 32, 32)
    with Autocast(precision, "cpu").forward_context():
        expected = network(image, taps)
        round_weights(network, precision)
        found = network(image, taps)
    assert {it.dtype for it in network.parameters()} >= {HALF[precision]}
    assert torch.equal(found.logits, expected.logits)
    assert all(torch.equal(found[tap], expected[tap]) for tap in taps)


def test_it_is_recorded_for_the_taps_it_is_asked_for_and_each_view_apart():
    network = make_model("cifar_resnet8", num_classes=10).eval().requires_grad_(False)
    fabric, train = Fabric(accelerator="cpu", devices=1), TrainConfig(epochs=1, batch_size=4)
    layout, recorder = torch.contiguous_format, TapeRecorder()
    plain = Teacher(network, fabric, train, layout, fast=False)
    recorded = Teacher(network, fabric, train, layout, fast=False, record=recorder)
    for taps, sizes in ((("map",), [4] * 6 + [3]), (("pooled",), [4] * 6)):
        for size in sizes:
            image = torch.randn(size, 3, 32, 32)
            expected, found = plain(image, taps), recorded(image, taps)
            assert torch.equal(found.logits, expected.logits)
            assert torch.equal(found[taps[0]], expected[taps[0]])
    assert len(recorder.tapes) == 2
    first = recorded(image, ("pooled",))
    answers = [recorded(torch.flip(image, [3]), ("pooled",), "flipped") for _ in range(6)]
    assert len(recorder.tapes) == 3
    assert torch.equal(first.logits, plain(image, ()).logits)
    assert not torch.equal(first.logits, answers[-1].logits)
