"""Corrupted images in the style of CIFAR-10-C and CIFAR-100-C (Hendrycks & Dietterich 2019).

Nine of their fifteen corruptions, of all four groups, in five severities with the constants of
their script for 32x32 pixels (make_cifar_c.py of hendrycks/robustness). The images are made here:
they are not the files that the authors published, and figures compare within this suite alone.

As theirs: all noises (other random numbers), defocus blur, brightness, contrast, pixelate and JPEG,
up to rounding. Motion blur follows what ImageMagick does: a one-sided Gaussian along a line, to the
nearest pixel, edges repeated. Ours: images larger than 32 pixels have lengths in pixels in
proportion, smaller ones have them as they are. Left out: glass and zoom blur, snow, frost, fog and
elastic transform.

Shapes: B images, C channels (1 or 3), H and W height and width.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

SEVERITIES = 5
SIDE = 32
"""For which the constants are."""

Corrupt = Callable[[Tensor, int, torch.Generator], Tensor]
"""Values [B, C, H, W] in 0..1, severity from 0, random stream -> the same, cut to 0..1 later."""


def corrupted(images: Tensor, kind: str, severity: int, stream: torch.Generator) -> Tensor:
    """One corruption of a batch.

    Args:
        images: [B, C, H, W] uint8 on the CPU.
        kind: A name of :data:`CORRUPTIONS`.
        severity: 1 to 5.
        stream: Random numbers.

    Returns:
        [B, C, H, W] uint8. Values are cut, not rounded, as theirs are.
    """
    changed = CORRUPTIONS[kind](images.float() / 255, severity - 1, stream)
    return (changed.clamp(0, 1) * 255 + ROUNDING).to(torch.uint8)


ROUNDING = 1e-3
"""Whole numbers stay themselves in float32; of 256 steps it is nothing."""


def gaussian_noise(images: Tensor, severity: int, stream: torch.Generator) -> Tensor:
    """Of one deviation everywhere."""
    deviation = (0.04, 0.06, 0.08, 0.09, 0.10)[severity]
    return images + deviation * torch.randn(images.shape, generator=stream)


def shot_noise(images: Tensor, severity: int, stream: torch.Generator) -> Tensor:
    """Poisson noise of so many photons at white."""
    photons = (500, 250, 100, 75, 50)[severity]
    return torch.poisson(images * photons, generator=stream) / photons


def impulse_noise(images: Tensor, severity: int, stream: torch.Generator) -> Tensor:
    """Salt and pepper: this share of values becomes 0 or 1, as skimage's ``random_noise``."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity]
    hit = torch.rand(images.shape, generator=stream) <= share
    salt = torch.rand(images.shape, generator=stream) <= 0.5
    return torch.where(hit, salt.float(), images)


def defocus_blur(images: Tensor, severity: int, _: torch.Generator) -> Tensor:
    """A disk, itself smoothed by a Gaussian: (radius, deviation)."""
    constants = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[severity]
    scale = _scale(images)
    radius, deviation = (scale * it for it in constants)
    reach = min(math.ceil(radius) + round(scale), min(images.shape[2:]) // 2)
    offsets = torch.arange(-reach, reach + 1).float()
    disk = (offsets[:, None] ** 2 + offsets**2 <= radius**2).float()
    taps = _gaussian(torch.arange(-round(scale), round(scale) + 1), deviation)
    smoothing = (taps[:, None] * taps)[None, None]
    kernel = functional.conv2d((disk / disk.sum())[None, None], smoothing, padding="same")
    padded = functional.pad(images, (reach,) * 4, mode="reflect")
    each = padded.flatten(0, 1)[:, None]  # [B C, 1, H, W]
    return functional.conv2d(each, kernel).view_as(images)


def motion_blur(images: Tensor, severity: int, stream: torch.Generator) -> Tensor:
    """Along a line at -45 to 45 degrees, drawn for each image: (radius, deviation)."""
    constants = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))[severity]
    radius, deviation = (_scale(images) * it for it in constants)
    angles = (torch.rand(len(images), generator=stream) - 0.5) * (math.pi / 2)
    steps = torch.arange(2 * math.ceil(radius) + 1)
    weights = _gaussian(steps, deviation)
    height, width = images.shape[2:]
    which = torch.arange(len(images))[:, None, None]
    blurred = torch.zeros_like(images).movedim(1, -1)  # [B, H, W, C]
    for step, weight in zip(steps.tolist(), weights.tolist(), strict=True):
        down, right = (
            torch.ceil(step * it - 0.5).long() for it in (torch.sin(angles), torch.cos(angles))
        )
        rows = (torch.arange(height) + down[:, None]).clamp(0, height - 1)  # [B, H]
        columns = (torch.arange(width) + right[:, None]).clamp(0, width - 1)  # [B, W]
        blurred += weight * images[which, :, rows[:, :, None], columns[:, None, :]]
    return blurred.movedim(-1, 1)


def brightness(images: Tensor, severity: int, _: torch.Generator) -> Tensor:
    """More of the value of HSV, whose hue and saturation stay: all channels grow by one factor."""
    added = (0.05, 0.1, 0.15, 0.2, 0.3)[severity]
    value = images.amax(dim=1, keepdim=True)
    brighter = (value + added).clamp(max=1)
    return torch.where(value > 0, images * (brighter / value.clamp(min=1e-6)), brighter)


def contrast(images: Tensor, severity: int, _: torch.Generator) -> Tensor:
    """Closer to the mean of each channel of the image."""
    share = (0.75, 0.5, 0.4, 0.3, 0.15)[severity]
    means = images.mean(dim=(2, 3), keepdim=True)
    return (images - means) * share + means


def pixelate(images: Tensor, severity: int, _: torch.Generator) -> Tensor:
    """Smaller and large again, both by Pillow's box filter."""
    share = (0.95, 0.9, 0.85, 0.75, 0.65)[severity]

    def change(image: Image.Image) -> Image.Image:
        small = tuple(max(1, int(side * share)) for side in image.size)
        box = Image.Resampling.BOX
        return image.resize((small[0], small[1]), box).resize(image.size, box)

    return _by_pillow(images, change)


def jpeg_compression(images: Tensor, severity: int, _: torch.Generator) -> Tensor:
    """Through a JPEG file of this quality."""
    quality = (80, 65, 58, 50, 40)[severity]

    def change(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _by_pillow(images, change)


CORRUPTIONS: dict[str, Corrupt] = {
    made.__name__: made
    for made in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        motion_blur,
        brightness,
        contrast,
        pixelate,
        jpeg_compression,
    )
}


def _scale(images: Tensor) -> float:
    return max(1.0, min(images.shape[2:]) / SIDE)


def _gaussian(at: Tensor, deviation: float) -> Tensor:
    """Weights that add up to 1."""
    weights = torch.exp(-((at.double() / deviation) ** 2) / 2)
    return (weights / weights.sum()).float()


def _by_pillow(images: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Each image on its own."""
    raw = (images * 255).round().to(torch.uint8).movedim(1, -1).numpy()  # [B, H, W, C]
    grey = raw.shape[-1] == 1
    changed = [np.asarray(change(Image.fromarray(it[..., 0] if grey else it))) for it in raw]
    stacked = torch.from_numpy(np.stack(changed)).float() / 255
    return stacked[:, None] if grey else stacked.movedim(-1, 1)
