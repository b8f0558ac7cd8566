"""ShuffleNetV1 for CIFAR (Zhang et al. 2018, arXiv 1707.01083), in RepDistiller's shapes.

Three groups, widths 240/480/960, a 1x1 stem of 24 channels without pooling. Unlike the paper, a
ReLU follows the depthwise convolution, as in RepDistiller.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from suite.models.zoo.base import CifarNet, register

STEM = 24
GROUPS = 3
WIDTHS = (240, 480, 960)
BLOCKS = (4, 8, 4)


def shuffle(x: Tensor, groups: int) -> Tensor:
    """[B, g * c, H, W] -> the same channels, one of each of the g groups in turn."""
    batch, channels, height, width = x.shape
    grouped = x.view(batch, groups, channels // groups, height, width)
    return grouped.transpose(1, 2).reshape(x.shape)


class ShuffleUnit(nn.Module):
    """Grouped bottleneck; a unit of stride 2 appends its average-pooled input instead of adding."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        out_channels = channels - in_channels if stride == 2 else channels
        inner = out_channels // 4
        self.groups = 1 if in_channels == STEM else GROUPS
        self.conv1 = nn.Conv2d(in_channels, inner, 1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, groups=GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.pool = nn.AvgPool2d(3, 2, 1) if stride == 2 else None
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, channels, H / stride, W / stride]."""
        out: Tensor = shuffle(self.bn1(self.conv1(x)).relu_(), self.groups)
        out = self.bn3(self.conv3(self.bn2(self.conv2(out)).relu_()))
        joined = out + x if self.pool is None else torch.cat([out, self.pool(x)], 1)
        activated: Tensor = self.act(joined)
        return activated


class CifarShuffleNetV1(CifarNet):
    """ShuffleNetV1 (g = 3) for 32x32 images; initialised by PyTorch's defaults."""

    reference_names = {
        r"^conv1\.": "stem.0.",
        r"^bn1\.": "stem.1.",
        **CifarNet.reference_names,
    }

    def __init__(self, **task: Any) -> None:
        super().__init__(**task)
        convolution = nn.Conv2d(self.in_chans, STEM, 1, bias=False)
        self.stem = nn.Sequential(convolution, nn.BatchNorm2d(STEM), nn.ReLU())
        stages, channels = [("stem", STEM, 1)], STEM
        for number, (width, count) in enumerate(zip(WIDTHS, BLOCKS, strict=True), start=1):
            first = ShuffleUnit(channels, width, 2)
            others = [ShuffleUnit(width, width, 1) for _ in range(count - 1)]
            setattr(self, f"layer{number}", nn.Sequential(first, *others))
            stages.append((f"layer{number}", width, 2**number))
            channels = width
        self.finish(stages, nn.Identity(), channels)


register("cifar_shufflenet_v1", CifarShuffleNetV1)
