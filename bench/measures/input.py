"""Image folders: images per second of a core, against torchvision's and timm's loaders.

The same JPEG files and transforms (random crops of 224 pixels, mirrored, normalised), in turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import timm.data
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from bench.registry import Figure, Settings
from bench.timing import in_turns, ratios, spread
from suite.config import DataConfig
from suite.data import load
from suite.data.decoding import MEAN, STD

WIDTH, HEIGHT, QUALITY, SIDE = 500, 375, 90, 224  # of a typical ImageNet file, and its crop
BATCH_SIZE = 32
IMAGES, ALL_IMAGES = 640, 4_992  # whole batches

Epoch = Callable[[], Iterable[Any]]


def measure(settings: Settings) -> Iterator[Figure]:
    """An epoch with 0, 1 and 2 loading processes, their start included; a process is a core."""
    torch.set_num_threads(1)
    images = ALL_IMAGES if settings.full else IMAGES
    with TemporaryDirectory() as folder:
        write_photographs(Path(folder) / "photographs" / "train", images)
        for workers in (0, 1, 2):
            epochs = loaders(Path(folder), workers)
            seconds = in_turns(
                {name: partial(_read, epoch) for name, epoch in epochs.items()}, settings.rounds
            )
            for name, taken in seconds.items():
                rates = spread([images / it / max(workers, 1) for it in taken])
                yield Figure(f"{name}, {workers} workers", rates, "images/s a core")
            for name in ("torchvision", "timm", "suite, Pillow"):
                ratio = ratios(seconds[name], seconds["suite"])
                goal = None if name.startswith("suite") else 2.0
                yield Figure(f"suite / {name}, {workers} workers", ratio, "x", at_least=goal)


def write_photographs(folder: Path, images: int) -> None:
    """JPEG files cut at random from scikit-learn's two photographs, one class each."""
    stream = np.random.default_rng(0)
    photographs = [Image.fromarray(it) for it in load_sample_images().images]  # 640 x 427 each
    for number in range(images):
        label = number % len(photographs)
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        photograph = photographs[label]
        width = int(stream.integers(WIDTH, photograph.width))
        height = width * HEIGHT // WIDTH
        left = int(stream.integers(0, photograph.width - width + 1))
        top = int(stream.integers(0, max(photograph.height - height, 0) + 1))
        cut = photograph.resize(
            (WIDTH, HEIGHT), box=(left, top, left + width, min(top + height, photograph.height))
        )
        cut.save(place / f"{number:04}.jpg", quality=QUALITY)


def loaders(root: Path, workers: int) -> dict[str, Epoch]:
    """What begins an epoch, by the loader's name."""
    pillow = DataConfig(name="photographs", train_split="trainval", eval_splits=())
    quick = pillow.model_copy(update={"decoder": "torchvision"})
    ours, plain = (load(config, root, workers).train for config in (quick, pillow))
    numbers = count(1)
    train = root / "photographs" / "train"
    standard = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIDE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    common: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    theirs = DataLoader(ImageFolder(str(train), standard), BATCH_SIZE, shuffle=True, **common)
    timms = timm.data.create_loader(
        timm.data.create_dataset("", root=str(train), is_training=True),
        input_size=(3, SIDE, SIDE),
        batch_size=BATCH_SIZE,
        is_training=True,
        color_jitter=0.0,
        interpolation="bilinear",
        mean=MEAN,
        std=STD,
        device=torch.device("cpu"),
        pin_memory=False,
        **common,
    )
    return {
        "suite": lambda: ours.epoch(0, next(numbers), BATCH_SIZE),
        "suite, Pillow": lambda: plain.epoch(0, next(numbers), BATCH_SIZE),
        "torchvision": lambda: theirs,
        "timm": lambda: timms,
    }


def _read(epoch: Epoch) -> None:
    for _ in epoch():
        pass
