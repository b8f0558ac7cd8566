"""CIFAR ResNets of He et al. 2016 (arXiv 1512.03385, Sec. 4.2), in RepDistiller's shapes.

Depth 6n + 2 with basic blocks, widths 16/16/32/64; the ``x4`` networks have 32/64/128/256.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from suite.models.zoo.base import CifarNet, init_he_fan_out, register

WIDTHS = (16, 16, 32, 64)
WIDTHS_X4 = (32, 64, 128, 256)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the map's size at stride 1, without bias."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)


def projection(in_channels: int, channels: int, stride: int) -> nn.Module:
    """The shortcut of a residual block: identity, or 1x1 + BN where the shape changes."""
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    convolution = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = projection(in_channels, channels, stride)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, channels, H / stride, W / stride]."""
        out: Tensor = self.bn1(self.conv1(x)).relu_()
        out = self.bn2(self.conv2(out)) + self.downsample(x)
        activated: Tensor = self.act(out)
        return activated


class CifarResNet(CifarNet):
    """ResNet for 32x32 images.

    ``blocks`` counts those of each stage, ``widths`` are the stem's and each stage's. ``block`` is
    called with (channels in, width, stride) and gives width * ``block.expansion`` channels.
    """

    reference_names = {
        r"^conv1\.": "stem.0.",
        r"^bn1\.": "stem.1.",
        r"\.shortcut\.": ".downsample.",
        **CifarNet.reference_names,
    }

    def __init__(
        self,
        blocks: Sequence[int],
        widths: Sequence[int] = WIDTHS,
        block: Any = BasicBlock,
        **task: Any,
    ) -> None:
        super().__init__(**task)
        if len(widths) != len(blocks) + 1:
            raise ValueError(f"widths {widths}: must be {len(blocks) + 1} numbers")
        stem, *rest = widths
        self.stem = nn.Sequential(conv3x3(self.in_chans, stem), nn.BatchNorm2d(stem), nn.ReLU())
        stages, channels = [("stem", stem, 1)], stem
        for number, (width, count) in enumerate(zip(rest, blocks, strict=True), start=1):
            stride, inside = 1 if number == 1 else 2, width * block.expansion
            first = block(channels, width, stride)
            others = [block(inside, width, 1) for _ in range(count - 1)]
            setattr(self, f"layer{number}", nn.Sequential(first, *others))
            stages.append((f"layer{number}", inside, 2 ** (number - 1)))
            channels = inside
        self.finish(stages, nn.Identity(), channels)
        init_he_fan_out(self)


def of_depth(depth: int, **options: Any) -> Callable[..., CifarResNet]:
    """Builder of the ResNet of depth 6n + 2 with basic blocks."""
    return partial(CifarResNet, [(depth - 2) // 6] * 3, **options)


for _depth in (8, 14, 20, 32, 44, 56, 110):
    register(f"cifar_resnet{_depth}", of_depth(_depth))
for _depth in (8, 32):
    register(f"cifar_resnet{_depth}x4", of_depth(_depth, widths=WIDTHS_X4))
