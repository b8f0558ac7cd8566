"""Data sets by name, each with a training, a validation and a test split."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from suite.config import DataConfig
from suite.data.arrays import ArrayEval, ArrayTrain, Pixels
from suite.data.base import DataError, Dataset, EvalImages, TrainImages
from suite.data.folder import FOLDERS, describe_folder, load_folder
from suite.data.sources import SOURCES, Source
from suite.data.split import training_and_validation
from suite.errors import unknown

__all__ = [
    "DataError",
    "Dataset",
    "EvalImages",
    "TrainImages",
    "describe",
    "in_folders",
    "load",
    "names",
]


def names() -> tuple[str, ...]:
    """All data sets."""
    return (*SOURCES, *FOLDERS)


def in_folders(name: str) -> bool:
    """Whether the images are read from folders as they are needed, and not held in memory."""
    return name in FOLDERS


def load(config: DataConfig, root: Path, workers: int = 0) -> Dataset:
    """The data set of ``config`` with the splits it asks for; others are not even read.

    ``root`` is the folder of all data sets, ``workers`` the number of loading processes (image
    folders only). Raises :class:`DataError`.
    """
    if config.name in SOURCES:
        return _load_arrays(config, SOURCES[config.name], root)
    if config.name in FOLDERS:
        return load_folder(config, root, workers)
    raise DataError(unknown("data set", config.name, names()))


def describe(name: str, root: Path) -> tuple[str, str, str, str]:
    """Classes, images per split, image size and place of the files, as text.

    Raises :class:`DataError` for a name that is not in :func:`names`.
    """
    if name in FOLDERS:
        return describe_folder(name, root)
    if name not in SOURCES:
        raise DataError(unknown("data set", name, names()))
    source = SOURCES[name]
    train = source.train_images - source.validation_images
    images = f"{train:,} / {source.validation_images:,} / {source.test_images:,}"
    place = str(root / source.files) if source.files else "none needed"
    size = f"{source.channels}x{source.size}x{source.size}"
    return str(source.num_classes), images, size, place


def _load_arrays(config: DataConfig, source: Source, root: Path) -> Dataset:
    classes = source.num_classes if config.classes is None else config.classes
    if classes > source.num_classes:
        raise DataError(f"data.classes {classes}: {config.name} has {source.num_classes} classes")
    images, labels = source.read(root, True)
    chosen = training_and_validation(config, labels.numpy(), source.validation_images)
    rows, validation = map(torch.from_numpy, chosen)

    def pixels(images: Tensor, labels: Tensor) -> Pixels:
        resized = _resize(images, config.image_size)
        return Pixels.of(resized, labels, source.mean, source.std)

    train = pixels(images[rows], labels[rows])
    evals: dict[str, EvalImages] = {}
    if "val" in config.eval_splits and len(validation):
        evals["val"] = ArrayEval(pixels(images[validation], labels[validation]))
    if "test" in config.eval_splits:
        images, labels = source.read(root, False)
        some = labels < classes
        evals["test"] = ArrayEval(pixels(images[some], labels[some]))
    augment = config.augment == "standard"
    height = train.images.shape[2]
    return Dataset(
        name=config.name,
        num_classes=classes,
        image_shape=(source.channels, height, train.images.shape[3]),
        train_labels=train.labels,
        # 4 of 32 pixels as in He et al. 2016 (CIFAR), in proportion for other sizes
        train=ArrayTrain(train, height // 8 if augment else 0, augment and source.flip),
        evals=evals,
    )


def _resize(images: Tensor, size: int | None) -> Tensor:
    """Bytes [N, C, H, W] -> bytes [N, C, size, size], bilinear with antialiasing."""
    if size is None or size == images.shape[2]:
        return images
    resized = images.new_empty(*images.shape[:2], size, size)
    for part, out in zip(torch.split(images, 1000), torch.split(resized, 1000), strict=True):
        smooth = functional.interpolate(
            part.float(), size=(size, size), mode="bilinear", antialias=True
        )
        out.copy_(smooth.round().clamp(0, 255))
    return resized
