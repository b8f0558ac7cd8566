"""Denoising diffusion of features: the schedule, DDIM sampling, the losses.

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
        clean = torch.sub(noisy, noise, alpha=math.sqrt(1 - signal))
        return clean / math.sqrt(signal)

    def step(self, noisy: Tensor, noise: Tensor, time: int, next_time: int) -> Tensor:
        """One DDIM step from ``time`` to ``next_time`` with eta 0 (Song et al. 2021, eq. 12)."""
        signal, next_signal = self.signal(time), self.signal(next_time)
        grow = math.sqrt(next_signal / signal)  # the predicted x_0 and the noise in one sum
        return torch.add(
            grow * noisy, noise, alpha=math.sqrt(1 - next_signal) - grow * math.sqrt(1 - signal)
        )


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
"""(x_t, predicted x_0) -> gradient of the log-probability that the sample should gain; of their
shape, or [B, C, 1, 1] where it is the same at every position."""


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


def guided_distance(schedule: Schedule, times: Sequence[int]) -> float:
    """How far :func:`sample` moves its result for each unit of a guiding gradient.

    Of a gradient that is the same at all ``times``, and a denoiser that does not answer to it: then
    guided and unguided samples differ by this multiple of the gradient.
    """
    moved = 0.0
    for time, next_time in pairwise(times):
        signal, next_signal = schedule.signal(time), schedule.signal(next_time)
        grow = math.sqrt(next_signal / signal)
        less_noise = grow * math.sqrt(1 - signal) - math.sqrt(1 - next_signal)
        moved = grow * moved + less_noise * math.sqrt(1 - signal)
    return moved


def noise_loss(
    schedule: Schedule, denoiser: Denoiser, clean: Tensor, noise: Tensor, time: Tensor
) -> Tensor:
    """Mean of (eps - eps_theta(x_t, t))^2 over all entries (Ho et al. 2020, eq. 14)."""
    return functional.mse_loss(denoiser(schedule.add_noise(clean, noise, time), time), noise)


def frozen(denoiser: nn.Module) -> Denoiser:
    """The denoiser with its parameters as constants: gradients reach its inputs alone."""
    constants = {name: weight.detach() for name, weight in denoiser.named_parameters()}

    def call(noisy: Tensor, time: Tensor) -> Tensor:
        predicted: Tensor = functional_call(denoiser, constants, (noisy, time))
        return predicted

    return call


def adapter_loss(
    schedule: Schedule, denoiser: nn.Module, start: Tensor, clean: Tensor, time: int
) -> Tensor:
    """Mean squared distance of x_0 from what one step makes of ``start`` taken for x_``time``.

    It teaches the adapter that mixed ``start`` from x_0 to meet the denoiser's noise level, and
    gives the denoiser no gradient. DiffKD trains the adapter through all sampling steps.
    """
    noise = frozen(denoiser)(start, torch.full((1,), time, device=start.device))
    return functional.mse_loss(schedule.predict_clean(start, noise, time), clean)


def mix(clean: Tensor, noise: Tensor, gamma: Tensor) -> Tensor:
    """gamma x + (1 - gamma) eps for gamma [B]: linear, so the variance shrinks (hunto's code)."""
    gamma = gamma.view(-1, *[1] * (clean.ndim - 1))
    return gamma * clean + (1 - gamma) * noise
