"""Data sets by name, each with a training, a validation and a test split."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from suite.config import Columns, DataConfig, FolderContents, Normalisation
from suite.data import decoding, sets
from suite.data.arrays import ArrayTrain, Pixels
from suite.data.base import DataError, Dataset, EvalImages, TrainImages
from suite.data.contents import contents_of
from suite.data.folder import describe_folder, load_folder
from suite.data.listing import ELSEWHERE, HIDDEN, NO_COLUMNS, TRAIN, parquet_folder
from suite.data.policies import Policy
from suite.data.source import Source
from suite.data.split import of_classes, training_and_validation
from suite.interface.errors import unknown

__all__ = [
    "NO_FILES",
    "DataError",
    "Dataset",
    "EvalImages",
    "TrainImages",
    "check_name",
    "describe",
    "identify",
    "in_folders",
    "load",
    "modules",
    "names",
    "normalisation",
    "require_contents",
]

FOLDERS = ("imagenet", "imagefolder")
"""Image folders that are listed among the data sets even where they are not there."""
NO_FILES = "none needed"
"""Where the files of a set lie that ships with a package."""


def names(root: Path | None = None) -> tuple[str, ...]:
    """All data sets; with ``root`` the image folders in it too."""
    found: list[str] = []
    with suppress(OSError):
        found = [] if root is None else sorted(os.listdir(root))  # noqa: PTH208 (names)
    folders = [it for it in found if _is_folder_name(it) and _has_images(f"{root}/{it}")]
    return tuple(dict.fromkeys([*sets.names(), *FOLDERS, *folders]))


def check_name(name: object, root: Path | None = None) -> None:
    """Raise :class:`DataError` unless ``name`` is a data set, or an image folder in ``root``."""
    if name in sets.names() or name in FOLDERS:
        return
    if not isinstance(name, str) or root is None or not name:
        raise DataError(unknown("data set", name, names(root)))
    if not _is_folder_name(name):
        raise DataError(
            f"data.name {name!r}: must be the name of a folder in {root}, without '/', control "
            "characters or a dot at its start"
        )
    if not os.path.isdir(root / name):  # noqa: PTH112 (a folder that may not be read is none)
        raise DataError(
            f"{unknown('data set', name, names(root))}; image folders lie in {root}, for example "
            f"{root / name}/train/<class>/<image>.jpg; {ELSEWHERE}"
        )


def _has_images(folder: str) -> bool:
    try:
        return os.path.isdir(f"{folder}/{TRAIN}") or bool(parquet_folder(Path(folder)))  # noqa: PTH112
    except (OSError, DataError):
        return False  # what cannot be read is not listed; its use says why


def _is_folder_name(name: str) -> bool:
    return not name.startswith(HIDDEN) and "/" not in name and name.isprintable()


def in_folders(name: str) -> bool:
    """Whether the images are read from folders as they are needed, and not held in memory."""
    return name not in sets.names()


def modules(name: str) -> tuple[str, ...]:
    """The module in which the data set is defined; none of image folders."""
    return () if in_folders(name) else (sets.module(name),)


def normalisation(name: str) -> Normalisation:
    """What images of a data set are normalised with."""
    if in_folders(name):
        return Normalisation(mean=decoding.MEAN, std=decoding.STD)
    source = sets.find(name)
    return Normalisation(mean=source.mean, std=source.std)


def identify(
    name: str, root: Path, cache: Path | None = None, columns: Columns | None = None
) -> FolderContents | None:
    """What identifies the images of an image folder; None for the other sets, which are fixed.

    See :func:`suite.data.contents.contents_of`. Raises :class:`DataError`.
    """
    check_name(name, root)
    if in_folders(name):
        return contents_of(root / name, cache, columns=columns)
    if columns not in (None, Columns()):
        raise DataError(f"data set {name}: {NO_COLUMNS}")
    return None


def require_contents(config: DataConfig) -> None:
    """Raise :class:`DataError` for a run of an image folder that does not say of which images."""
    if in_folders(config.name) and config.contents is None:
        raise DataError(
            f"data.contents: missing: which images {config.name} holds is part of the run; sweeps "
            "and `dskd-bench train` fill it in"
        )


def load(
    config: DataConfig, root: Path, workers: int | None = 0, cache: Path | None = None
) -> Dataset:
    """The data set of ``config`` with the splits it asks for; others are not even read.

    ``root`` is the folder of all data sets, ``workers`` the number of loading processes (image
    folders only; None: one for each core), ``cache`` a folder for what is known of large image
    folders. Raises :class:`DataError`.
    """
    check_name(config.name, root)
    if in_folders(config.name):
        return load_folder(config, root, workers, cache)
    return _load_arrays(config, sets.find(config.name), root)


def describe(name: str, root: Path) -> tuple[str, str, str, str]:
    """Classes, images per split, image size and place of the files, as text.

    Raises :class:`DataError` for a name that is not in :func:`names`.
    """
    check_name(name, root)
    if in_folders(name):
        return describe_folder(name, root)
    source = sets.find(name)
    train = source.train_images - source.validation_images
    images = f"{train:,} / {source.validation_images:,} / {source.test_images:,}"
    place = str(source.folder(root) or NO_FILES)
    size = f"{source.channels}x{source.size}x{source.size}"
    return str(source.num_classes), images, size, place


def _load_arrays(config: DataConfig, source: Source, root: Path) -> Dataset:
    classes = source.num_classes if config.classes is None else config.classes
    if classes > source.num_classes:
        raise DataError(f"data.classes {classes}: {config.name} has {source.num_classes} classes")
    if config.first_class + classes > source.num_classes:
        last = source.num_classes // classes - 1
        raise DataError(
            f"data.class_block {config.class_block}: {config.name} has {source.num_classes} "
            f"classes; with classes {classes}, blocks 0 to {last}"
        )
    if config.columns != Columns():
        raise DataError(f"data set {config.name}: {NO_COLUMNS}")
    if config.decoder is not None:
        raise DataError(
            f"data.decoder {config.decoder}: only image folders are decoded; leave it out"
        )
    images, labels = source.part(config.name, root, True)
    chosen = training_and_validation(config, labels.numpy(), source.validation_images)
    rows, validation = map(torch.from_numpy, chosen)

    def pixels(images: Tensor, labels: Tensor) -> Pixels:
        resized = _resize(images, config.image_size)
        return Pixels.of(resized, labels - config.first_class, source.mean, source.std)

    train = pixels(images[rows], labels[rows])
    evals: dict[str, EvalImages] = {}
    if "val" in config.eval_splits and len(validation):
        evals["val"] = pixels(images[validation], labels[validation])
    if "test" in config.eval_splits:
        images, labels = source.part(config.name, root, False)
        some = torch.from_numpy(of_classes(config, labels.numpy()))
        evals["test"] = pixels(images[some], labels[some])
    augment = config.augment == "standard"
    height = train.images.shape[2]
    return Dataset(
        name=config.name,
        num_classes=classes,
        image_shape=(source.channels, height, train.images.shape[3]),
        train_labels=train.labels,
        # 4 of 32 pixels as in He et al. 2016 (CIFAR), in proportion for other sizes
        train=ArrayTrain(
            train,
            height // 8 if augment else 0,
            augment and source.flip,
            Policy.of(config.auto_augment, source.mean, height),
        ),
        evals=evals,
        mean=source.mean,
        std=source.std,
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
