"""What a recipe does to training images and labels beyond crop and flip."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from suite.config_base import Grown


class Augmentation(Grown):
    """A part of the section ``data``."""

    younger: ClassVar[tuple[str, ...]] = (
        "decoder",
        "auto_augment",
        "random_erasing",
        "random_erasing_mode",
        "mixup",
        "cutmix",
        "mix_probability",
        "cutmix_share",
        "label_smoothing",
    )
    augment: Literal["standard", "none"] = "standard"
    """``standard``: random crop with zero padding and horizontal flip where the data set allows it;
    RandomResizedCrop and flip for image folders."""
    decoder: Literal["torchvision"] | None = None
    """Image folders: ``torchvision`` decodes JPEG files and resizes crops in half the time, with
    pixels that differ by rounding; None: Pillow, as torchvision's ImageFolder. Runs without it have
    no such field."""
    auto_augment: str | None = None
    """After the crop and flip of training: ``trivial`` (torchvision's TrivialAugmentWide) or a
    policy in timm's notation, such as ``rand-m9-mstd0.5-inc1`` (RandAugment). Runs without a recipe
    of their own have neither this field nor those below."""
    random_erasing: float = Field(0.0, ge=0, le=1)
    """Probability that a patch of a training image is erased (timm's RandomErasing)."""
    random_erasing_mode: Literal["const", "rand", "pixel"] = "pixel"
    """The patch is 0, one random colour, or random in each pixel."""
    mixup: float = Field(0.0, ge=0)
    """alpha of mixup (timm's Mixup, one share for each batch); 0: none."""
    cutmix: float = Field(0.0, ge=0)
    """alpha of CutMix; 0: none."""
    mix_probability: float = Field(1.0, ge=0, le=1)
    """Of a batch to be mixed at all."""
    cutmix_share: float = Field(0.5, ge=0, le=1)
    """With both, probability of CutMix instead of mixup."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the labels that is spread evenly over all classes. Methods that need one class for
    each image take that of the largest share."""
