"""CIFAR ResNets of He et al. 2016 (arXiv 1512.03385, Sec. 4.2), in RepDistiller's shapes.

Depth 6n + 2 with basic blocks, widths 16/16/32/64; the ``x4`` networks have 32/64/128/256.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from suite.zoo.base import CifarNet, init_he_fan_out, register

WIDTHS = (16, 16, 32, 64)
WIDTHS_X4 = (32, 64, 128, 256)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the map's size at stride 1, without bias."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is 1x1 + BN where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, channels, H / stride, W / stride]."""
        out: Tensor = self.bn1(self.conv1(x)).relu()
        out = self.bn2(self.conv2(out)) + self.downsample(x)
        return out.relu()


class CifarResNet(CifarNet):
    """ResNet of depth 6n + 2 for 32x32 images."""

    def __init__(
        self,
        depth: int,
        num_classes: int = 100,
        in_chans: int = 3,
        widths: Sequence[int] = WIDTHS,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__(num_classes, in_chans, drop_rate)
        if (depth - 2) % 6 or len(widths) != 4:
            raise ValueError(f"depth {depth}: must be 6n + 2; widths {widths}: must be four")
        blocks = (depth - 2) // 6
        stem, *rest = widths
        self.stem = nn.Sequential(conv3x3(in_chans, stem), nn.BatchNorm2d(stem), nn.ReLU())
        stages, channels = [("stem", stem, 1)], stem
        for number, width in enumerate(rest, start=1):
            stride = 1 if number == 1 else 2
            first = BasicBlock(channels, width, stride)
            others = [BasicBlock(width, width, 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{number}", nn.Sequential(first, *others))
            stages.append((f"layer{number}", width, 2 ** (number - 1)))
            channels = width
        self.finish(stages, nn.Identity(), channels)
        init_he_fan_out(self)


for _depth in (8, 14, 20, 32, 44, 56, 110):
    register(f"cifar_resnet{_depth}", partial(CifarResNet, _depth))
for _depth in (8, 32):
    register(f"cifar_resnet{_depth}x4", partial(CifarResNet, _depth, widths=WIDTHS_X4))
