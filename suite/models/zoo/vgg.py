"""VGG with batch normalisation for CIFAR (Simonyan and Zisserman 2015, arXiv 1409.1556).

Shapes of RepDistiller: five blocks of 3x3 convolutions with bias, 2x2 max-pooling before blocks 1,
2 and 3 only (block 4 keeps the resolution), one linear classifier. Depth 8 is RepDistiller's own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from suite.models.zoo.base import CifarNet, init_normal_fan_out, register

WIDTHS = (64, 128, 256, 512, 512)


class CifarVGG(CifarNet):
    """VGG for 32x32 images; ``convolutions`` counts those of each of the five blocks.

    ``widths`` are the channels of the blocks (also for networks of other sizes than the field's).
    """

    reference_names = {r"^(block\d)\.": r"\1.layers.", **CifarNet.reference_names}

    def __init__(
        self, convolutions: Sequence[int], widths: Sequence[int] = WIDTHS, **task: Any
    ) -> None:
        if len(widths) != len(WIDTHS):
            raise ValueError(f"widths {list(widths)}: one for each of the {len(WIDTHS)} blocks")
        super().__init__(**task)
        stages, channels = [], self.in_chans
        for number, (count, width) in enumerate(zip(convolutions, widths, strict=True)):
            halves = number in (1, 2, 3)
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            if halves:
                parts["pool"] = nn.MaxPool2d(2)
            parts["layers"] = _convolutions(channels, width, count)
            setattr(self, f"block{number}", nn.Sequential(parts))
            stages.append((f"block{number}", width, 2 ** min(number, 3)))
            channels = width
        self.finish(stages, nn.Identity(), channels)
        init_normal_fan_out(self, linear_std=0.01)


def _convolutions(in_channels: int, channels: int, count: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in [in_channels, *[channels] * (count - 1)]:
        layers += [nn.Conv2d(width, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers)


for _depth, _convolutions_per_block in (
    (8, (1, 1, 1, 1, 1)),
    (11, (1, 1, 2, 2, 2)),
    (13, (2, 2, 2, 2, 2)),
    (16, (2, 2, 3, 3, 3)),
    (19, (2, 2, 4, 4, 4)),
):
    register(f"cifar_vgg{_depth}", partial(CifarVGG, _convolutions_per_block))
