"""DSKD: the student learns from its own features after the teacher's classifier has denoised them.

A reimplementation from the abstract of the paper, whose code is not public; ``docs/dskd.md`` names
every choice. One step, in the default reading:

1. x: the student's last feature map, centred and scaled by running figures (``RunningScale``).
2. ``diffusion``: a light denoiser learns to predict the noise in noised x (no gradient to x).
3. x is noised to ``t_start`` and brought back in ``diffusion_steps`` DDIM steps, each bent towards
   what the teacher's classifier, reading x through the projector P, wants to see (``guidance``).
4. ``lsh``: locality-sensitive hashes of x learn the codes of the denoised x (no gradient to it).
5. ``anchor``: P learns to speak the teacher's language: the teacher's classifier on P(x).

The deployed student is the plain network.

Shapes: B batch, K classes, C channels, H and W height and width; s student, t teacher.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from baselines import _guidance as guidance
from baselines._adapters import as_map
from baselines._diffusion import TIMES, Sampled
from baselines._feature_diffusion import FeatureDiffusion
from baselines._features import RunningScale, feature_health
from baselines._hashing import (
    MOST_BITS,
    HashLayer,
    code_health,
    code_loss_per_row,
    differing_loss_per_row,
    mean_over,
)
from baselines._losses import is_label, unit_rows
from baselines.kd import kd_loss
from suite.interface.distiller import (
    Batch,
    Distiller,
    MethodConfig,
    Progress,
    Setup,
    UnsupportedPair,
    tunable,
)
from suite.interface.paper import Paper
from suite.interface.rng import Draws
from suite.interface.taps import Outputs

INSPECT_SEED = 0
"""Of the noise in :meth:`DSKD.inspect`, which must not move the training stream."""


class DSKDConfig(MethodConfig):
    """Our reading of the abstract; what has no source is a choice of ours (``docs/dskd.md``)."""

    # The feature and its space
    feature: Literal["auto", "map", "pooled"] = "auto"
    """``auto``: the last map, or the pooled feature where the teacher's head reads no map."""
    space: Literal["student", "teacher"] = "student"
    """Where diffusion and hashing happen: on the student's feature, or on its projection."""
    centred: bool = True
    momentum: float = Field(0.1, gt=0, le=1)  # of running figures, as batch normalisation
    teacher_head: Literal["trained", "untrained"] = "trained"  # untrained: negative control

    # Diffusion
    diffusion_source: Literal["student", "teacher"] = "student"
    """Whose features the denoiser learns; ``teacher`` (as DiffKD) needs ``space: teacher``."""
    diffusion_weight: float = tunable(1.0, low=0.1, high=10.0, log=True, ge=0)
    """Only the denoiser gets this term's gradient: under SGD it scales its learning rate."""
    denoiser_width: float = Field(0.25, gt=0, le=4)  # of C; a quarter in DiffKD
    start: Literal["noised", "adapter"] = "noised"
    """``adapter``: mixed with noise by the share that DiffKD's noise adapter guesses."""
    t_start: int = tunable(200, low=50, high=900, ge=1, lt=TIMES)  # DiffKD: 500 of 1000
    diffusion_steps: int = tunable(5, low=1, high=20, ge=0)  # DiffKD: 5; 0: x itself (control)

    virtual_teacher: Literal["denoised", "shifted", "gradient"] = "shifted"
    """What x learns from: ``denoised`` x, or x ``shifted`` by what guidance changed (the guided
    sample minus the unguided one of the same noise). Denoising draws features towards what is
    frequent, so that features that learn from it alone collapse; in the difference that cancels.
    ``gradient``: x after one step along the guidance, as long as that of sampling, without any
    diffusion (negative control; the denoiser still learns, and nothing reads it)."""

    # Guidance
    guidance_target: Literal["label", "teacher", "shuffled"] = "teacher"
    """The class, the teacher's prediction, or another image's label (negative control)."""
    guide_at: Literal["x_t", "x_0"] = "x_0"  # Dhariwal and Nichol 2021: x_t
    guidance_scale: float = tunable(100.0, low=1.0, high=1000.0, log=True, ge=0)
    guidance_temperature: float = tunable(4.0, low=1.0, high=8.0, log=True, gt=0)  # as KD

    # Hashing
    hash_bits: int = tunable(
        2048, low=64, high=8192, log=True, ge=1, le=MOST_BITS
    )  # LSHFM, ImageNet: 2,048
    hash_bias: Literal["zero", "mean", "median"] = "zero"
    """Where the hyperplanes cut: at 0, or at the running mean or median of denoised features."""
    hash_std: float | Literal["classifier"] = 1.0
    """Of the entries of W; ``classifier``: of the teacher's classifier weights, as LSHFM."""
    hash_at: Literal["pooled", "positions"] = "pooled"
    hash_length: Literal["kept", "unit"] = "unit"
    """``unit``: features are hashed at length 1, so that the codes can turn them but not stretch
    them; their own codes then pull them nowhere."""
    hash_loss: Literal["all", "differing"] = "differing"
    """Bits that count: ``differing`` takes those where original and denoised codes differ, which
    is what the loss exceeds its value for the feature's own codes by."""
    target_loss: Literal["lsh", "l2"] = "lsh"  # l2 between the features: negative control
    lsh_weight: float = tunable(300.0, low=3.0, high=3000.0, log=True, ge=0)
    lsh_warmup_epochs: int = Field(0, ge=0)
    only_correct: bool = False
    """``lsh`` only on images that the teacher classifies correctly, as LSHFM."""

    # The other terms
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    anchor: Literal["none", "ce", "kl"] = "kl"
    """The teacher's classifier on P(x) against the label, or against the teacher's prediction."""
    anchor_weight: float = tunable(1.0, low=0.1, high=10.0, log=True, ge=0)
    anchor_temperature: float = tunable(4.0, low=1.0, high=16.0, log=True, gt=0)  # as KD
    anchor_reaches_student: bool = False
    """False: the anchor trains the projector alone; no loss aligns student and teacher directly."""
    kd_weight: float = Field(0.0, ge=0)  # for a row "DSKD+KD"
    kd_temperature: float = Field(4.0, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.diffusion_source == "teacher" and self.space == "student":
            raise ValueError("diffusion_source 'teacher' needs space 'teacher'")
        if self.diffusion_steps > self.t_start:
            raise ValueError(
                f"diffusion_steps {self.diffusion_steps} must be at most t_start {self.t_start}"
            )
        if self.hash_std != "classifier" and self.hash_std <= 0:
            raise ValueError(f"hash_std {self.hash_std} must be 'classifier' or above 0")
        return self


class DSKD(Distiller):
    """Student self-distillation through teacher-guided diffusion."""

    paper = Paper(
        authors=(
            "Yu Wang and Chuanguang Yang and Zhulin An and Weilun Feng and Jiarui Zhao "
            "and Chengqing Yu and Libo Huang and Boyu Diao and Yongjun Xu"
        ),
        title="Teacher-Guided Student Self-Knowledge Distillation Using Diffusion Model",
        year=2026,
        arxiv="2602.02107",
    )
    Config = DSKDConfig
    config: DSKDConfig

    def __init__(self, config: DSKDConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        teacher = setup.require_teacher()
        reads_maps = config.feature != "pooled" and guidance.head_reads_maps(teacher)
        if config.feature == "map" and not reads_maps:
            raise UnsupportedPair("feature 'map': the teacher's head reads no map; use 'pooled'")
        self._tap = "map" if reads_maps else "pooled"
        self._draws = setup.draws
        self._health: dict[str, Tensor] = {}
        c_s, c_t = setup.student.shapes[self._tap][0], teacher.shapes[self._tap][0]
        channels = c_s if config.space == "student" else c_t
        trained = config.teacher_head == "trained"
        self.head = guidance.TeacherHead(teacher, pooled=not reads_maps, trained=trained)
        self.projector = guidance.Projector(c_s, c_t)
        self.scale = RunningScale(
            channels, setup.gather, centred=config.centred, momentum=config.momentum
        )
        self.diffusion = FeatureDiffusion(
            channels,
            config.denoiser_width,
            config.t_start,
            config.diffusion_steps,
            vector=not reads_maps,
            adapter=config.start == "adapter",
        )
        std = config.hash_std if config.hash_std != "classifier" else self.head.std.item()
        self.hash = HashLayer(channels, config.hash_bits, std, setup.draws)

    def student_taps(self) -> tuple[str, ...]:
        """The last map or the pooled feature."""
        return (self._tap,)

    def teacher_taps(self) -> tuple[str, ...]:
        """The same of the teacher if the denoiser learns its features, else none."""
        return (self._tap,) if self.config.diffusion_source == "teacher" else ()

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce``, ``diffusion`` and ``lsh``, and as configured ``adapter``, ``anchor``, ``kd``."""
        settings = self.config
        feature = as_map(student[self._tap])  # [B, C_s, H, W]
        projected = self.projector(feature)  # [B, C_t, H, W]
        in_space = feature if settings.space == "student" else projected
        from_teacher = settings.diffusion_source == "teacher"
        source = as_map(teacher[self._tap]) if from_teacher else in_space.detach()
        self.scale.update(source)
        x = self.scale(in_space)
        terms = {"ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth)}

        learned, relative = self.diffusion.loss(self.scale(source), self._draws)
        terms["diffusion"] = settings.diffusion_weight * learned
        if settings.start == "adapter":
            adapted = self.diffusion.adapter_loss(x.detach(), self._draws)
            terms["adapter"] = settings.diffusion_weight * adapted
        target = self._guidance_target(batch, teacher, self._draws)
        denoised = self._denoise(x.detach(), target, self._draws)

        chosen = (teacher.logits.argmax(1) == batch.label) | (not settings.only_correct)
        per_image = self._target_loss(x, denoised.clean)
        distance = mean_over(self.gather(chosen), self.gather(per_image))
        warmup = progress.warmup(settings.lsh_warmup_epochs)
        terms["lsh"] = warmup * settings.lsh_weight * distance

        if settings.anchor != "none":
            alone = not settings.anchor_reaches_student
            read = self.head(self.projector(feature.detach()) if alone else projected)
            terms["anchor"] = settings.anchor_weight * self._anchor(read, batch, teacher)
        if settings.kd_weight > 0:
            distance = kd_loss(student.logits, teacher.logits, settings.kd_temperature)
            terms["kd"] = settings.kd_weight * distance
        self._health |= {
            "diffusion_relative": relative,
            "guidance_ratio": denoised.guidance_ratio,
            **feature_health(self.reader().logits, x.detach(), denoised.clean, batch.label),
        }
        return terms

    def _guidance_target(self, batch: Batch, teacher: Outputs, draws: Draws) -> Tensor:
        """[B, K], each row a distribution."""
        settings, label = self.config, batch.label
        if settings.guidance_target == "teacher":
            return functional.softmax(teacher.logits / settings.guidance_temperature, dim=1)
        if settings.guidance_target == "shuffled":
            label = label[draws.normal(len(label)).argsort()]
        return is_label(label, teacher.logits.shape[1]).to(teacher.logits.dtype)

    def _denoise(self, clean: Tensor, target: Tensor, draws: Draws) -> Sampled:
        """The virtual teacher's feature: sampling bent towards ``target`` [B, K] by the head."""
        settings, reader = self.config, self.reader()

        def guide(noisy: Tensor, predicted: Tensor) -> Tensor:
            at = predicted if settings.guide_at == "x_0" else noisy
            pull = reader.gradient(at, target, settings.guidance_temperature)
            return settings.guidance_scale * pull

        if settings.virtual_teacher == "gradient":
            return self.diffusion.step_along(clean, guide(clean, clean))
        guide_if_any = guide if settings.guidance_scale > 0 else None
        shift = settings.virtual_teacher == "shifted"
        return self.diffusion.denoise(clean, draws, guide_if_any, shift=shift)

    def reader(self) -> guidance.Reader:
        """The teacher's classifier as a function of x."""
        in_student_space = self.config.space == "student"
        projector = self.projector if in_student_space else None
        return guidance.reader_of(self.head, projector, self.scale)

    def _target_loss(self, x: Tensor, denoised: Tensor) -> Tensor:
        """[B]: from x to the denoised x, by their codes or (control) directly."""
        settings = self.config
        rows, target = self._rows(x), self._rows(denoised)  # [B, P, C]
        if settings.target_loss == "l2":
            return (rows - target).square().mean((1, 2))
        self.hash.follow(self.gather(target.flatten(0, 1)), settings.hash_bias, settings.momentum)
        hashes, wanted = self.hash(rows), self.hash(target)  # [B, P, bits]
        self._health |= code_health(hashes.detach(), wanted)
        differing = settings.hash_loss == "differing"
        loss = differing_loss_per_row if differing else code_loss_per_row
        return loss(hashes.flatten(1), wanted.flatten(1))

    def _rows(self, feature: Tensor) -> Tensor:
        """[B, C, H, W] -> what is hashed, [B, P, C]: the pooled feature, or all positions."""
        rows = feature.flatten(2).transpose(1, 2)
        rows = rows if self.config.hash_at == "positions" else rows.mean(1, keepdim=True)
        return unit_rows(rows) if self.config.hash_length == "unit" else rows

    def _anchor(self, logits: Tensor, batch: Batch, teacher: Outputs) -> Tensor:
        if self.config.anchor == "ce":
            return functional.cross_entropy(logits, batch.label)
        return kd_loss(logits, teacher.logits, self.config.anchor_temperature)

    def diagnostics(self) -> dict[str, Tensor]:
        """Health of the last step; ``docs/dskd.md`` says what each figure should look like."""
        return dict(self._health)

    @torch.no_grad()
    def inspect(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        """Pooled features [B, C] before denoising, after it, and of the virtual teacher.

        ``denoised`` is the unguided sample. The ``virtual_teacher`` has seen the guidance target,
        by default what the teacher says of the very image.
        ``trajectory`` [B, steps + 1, C]: the pooled feature after every step towards the virtual
        teacher, which is the last; ``trajectory_nll`` [B, steps + 1]: the teacher head's negative
        log-likelihood of the label there, in nats. The noise is the same in both samples and at
        every call, and leaves the training stream alone.
        """

        def draws() -> Draws:
            return Draws(torch.Generator(batch.label.device).manual_seed(INSPECT_SEED))

        feature = as_map(student[self._tap])
        in_space = feature if self.config.space == "student" else self.projector(feature)
        x = self.scale(in_space)
        plain = self.diffusion.denoise(x, draws(), None)
        virtual = self._denoise(x, self._guidance_target(batch, teacher, draws()), draws())
        steps = virtual.trajectory
        if self.config.virtual_teacher == "shifted":
            pairs = zip(virtual.trajectory, plain.trajectory, strict=True)
            steps = [x + guided - unguided for guided, unguided in pairs]
        logits = [self.reader().logits(step) for step in steps]
        surprise = [functional.cross_entropy(z, batch.label, reduction="none") for z in logits]
        means = [self.scale.undo(step).mean((2, 3)) for step in steps]
        return {
            "original": in_space.mean((2, 3)),
            "denoised": self.scale.undo(plain.clean).mean((2, 3)),
            "virtual_teacher": self.scale.undo(virtual.clean).mean((2, 3)),
            "trajectory": torch.stack(means, dim=1),
            "trajectory_nll": torch.stack(surprise, dim=1),
        }
