"""Wide ResNets of Zagoruyko and Komodakis 2016 (arXiv 1605.07146), in RepDistiller's shapes.

Depth 6n + 4 with pre-activation blocks, widths 16, 16k, 32k, 64k. The stage maps are the sums
before batch normalisation, as in RepDistiller's feature list; the pooled map comes after it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from suite.models.zoo.base import CifarNet, init_normal_fan_out, register
from suite.models.zoo.resnet import conv3x3


class WideBlock(nn.Module):
    """Pre-activation block; where the width changes the shortcut reads the activated input."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.shortcut: nn.Conv2d | None = None
        if in_channels != channels:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, channels, H / stride, W / stride]."""
        active = self.bn1(x).relu()
        out: Tensor = self.conv2(self.bn2(self.conv1(active)).relu_())
        carried: Tensor = x if self.shortcut is None else self.shortcut(active)
        return carried + out


class CifarWideResNet(CifarNet):
    """WRN-depth-k for 32x32 images."""

    reference_names = {
        r"^block(\d)\.layer\.": r"block\1.",
        r"\.convShortcut\.": ".shortcut.",
        r"^bn1\.": "closing.0.",
        **CifarNet.reference_names,
    }

    def __init__(self, depth: int, widen: int, **task: Any) -> None:
        super().__init__(**task)
        if (depth - 4) % 6:
            raise ValueError(f"depth {depth}: must be 6n + 4")
        blocks = (depth - 4) // 6
        self.conv1 = conv3x3(self.in_chans, 16)
        stages, channels = [("conv1", 16, 1)], 16
        for number in (1, 2, 3):
            width, stride = 16 * widen * 2 ** (number - 1), 1 if number == 1 else 2
            first = WideBlock(channels, width, stride)
            others = [WideBlock(width, width, 1) for _ in range(blocks - 1)]
            setattr(self, f"block{number}", nn.Sequential(first, *others))
            stages.append((f"block{number}", width, 2 ** (number - 1)))
            channels = width
        self.finish(stages, nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()), channels)
        init_normal_fan_out(self)


for _depth, _widen in ((16, 1), (16, 2), (40, 1), (40, 2)):
    register(f"cifar_wrn_{_depth}_{_widen}", partial(CifarWideResNet, _depth, _widen))
