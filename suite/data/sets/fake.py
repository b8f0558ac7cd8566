"""Ten faint patterns under noise: learnable, and never mistaken for data."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from suite.data.source import Source
from suite.interface.rng import generator

TRAIN_IMAGES, TEST_IMAGES = 640, 200


def read(_: Path, train: bool) -> tuple[Tensor, Tensor]:
    """One part, made anew."""
    count = TRAIN_IMAGES if train else TEST_IMAGES
    patterns = torch.rand(10, 3, 16, 16, generator=generator(0, "fake patterns"))
    stream = generator(0, "fake train" if train else "fake test")
    labels = torch.arange(count) % 10
    noise = torch.rand(count, 3, 16, 16, generator=stream)
    images = (0.35 * patterns[labels] + 0.65 * noise) * 255
    return images.to(torch.uint8), labels


SOURCE = Source(
    num_classes=10,
    train_images=TRAIN_IMAGES,
    validation_images=128,
    test_images=TEST_IMAGES,
    size=16,
    channels=3,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    flip=True,
    read=read,
)
