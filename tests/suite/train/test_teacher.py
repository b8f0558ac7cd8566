"""The quick teacher answers as the plain one."""

import pytest
import torch
from lightning_fabric import Fabric
from method_setup import make_model

from suite.train.teacher import CACHED_VALUES, Teacher

TAPS = ("stage2", "map", "pooled")


@pytest.mark.parametrize("images", [1, 7, 64])
def test_in_parts_and_folded_it_says_the_same(images):
    network = make_model("cifar_wrn_16_2", num_classes=10).eval().requires_grad_(False)
    fabric = Fabric(accelerator="cpu", devices=1)
    plain = Teacher(network, fabric, torch.contiguous_format, fast=False)
    quick = Teacher(network, fabric, torch.channels_last, fast=True)
    image = torch.randn(images, 3, 32, 32)
    expected, found = plain(image, TAPS), quick(image, TAPS)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
    for tap in TAPS:
        torch.testing.assert_close(found[tap], expected[tap], rtol=1e-4, atol=1e-5)
    assert not found.logits.requires_grad


def test_on_a_cpu_the_largest_map_of_what_it_looks_at_fits_into_the_cache():
    network = make_model("cifar_wrn_16_2", num_classes=10).eval().requires_grad_(False)
    quick = Teacher(network, Fabric(accelerator="cpu", devices=1), torch.channels_last, fast=True)
    seen = []
    quick._quick.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    quick(torch.randn(64, 3, 32, 32), ())
    assert seen == [16] * 4
    assert CACHED_VALUES == 16 * 32 * 32 * 32
