"""MobileNetV2 for CIFAR (Sandler et al. 2018, arXiv 1801.04381), in RepDistiller's shapes.

Expansion 6 and width 0.5 (its "mobile_half"): a stem of stride 2, strides 1, 1, 2, 2, 1, 2, 1 of
the seven groups of inverted residuals, and a closing convolution of 1,280 channels.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from suite.models.zoo.base import CifarNet, init_normal_fan_out, register

EXPANSION = 6
LAST_CHANNELS = 1280
# expansion, channels at width 1, blocks, stride (Sandler et al. 2018, Table 2, with stride 1 for
# 24 channels as RepDistiller has it); one row a group, one stage of the feature list a list
STAGES = (
    ((1, 16, 1, 1), (EXPANSION, 24, 2, 1)),
    ((EXPANSION, 32, 3, 2),),
    ((EXPANSION, 64, 4, 2), (EXPANSION, 96, 3, 1)),
    ((EXPANSION, 160, 3, 2), (EXPANSION, 320, 1, 1)),
)
GROUPS = tuple(
    f"stage{s}.{g}" for s, stage in enumerate(STAGES, start=1) for g in range(len(stage))
)


def _conv_bn(
    in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    padding = (kernel - 1) // 2
    convolution = nn.Conv2d(
        in_channels, channels, kernel, stride, padding, groups=groups, bias=False
    )
    return [convolution, nn.BatchNorm2d(channels)]


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; a shortcut where the shape stays."""

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.carries = stride == 1 and in_channels == channels
        self.conv = nn.Sequential(
            *_conv_bn(in_channels, inner, 1),
            nn.ReLU(),
            *_conv_bn(inner, inner, 3, stride, groups=inner),
            nn.ReLU(),
            *_conv_bn(inner, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, channels, H / stride, W / stride]."""
        out: Tensor = self.conv(x)
        return x + out if self.carries else out


class CifarMobileNetV2(CifarNet):
    """MobileNetV2 of a ``width`` for 32x32 images. Stage maps are linear, without ReLU."""

    reference_names = {
        r"^conv1\.": "stem.",
        r"^conv2\.": "closing.",
        **{rf"^blocks\.{number}\.": f"{group}." for number, group in enumerate(GROUPS)},
        **CifarNet.reference_names,
    }

    def __init__(self, width: float = 0.5, **task: Any) -> None:
        super().__init__(**task)
        channels, reduction = int(32 * width), 2
        self.stem = nn.Sequential(*_conv_bn(self.in_chans, channels, 3, stride=2), nn.ReLU())
        stages = [("stem", channels, reduction)]
        for number, rows in enumerate(STAGES, start=1):
            groups = []
            for expansion, full_width, count, stride in rows:
                out_channels = int(full_width * width)
                groups.append(_group(channels, out_channels, count, stride, expansion))
                channels, reduction = out_channels, reduction * stride
            setattr(self, f"stage{number}", nn.Sequential(*groups))
            stages.append((f"stage{number}", channels, reduction))
        closing = nn.Sequential(*_conv_bn(channels, LAST_CHANNELS, 1), nn.ReLU())
        self.finish(stages, closing, LAST_CHANNELS)
        init_normal_fan_out(self, linear_std=0.01)


def _group(
    in_channels: int, channels: int, count: int, stride: int, expansion: int
) -> nn.Sequential:
    first = InvertedResidual(in_channels, channels, stride, expansion)
    others = [InvertedResidual(channels, channels, 1, expansion) for _ in range(count - 1)]
    return nn.Sequential(first, *others)


register("cifar_mobilenet_v2", CifarMobileNetV2)
