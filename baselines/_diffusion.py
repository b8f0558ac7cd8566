"""Denoising diffusion of features: the schedule, DDIM steps, small denoisers, the noise adapter.

Forward process: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps with eps ~ N(0, 1); a denoiser
predicts eps from (x_t, t). Times are positions 0..999 of the schedule; :data:`CLEAN` is the place
before 0, where abar is 1 and x_t is x_0.

Shapes: B batch, C channels, H and W height and width (1 and 1 for vectors).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from baselines._adapters import BatchNorm
from baselines._losses import in_float32

CLEAN = -1
TIMES = 1000  # Ho et al. 2020 (arXiv 2006.11239), Sec. 4, as are both betas
BETA_FIRST, BETA_LAST = 1e-4, 0.02


class Denoiser(Protocol):
    """(x_t [B, C, H, W], t [B] or [1] int64) -> predicted noise [B, C, H, W]."""

    def __call__(self, noisy: Tensor, time: Tensor) -> Tensor: ...


class Schedule(nn.Module):
    """The linear schedule, in float32 whatever the module or autocast is cast to.

    The reference code casts it to the feature's type; in float16 and bfloat16 1 - abar_0 is then
    0, and the last step divides by it. float64 features meet the float32 schedule, as there.
    """

    alphas_cumprod: Tensor  # [1000], abar

    def __init__(self) -> None:
        super().__init__()
        betas = torch.linspace(BETA_FIRST, BETA_LAST, TIMES)
        self.register_buffer("alphas_cumprod", (1 - betas).cumprod(0), persistent=False)
        self._alphas: list[float] = self.alphas_cumprod.tolist()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Schedule:
        exact = self.alphas_cumprod
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.alphas_cumprod = exact.to(self.alphas_cumprod.device)
        return self

    def signal(self, time: int) -> float:
        """abar at ``time``, 1 at :data:`CLEAN`; the float32 value."""
        return 1.0 if time == CLEAN else self._alphas[time]

    def add_noise(self, clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """x_t of x_0 [B, C, H, W] (or [B, C]) and eps of its shape at ``time`` [B] or [1]."""
        clean, noise = in_float32(clean), in_float32(noise)
        signal = self.alphas_cumprod[time].to(clean.dtype)
        signal = signal.view(-1, *[1] * (clean.ndim - 1))
        return signal.sqrt() * clean + (1 - signal).sqrt() * noise

    def untaught_guess(self, noisy: Tensor, time: Tensor) -> Tensor:
        """Best guess of eps for x_0 of independent unit normal entries: sqrt(1 - abar_t) x_t."""
        signal = self.alphas_cumprod[time].to(noisy.dtype)
        return (1 - signal).sqrt().view(-1, *[1] * (noisy.ndim - 1)) * noisy

    def predict_clean(self, noisy: Tensor, noise: Tensor, time: int) -> Tensor:
        """x_0 that x_t and the predicted eps stand for (Song et al. 2021, eq. 9)."""
        signal = self.signal(time)
        return (noisy - math.sqrt(1 - signal) * noise) / math.sqrt(signal)

    def step(self, noisy: Tensor, noise: Tensor, time: int, next_time: int) -> Tensor:
        """One DDIM step from ``time`` to ``next_time`` with eta 0 (Song et al. 2021, eq. 12)."""
        signal = self.signal(next_time)
        clean = self.predict_clean(noisy, noise, time)
        return math.sqrt(signal) * clean + math.sqrt(1 - signal) * noise


def spaced_times(start: int, steps: int) -> list[int]:
    """``steps`` evenly spaced times, ``start`` first, then :data:`CLEAN` (1 <= steps <= start).

    start 500, 5 steps: 500, 400, 300, 200, 100, CLEAN. No steps: CLEAN alone.
    """
    return [start * (steps - i) // steps for i in range(steps)] + [CLEAN]


def last_half_times(steps: int) -> list[int]:
    """DiffKD's times: the last half of the 2 * ``steps`` DDIM times, then :data:`CLEAN`.

    5 steps: 400, 300, 200, 100, 0, CLEAN (hunto's set_timesteps(10)).
    """
    stride = TIMES // (2 * steps)
    return [stride * i for i in reversed(range(steps))] + [CLEAN]


class Sampled(NamedTuple):
    """What a sampling run went through."""

    clean: Tensor  # [B, C, H, W], the last of the trajectory
    trajectory: list[Tensor]  # x_t at every time, the start first: steps + 1 entries
    guidance_ratio: Tensor  # scalar: root mean square of what guidance adds to eps (eps has 1)


Guide = Callable[[Tensor, Tensor], Tensor]
"""(x_t, predicted x_0) -> gradient of the log-probability that the sample should gain."""


def sample(
    schedule: Schedule,
    denoiser: Denoiser,
    start: Tensor,
    times: Sequence[int],
    guide: Guide | None = None,
) -> Sampled:
    """DDIM from ``start`` [B, C, H, W] at ``times[0]`` through all times to the last.

    With ``guide`` g the noise is eps - sqrt(1 - abar_t) g (Dhariwal and Nichol 2021,
    arXiv 2105.05233, algorithm 2). Gradients flow unless the caller forbids them.
    """
    noisy, trajectory, ratios = start, [start], [start.new_zeros(())]
    for time, next_time in pairwise(times):
        noise = denoiser(noisy, torch.full((1,), time, device=start.device))
        if guide is not None:
            clean = schedule.predict_clean(noisy, noise, time)
            shift = math.sqrt(1 - schedule.signal(time)) * guide(noisy, clean)
            ratios.append(shift.detach().square().mean().sqrt())
            noise = noise - shift
        noisy = schedule.step(noisy, noise, time, next_time)
        trajectory.append(noisy)
    return Sampled(noisy, trajectory, torch.stack(ratios).sum() / max(len(ratios) - 1, 1))


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


class WaveDenoiser(nn.Module):
    """DSKD's denoiser: DiffKD's light-weight form without batch statistics.

    Batch normalisation would see one time in sampling and a mixture in training, and would remove
    the time embedding where all of a batch share the time. So each image is normalised alone, and
    the time enters as sinusoids (Ho et al. 2020), which neighbouring times share. The layers start
    at zero and add to the best guess for features of independent unit normal entries,
    eps = sqrt(1 - abar_t) x_t (Salimans and Ho 2022, arXiv 2202.00512: they predict v).
    ``width`` is the number of inner channels of the two bottlenecks; ``kernel`` 1 suits vectors.
    """

    def __init__(self, schedule: Schedule, channels: int, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.schedule = schedule
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
        embedded = self.embed(_waves(time).to(noisy.dtype))[..., None, None]
        velocity: Tensor = self.layers(noisy + embedded)
        guess = self.schedule.untaught_guess(noisy, time)
        return guess + amplitude[:, None, None, None] * velocity


WAVES = 32


def _waves(time: Tensor) -> Tensor:
    """[B] -> [B, 32]: sines and cosines of 16 wavelengths from 2 pi to 2 pi times 1,000."""
    exponents = torch.arange(WAVES // 2, device=time.device) / (WAVES // 2 - 1)
    angles = time[:, None] / torch.pow(float(TIMES), exponents)
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


def adapter_loss(
    schedule: Schedule, denoiser: nn.Module, start: Tensor, clean: Tensor, time: int
) -> Tensor:
    """Mean squared distance of x_0 from what one step makes of ``start`` taken for x_``time``.

    It teaches the adapter that mixed ``start`` from x_0 to meet the denoiser's noise level, and
    gives the denoiser no gradient. DiffKD trains the adapter through all sampling steps.
    """
    frozen = {name: weight.detach() for name, weight in denoiser.named_parameters()}
    at = torch.full((1,), time, device=start.device)
    noise = functional_call(denoiser, frozen, (start, at))
    return functional.mse_loss(schedule.predict_clean(start, noise, time), clean)


def mix(clean: Tensor, noise: Tensor, gamma: Tensor) -> Tensor:
    """gamma x + (1 - gamma) eps for gamma [B]: linear, so the variance shrinks (hunto's code)."""
    gamma = gamma.view(-1, *[1] * (clean.ndim - 1))
    return gamma * clean + (1 - gamma) * noise
