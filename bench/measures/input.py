"""Image folders: images per second of a core, against torchvision's and timm's loaders.

The same JPEG files and transforms (random crops of 224 pixels, mirrored, normalised), in turns. All
keep their processes from one epoch to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
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
from bench.timing import Seconds, in_turns, ratios, spread
from suite.config import DataConfig
from suite.data import load
from suite.data.base import TrainImages
from suite.data.decoding import MEAN, STD

WIDTH, HEIGHT, QUALITY, SIDE = 500, 375, 90, 224  # of a typical ImageNet file, and its crop
BATCH_SIZE = 32
IMAGES, ALL_IMAGES = 640, 4_992  # whole batches
PAUSE_SECONDS = 1.0
"""Between two epochs, as an evaluation takes it."""

Epoch = Callable[[], Iterable[Any]]


def measure(settings: Settings) -> Iterator[Figure]:
    """Epochs with 0, 1 and 2 loading processes (each is a core), and what the first batches take.

    Epochs are measured from the second on, the start of processes apart.
    """
    torch.set_num_threads(1)
    images = ALL_IMAGES if settings.full else IMAGES
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_photographs(root / "photographs" / "train", images)
        for workers in (0, 1, 2):
            with ExitStack() as stack:
                epochs = loaders(root, workers, stack, ahead=False)
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
        begun, gone_on = _first_batches(root, settings.rounds)
        for name in begun:
            yield Figure(f"{name}: to the first batch of a run", spread(begun[name]), "s")
            yield Figure(f"{name}: of a later epoch", spread(gone_on[name]), "s")


def _first_batches(root: Path, rounds: int) -> tuple[Seconds, Seconds]:
    """Seconds with 2 processes: from their start, and of the second epoch after a pause."""
    begun: Seconds = {}
    gone_on: Seconds = {}
    for _ in range(rounds):
        for name in ("suite", "suite, Pillow", "torchvision", "timm"):
            with ExitStack() as stack:
                epoch = loaders(root, 2, stack, ahead=True)[name]  # no other has processes
                begun.setdefault(name, []).append(_first_batch(epoch))
                time.sleep(PAUSE_SECONDS)
                gone_on.setdefault(name, []).append(_first_batch(epoch))
                del epoch
    return begun, gone_on


def _first_batch(epoch: Epoch) -> float:
    """Seconds until it is there; the others are read too."""
    started = time.perf_counter()
    batches = iter(epoch())
    next(batches)
    taken = time.perf_counter() - started
    for _ in batches:
        pass
    return taken


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


def loaders(root: Path, workers: int, stack: ExitStack, *, ahead: bool) -> dict[str, Epoch]:
    """What begins an epoch, by the loader's name; ``stack`` ends the suite's processes.

    With ``ahead`` the suite's begin with an epoch before it is asked for, as in training.
    """
    pillow = DataConfig(name="photographs", train_split="trainval", eval_splits=())
    quick = pillow.model_copy(update={"decoder": "torchvision"})
    ours, plain = (
        stack.enter_context(closing(load(config, root, workers))).train
        for config in (quick, pillow)
    )
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
        "suite": _one_after_the_other(ours, ahead=ahead),
        "suite, Pillow": _one_after_the_other(plain, ahead=ahead),
        "torchvision": lambda: theirs,
        "timm": lambda: timms,
    }


def _one_after_the_other(images: TrainImages, *, ahead: bool) -> Epoch:
    numbers = count(1)

    def epoch() -> Iterable[Any]:
        number = next(numbers)
        return images.epoch(0, number, BATCH_SIZE, epochs=number + 1 if ahead else None)

    return epoch


def _read(epoch: Epoch) -> None:
    for _ in epoch():
        pass
