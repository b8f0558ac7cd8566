"""A diffusion model of features: learns them, and takes them to a noise level and back.

Shapes: B batch, C channels, H and W height and width (1 and 1 for vectors).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines import _diffusion as diffusion
from baselines._denoisers import NoiseAdapter, WaveDenoiser
from suite.interface.rng import Draws


class FeatureDiffusion(nn.Module):
    """Denoiser and, if ``adapter``, noise adapter of features of about unit scale.

    ``width`` is the denoiser's inner share of C; sampling starts at time ``start`` and takes
    ``steps`` steps, 0 for none: then features come back as they are. Vectors are [B, C, 1, 1].
    """

    def __init__(
        self, channels: int, width: float, start: int, steps: int, *, vector: bool, adapter: bool
    ) -> None:
        super().__init__()
        self.start = start
        self.times = diffusion.spaced_times(start, steps)
        self.schedule = diffusion.Schedule()
        inner = max(round(channels * width), 1)
        self.denoiser = WaveDenoiser(self.schedule, channels, inner, kernel=1 if vector else 3)
        self.adapter = NoiseAdapter(channels, vector=vector) if adapter else None

    def loss(self, clean: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Squared error of the predicted noise, mean over entries, t uniform over 0..start.

        Also that loss relative to the best guess that knows nothing of the features (below 1 once
        the denoiser has learnt something); both scalars, the second without gradient.
        """
        noise = draws.normal(len(clean), *clean.shape[1:])
        time = draws.integers(len(clean), high=self.start + 1)
        noisy = self.schedule.add_noise(clean, noise, time)
        loss = functional.mse_loss(self.denoiser(noisy, time), noise)
        with torch.no_grad():
            untaught = functional.mse_loss(self.schedule.untaught_guess(noisy, time), noise)
        return loss, loss.detach() / untaught

    def noised(self, clean: Tensor, draws: Draws) -> Tensor:
        """``clean`` at the time ``start``, or mixed with noise as the adapter says."""
        noise = draws.normal(len(clean), *clean.shape[1:])
        if self.adapter is not None:
            return diffusion.mix(clean, noise, self.adapter(clean))
        time = torch.full((1,), self.start, device=clean.device)
        return self.schedule.add_noise(clean, noise, time)

    def adapter_loss(self, clean: Tensor, draws: Draws) -> Tensor:
        """What the adapter learns from; see :func:`baselines._diffusion.adapter_loss`."""
        start = self.noised(clean, draws)
        return diffusion.adapter_loss(self.schedule, self.denoiser, start, clean, self.start)

    def step_along(self, clean: Tensor, gradient: Tensor) -> diffusion.Sampled:
        """``clean`` moved by one step along ``gradient``: a control without any diffusion.

        As far as sampling moves it under a constant gradient (:func:`guided_distance` of the
        times), so that what differs from a shifted sample is what the denoiser makes of guidance.
        """
        step = diffusion.guided_distance(self.schedule, self.times) * gradient
        moved = clean + step
        return diffusion.Sampled(moved, [clean, moved], gradient.square().mean().sqrt())

    @torch.no_grad()
    def denoise(
        self, clean: Tensor, draws: Draws, guide: diffusion.Guide | None, *, shift: bool = False
    ) -> diffusion.Sampled:
        """``clean`` to the noise level and back, bent by ``guide``; no gradient.

        With ``shift`` the result is ``clean`` plus what the guidance changed: the guided sample
        minus the unguided one of the same noise.
        """
        start = self.noised(clean, draws) if len(self.times) > 1 else clean
        guided = diffusion.sample(self.schedule, self.denoiser, start, self.times, guide)
        if not shift:
            return guided
        plain = diffusion.sample(self.schedule, self.denoiser, start, self.times)
        return guided._replace(clean=clean + guided.clean - plain.clean)
