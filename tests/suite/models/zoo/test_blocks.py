"""What each block carries past its convolutions, by silencing the convolutions."""

import torch
from torch import nn
from torch.nn import functional

from suite.models.zoo.mobilenet_v2 import InvertedResidual
from suite.models.zoo.resnet import BasicBlock
from suite.models.zoo.resnet50 import Bottleneck
from suite.models.zoo.shufflenet_v1 import ShuffleUnit, shuffle
from suite.models.zoo.shufflenet_v2 import DownUnit, SplitUnit
from suite.models.zoo.wrn import WideBlock


def silent(block, *names):
    """The block in evaluation mode with the named layers' weights at zero."""
    for name in names:
        nn.init.zeros_(block.get_submodule(name).weight)
    return block.eval()


def image(channels):
    return torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_basic_block_and_a_bottleneck_end_with_relu_of_the_sum():
    torch.testing.assert_close(silent(BasicBlock(6, 6, 1), "conv2")(image(6)), image(6).relu())
    block = silent(Bottleneck(8, 2, 1), "conv3")
    torch.testing.assert_close(block(image(8)), image(8).relu())


@torch.no_grad()
def test_a_basic_block_projects_where_the_shape_changes():
    block = silent(BasicBlock(6, 12, 2), "conv2")
    projected = block.downsample(image(6))
    assert projected.shape == (2, 12, 4, 4)
    torch.testing.assert_close(block(image(6)), projected.relu())


@torch.no_grad()
def test_a_wide_block_carries_its_input_untouched_when_the_width_stays():
    torch.testing.assert_close(silent(WideBlock(6, 6, 1), "conv2")(image(6)), image(6))


@torch.no_grad()
def test_a_wide_block_projects_its_activated_input_when_the_width_changes():
    block = silent(WideBlock(6, 12, 2), "conv2")
    torch.testing.assert_close(block(image(6)), block.shortcut(block.bn1(image(6)).relu()))


@torch.no_grad()
def test_an_inverted_residual_carries_its_input_without_relu():
    torch.testing.assert_close(silent(InvertedResidual(6, 6, 1, 6), "conv.6")(image(6)), image(6))
    changed = silent(InvertedResidual(6, 8, 1, 6), "conv.6")
    assert not changed(image(6)).any()


def test_shuffling_deals_the_groups_out_in_turn():
    channels = torch.arange(6.0).view(1, 6, 1, 1)
    assert shuffle(channels, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert shuffle(channels, 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]


@torch.no_grad()
def test_a_shuffle_unit_adds_its_input_or_appends_it_pooled():
    unit = silent(ShuffleUnit(24, 24, 1), "conv3")
    torch.testing.assert_close(unit(image(24)), image(24).relu())
    unit = silent(ShuffleUnit(24, 48, 2), "conv3")
    made, carried = unit(image(24)).split(24, dim=1)
    assert not made.any()
    torch.testing.assert_close(carried, functional.avg_pool2d(image(24), 3, 2, 1).relu())


@torch.no_grad()
def test_a_split_unit_passes_its_first_half_on_to_the_even_channels():
    out = silent(SplitUnit(8), "conv3")(image(8))
    torch.testing.assert_close(out[:, 0::2], image(8)[:, :4])
    assert not out[:, 1::2].any()


@torch.no_grad()
def test_a_down_unit_interleaves_its_two_branches():
    unit = DownUnit(6, 8).eval()
    even = unit(image(6))[:, 0::2]
    out = silent(unit, "conv5")(image(6))
    assert out.shape == (2, 8, 4, 4)
    torch.testing.assert_close(out[:, 0::2], even)
    assert not out[:, 1::2].any()
