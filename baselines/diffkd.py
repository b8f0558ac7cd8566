"""DiffKD: the student's feature, seen as a noisy teacher feature, is denoised and then compared.

A small diffusion model learns the teacher's features; it denoises the student's, whose noise level
an adapter guesses; the distance is taken between the denoised student and the teacher. Done at the
last feature map (through an autoencoder of the teacher's map) and at the logits. All of it trains
with the student, and the gradient of the distance reaches all of it: there is no stop-gradient in
the reference. Nothing of it remains at test time.

Shapes: B batch, K classes, C channels, H and W height and width; s student, t teacher.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from baselines import _denoisers as denoisers
from baselines import _diffusion as diffusion
from baselines._adapters import BatchNorm, pool_to_smaller
from baselines._losses import in_float32
from baselines.kd import kd_loss
from suite.interface.distiller import (
    Batch,
    Distiller,
    MethodConfig,
    Progress,
    Reads,
    Setup,
    tunable,
)
from suite.interface.paper import Paper
from suite.interface.rng import Draws
from suite.interface.taps import Outputs

SILENCE = 1e-6
"""Least amplitude of signal and of noise whose ratio is told, 120 dB from one to the other."""
INSPECT_SEED = 0
"""Of the noise in :meth:`DiffKD.inspect`, which must not move the training stream."""


class DiffKDConfig(MethodConfig):
    """Values of hunto/image_classification_sota (ImageNet); the paper has no CIFAR settings."""

    places: tuple[Literal["map", "logits"], ...] = Field(("map", "logits"), min_length=1)
    inference_steps: int = tunable(5, low=1, high=20, ge=1, le=500)  # Huang et al. 2023, Sec. 4
    use_autoencoder: bool = True  # at the map; never at the logits
    autoencoder_channels: int | None = Field(None, ge=1)
    """None: half of the teacher's (the class's own default). The ImageNet files say 1,024, which
    widens ResNet-34's 512 channels."""
    temperature: float = tunable(1.0, low=1.0, high=8.0, log=True, gt=0)  # at the logits
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    map_weight: float = tunable(1.0, low=0.1, high=10.0, log=True, ge=0)
    logits_weight: float = tunable(1.0, low=0.1, high=10.0, log=True, ge=0)
    ddim_weight: float = Field(1.0, ge=0)
    reconstruction_weight: float = Field(1.0, ge=0)
    detach_denoiser: bool = False
    """True: the distance does not train the denoiser, only the diffusion loss does."""


class Refined(NamedTuple):
    """What one place makes of one batch."""

    original: Tensor  # [B, C, H, W], the student before denoising
    denoised: Tensor  # [B, C, H, W], after denoising and projection
    target: Tensor  # [B, C, H, W], the teacher there
    ddim: Tensor  # scalar, the diffusion loss on the teacher
    reconstruction: Tensor | None  # scalar, of the autoencoder
    gamma: Tensor  # [B], share of signal that the noise adapter leaves


@torch.no_grad()
def health(refined: Refined, *, centred: bool) -> dict[str, Tensor]:
    """Whether the noise adapter keeps adding noise, and denoising leads towards the teacher.

    ``gamma``: the share of signal that is left, 0..1; ``snr_db``: signal to noise where denoising
    starts, in dB; ``cosine_before`` and ``cosine_after``: of student and teacher, without and with
    denoising, mean over the batch; ``centred`` for logits, of which only differences matter.
    """
    before, after, target = (in_float32(rows).flatten(1) for rows in refined[:3])  # [B, C H W]
    gamma = in_float32(refined.gamma)
    signal, noise = gamma * before.square().mean(1).sqrt(), (1 - gamma).clamp(min=SILENCE)
    if centred:
        before, after, target = (
            rows - rows.mean(1, keepdim=True) for rows in (before, after, target)
        )
    return {
        "gamma": gamma.mean(),
        "snr_db": 20 * (signal.clamp(min=SILENCE) / noise).log10().mean(),
        "cosine_before": functional.cosine_similarity(before, target).mean(),
        "cosine_after": functional.cosine_similarity(after, target).mean(),
    }


class Place(nn.Module):
    """Diffusion at one place: maps, or ``vector`` for features [B, C, 1, 1].

    ``hidden`` is the autoencoder's width, None for none.
    """

    def __init__(
        self, student_channels: int, teacher_channels: int, hidden: int | None, *, vector: bool
    ) -> None:
        super().__init__()
        channels = teacher_channels if hidden is None else hidden
        self.encoder = self.decoder = None
        if hidden is not None:
            self.encoder = nn.Sequential(nn.Conv2d(teacher_channels, hidden, 1), BatchNorm(hidden))
            self.decoder = nn.Conv2d(hidden, teacher_channels, 1)
        self.transform = nn.Conv2d(student_channels, channels, 1)
        layers = denoisers.vector_layers if vector else denoisers.map_layers
        self.denoiser = denoisers.TableDenoiser(channels, layers(channels))
        self.adapter = denoisers.NoiseAdapter(channels, vector=vector)
        self.project = nn.Sequential(nn.Conv2d(channels, channels, 1), BatchNorm(channels))
        self.schedule = diffusion.Schedule()

    def forward(
        self, student: Tensor, teacher: Tensor, draws: Draws, steps: int, *, detach: bool = False
    ) -> Refined:
        """Maps [B, C_s, H, W] and [B, C_t, H, W]; draws adapter noise, diffusion noise, times."""
        student, teacher = pool_to_smaller(student, teacher)
        original = self.transform(student)
        target, reconstruction = self._encode(teacher)
        denoised, gamma = self._denoise(original, draws, steps, detach=detach)
        ddim = self._ddim_loss(target, draws)
        return Refined(original, self.project(denoised), target, ddim, reconstruction, gamma)

    def _encode(self, teacher: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.encoder is None or self.decoder is None:
            return teacher, None
        hidden = self.encoder(teacher)
        return hidden.detach(), functional.mse_loss(self.decoder(hidden), teacher)

    def _denoise(
        self, original: Tensor, draws: Draws, steps: int, *, detach: bool
    ) -> tuple[Tensor, Tensor]:
        gamma = self.adapter(original)
        noise = draws.normal(len(original), *original.shape[1:])
        start = diffusion.mix(original, noise, gamma)
        denoiser: diffusion.Denoiser = self.denoiser
        if detach:
            denoiser = diffusion.frozen(self.denoiser)
        times = diffusion.last_half_times(steps)
        return diffusion.sample(self.schedule, denoiser, start, times).clean, gamma

    def _ddim_loss(self, clean: Tensor, draws: Draws) -> Tensor:
        noise = draws.normal(len(clean), *clean.shape[1:])
        time = draws.integers(len(clean), high=diffusion.TIMES)
        return diffusion.noise_loss(self.schedule, self.denoiser, clean, noise, time)


class DiffKD(Distiller):
    """Knowledge diffusion for distillation."""

    paper = Paper(
        authors=(
            "Tao Huang and Yuan Zhang and Mingkai Zheng and Shan You and Fei Wang and "
            "Chen Qian and Chang Xu"
        ),
        title="Knowledge Diffusion for Distillation",
        venue="NeurIPS",
        year=2023,
        arxiv="2305.15712",
    )
    Config = DiffKDConfig
    config: DiffKDConfig

    def __init__(self, config: DiffKDConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        student, teacher = setup.student.shapes, setup.require_teacher().shapes
        self._draws = setup.draws
        self._health: dict[str, Tensor] = {}
        self.places = nn.ModuleDict()
        for place in config.places:
            channels = teacher[place][0]
            hidden = None
            if place == "map" and config.use_autoencoder:
                hidden = config.autoencoder_channels or max(channels // 2, 1)
            vector = place == "logits"
            self.places[place] = Place(student[place][0], channels, hidden, vector=vector)

    @classmethod
    def reads_with(cls, config: DiffKDConfig) -> Reads:
        """What ``places`` names."""
        features = Reads.FEATURES if "map" in config.places else Reads(0)
        return features | (Reads.LOGITS if "logits" in config.places else Reads(0))

    def student_taps(self) -> tuple[str, ...]:
        """The last map, unless only the logits are used."""
        return ("map",) if "map" in self.places else ()

    def teacher_taps(self) -> tuple[str, ...]:
        """The last map, unless only the logits are used."""
        return self.student_taps()

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce``, and per place ``*_kd`` and ``*_ddim``; ``map_rec`` of the autoencoder."""
        settings = self.config
        terms = {"ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth)}
        for place in settings.places:
            refined = self._refine(place, student, teacher, self._draws)
            terms[f"{place}_kd"] = self._distance(place, refined)
            terms[f"{place}_ddim"] = settings.ddim_weight * refined.ddim
            if refined.reconstruction is not None:
                terms[f"{place}_rec"] = settings.reconstruction_weight * refined.reconstruction
            figures = health(refined, centred=place == "logits")
            self._health |= {f"{place}_{name}": figure for name, figure in figures.items()}
        return terms

    def _refine(self, place: str, student: Outputs, teacher: Outputs, draws: Draws) -> Refined:
        settings = self.config
        features = (_tap(student, place), _tap(teacher, place))
        refined: Refined = self.places[place](
            *features, draws, settings.inference_steps, detach=settings.detach_denoiser
        )
        return refined

    def _distance(self, place: str, refined: Refined) -> Tensor:
        """Between denoised student and teacher: mean squared at the map, KL at the logits."""
        settings = self.config
        if place == "map":
            return settings.map_weight * functional.mse_loss(refined.denoised, refined.target)
        logits = refined.denoised.flatten(1), refined.target.flatten(1)
        return settings.logits_weight * kd_loss(*logits, settings.temperature)

    def diagnostics(self) -> dict[str, Tensor]:
        """Per place what :func:`health` says of the last batch."""
        return dict(self._health)

    @torch.no_grad()
    def inspect(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        """Pooled features [B, C] in the space of the first place: before, after, and teacher's.

        The noise is the same at every call and leaves the training stream alone.
        """
        draws = Draws(torch.Generator(batch.label.device).manual_seed(INSPECT_SEED))
        refined = self._refine(self.config.places[0], student, teacher, draws)
        return {
            "original": refined.original.mean((2, 3)),
            "denoised": refined.denoised.mean((2, 3)),
            "teacher": refined.target.mean((2, 3)),
        }


def _tap(outputs: Outputs, place: str) -> Tensor:
    return outputs["map"] if place == "map" else outputs.logits[:, :, None, None]
