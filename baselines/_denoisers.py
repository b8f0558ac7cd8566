"""Small networks that predict the noise in features, and the guess of how noisy they are.

Shapes: B batch, C channels, H and W height and width (1 and 1 for vectors).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines._adapters import BatchNorm
from baselines._diffusion import TIMES, Schedule


class Bottleneck(nn.Module):
    """Residual 1x1, k x k, 1x1 convolutions of ``width`` inner channels (DiffKD: k = 3)."""

    def __init__(
        self,
        channels: int,
        width: int,
        norm: Callable[[int], nn.Module] = BatchNorm,
        kernel: int = 3,
    ) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            norm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, kernel, padding=kernel // 2),
            norm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, channels, 1),
            norm(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape."""
        block: Tensor = self.block(features)
        return features + block


def map_layers(channels: int) -> nn.Sequential:
    """DiffKD's denoiser of maps: two bottlenecks of a quarter of the width, 1x1 conv, BN."""
    width = max(channels // 4, 1)
    return nn.Sequential(
        Bottleneck(channels, width),
        Bottleneck(channels, width),
        nn.Conv2d(channels, channels, 1),
        BatchNorm(channels),
    )


def vector_layers(channels: int) -> nn.Sequential:
    """DiffKD's denoiser of vectors [B, C, 1, 1]: twice C -> 4C -> C."""
    wide = 4 * channels
    return nn.Sequential(
        nn.Conv2d(channels, wide, 1),
        BatchNorm(wide),
        nn.ReLU(inplace=True),
        nn.Conv2d(wide, channels, 1),
        BatchNorm(channels),
        nn.Conv2d(channels, wide, 1),
        BatchNorm(wide),
        nn.ReLU(inplace=True),
        nn.Conv2d(wide, channels, 1),
    )


class TableDenoiser(nn.Module):
    """DiffKD's denoiser: a learned vector per time is added to the features, then ``layers``."""

    def __init__(self, channels: int, layers: nn.Sequential) -> None:
        super().__init__()
        self.time_embedding = nn.Embedding(1280, channels)  # 1280 rows: hunto, though t < 1000
        self.layers = layers

    def forward(self, noisy: Tensor, time: Tensor) -> Tensor:
        """See :class:`Denoiser`."""
        embedded = self.time_embedding(time)[..., None, None]
        predicted: Tensor = self.layers(noisy + embedded)
        return predicted


WAVES = 32  # sinusoids of the time


class WaveDenoiser(nn.Module):
    """DSKD's denoiser: DiffKD's light-weight form without batch statistics.

    Batch normalisation would see one time in sampling and a mixture in training, and would remove
    the time embedding where all of a batch share the time. So each image is normalised alone, and
    the time enters as sinusoids (Ho et al. 2020), which neighbouring times share. The layers start
    at zero and add to the best guess for features of independent unit normal entries,
    eps = sqrt(1 - abar_t) x_t (Salimans and Ho 2022, arXiv 2202.00512: they predict v).
    ``width`` is the number of inner channels of the two bottlenecks; ``kernel`` 1 suits vectors.
    """

    frequencies: Tensor  # [16]

    def __init__(self, schedule: Schedule, channels: int, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.schedule = schedule
        exponents = torch.arange(WAVES // 2) / (WAVES // 2 - 1)
        self.register_buffer("frequencies", TIMES**-exponents, persistent=False)
        self.embed = nn.Linear(WAVES, channels)
        last = nn.Conv2d(channels, channels, 1, bias=False)
        self.layers = nn.Sequential(
            Bottleneck(channels, width, _per_image, kernel),
            Bottleneck(channels, width, _per_image, kernel),
            last,
        )
        nn.init.zeros_(last.weight)

    def forward(self, noisy: Tensor, time: Tensor) -> Tensor:
        """See :class:`Denoiser`."""
        amplitude = self.schedule.alphas_cumprod[time].sqrt().to(noisy.dtype)
        embedded = self.embed(self._waves(time).to(noisy.dtype))[..., None, None]
        velocity: Tensor = self.layers(noisy + embedded)
        guess = self.schedule.untaught_guess(noisy, time)
        return torch.addcmul(guess, amplitude[:, None, None, None], velocity)

    def _waves(self, time: Tensor) -> Tensor:
        """[B] -> [B, 32]: sines and cosines of wavelengths from 2 pi to 2 pi times 1,000."""
        angles = time[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def _per_image(channels: int) -> nn.Module:
    return nn.GroupNorm(1, channels)


class NoiseAdapter(nn.Module):
    """DiffKD's guess gamma in (0, 1) of how clean each image's feature is (Huang et al. 2023).

    ``vector``: the features are [B, C, 1, 1] and go through a 1x1 MLP instead of a bottleneck.
    """

    def __init__(self, channels: int, *, vector: bool) -> None:
        super().__init__()
        self.features = (
            nn.Sequential(
                nn.Conv2d(channels, 2 * channels, 1),
                BatchNorm(2 * channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(2 * channels, channels, 1),
                BatchNorm(channels),
            )
            if vector
            else nn.Sequential(Bottleneck(channels, max(channels // 8, 1)), nn.AdaptiveAvgPool2d(1))
        )
        self.gamma = nn.Linear(channels, 2)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] -> gamma [B]."""
        two: Tensor = self.gamma(self.features(features).flatten(1))
        return functional.softmax(two, dim=1)[:, 0]
