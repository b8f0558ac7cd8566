"""ShuffleNetV2 for CIFAR (Ma et al. 2018, arXiv 1807.11164), in RepDistiller's shapes.

A 1x1 stem of 24 channels without pooling; stages of one down-sampling unit and 3, 7, 3 others, as
the paper's stages of 4, 8, 4 units; a closing 1x1 convolution. Initialised by PyTorch's defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from suite.models.zoo.base import CifarNet, register
from suite.models.zoo.shufflenet_v1 import STEM, shuffle

BLOCKS = (3, 7, 3)  # beside the down-sampling unit of each stage
WIDTHS = (116, 232, 464, 1024)
WIDTHS_X1_5 = (176, 352, 704, 1024)


def _pointwise(in_channels: int, channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, 1, bias=False)


def _depthwise(channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)


class SplitUnit(nn.Module):
    """One half of the channels passes through, the other through three convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1, self.bn1 = _pointwise(half, half), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = _depthwise(half), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = _pointwise(half, half), nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> the same shape."""
        carried, out = x.chunk(2, dim=1)
        out = self.bn1(self.conv1(out)).relu_()
        out = self.bn3(self.conv3(self.bn2(self.conv2(out)))).relu()
        return shuffle(torch.cat([carried, out], 1), 2)


class DownUnit(nn.Module):
    """Two branches of stride 2, each of which gives half of the channels."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1, self.bn1 = _depthwise(in_channels, 2), nn.BatchNorm2d(in_channels)
        self.conv2, self.bn2 = _pointwise(in_channels, half), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = _pointwise(in_channels, half), nn.BatchNorm2d(half)
        self.conv4, self.bn4 = _depthwise(half, 2), nn.BatchNorm2d(half)
        self.conv5, self.bn5 = _pointwise(half, half), nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, channels, H / 2, W / 2]."""
        left = self.bn2(self.conv2(self.bn1(self.conv1(x)))).relu()
        right = self.bn4(self.conv4(self.bn3(self.conv3(x)).relu_()))
        right = self.bn5(self.conv5(right)).relu()
        return shuffle(torch.cat([left, right], 1), 2)


class CifarShuffleNetV2(CifarNet):
    """ShuffleNetV2 for 32x32 images; ``widths`` of the three stages and the closing layer."""

    reference_names = {
        r"^conv1\.": "stem.0.",
        r"^bn1\.": "stem.1.",
        r"^conv2\.": "closing.0.",
        r"^bn2\.": "closing.1.",
        **CifarNet.reference_names,
    }

    def __init__(self, widths: Sequence[int] = WIDTHS, **task: Any) -> None:
        super().__init__(**task)
        *inner, last = widths
        self.stem = nn.Sequential(_pointwise(self.in_chans, STEM), nn.BatchNorm2d(STEM), nn.ReLU())
        stages, channels = [("stem", STEM, 1)], STEM
        for number, (width, count) in enumerate(zip(inner, BLOCKS, strict=True), start=1):
            units = [DownUnit(channels, width), *(SplitUnit(width) for _ in range(count))]
            setattr(self, f"layer{number}", nn.Sequential(*units))
            stages.append((f"layer{number}", width, 2**number))
            channels = width
        closing = nn.Sequential(_pointwise(channels, last), nn.BatchNorm2d(last), nn.ReLU())
        self.finish(stages, closing, last)


register("cifar_shufflenet_v2", CifarShuffleNetV2)
register("cifar_shufflenet_v2_x1_5", partial(CifarShuffleNetV2, WIDTHS_X1_5))
