"""What a user's folder of pictures holds; folders of classes alone are split by links."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from suite import data
from suite.config import Columns
from suite.data import shards
from suite.data.listing import (
    TEST,
    TRAIN,
    VAL,
    Listing,
    parquet_folder,
    require_classes,
    scan,
    splits,
)
from suite.interface.errors import UserError

LOOKED_AT = 200
"""How many images are opened to measure their size."""
HELD_OUT = 5
"""Without a split, every fifth image of a class, in random order, is for testing."""


@dataclass(frozen=True)
class Pictures:
    """An image folder as the suite reads it."""

    folder: Path
    classes: tuple[str, ...]
    images: dict[str, int]
    """Split -> number of images."""
    side: int
    """Median of the shorter sides in pixels."""
    columns: Columns
    """Of Parquet files."""


def look(folder: Path, links: Path, columns: Columns | None = None) -> Pictures:
    """Classes, images and sizes of a folder with ``train`` and ``val`` or with classes alone.

    The latter is split into links in the folder ``links``. ``columns`` are those of Parquet files.
    Raises :class:`UserError` for what the suite could not train on.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise UserError(f"--data {folder}: there is no such folder")
    if not (folder / TRAIN).is_dir() and parquet_folder(folder) is None:
        if shards.names(folder):
            raise UserError(f"--data {folder}: shards must lie in {TRAIN}/ and {VAL}/ of it")
        folder = _linked(scan(folder), links.resolve())
    if not data.in_folders(folder.name):
        raise UserError(f"--data {folder}: {folder.name} is a data set of the suite; rename it")
    listings = splits(folder, columns=columns)
    if not {VAL, TEST} & listings.keys():
        scan(folder / VAL)  # says what is missing
    for split in listings.keys() - {TRAIN}:
        require_classes(listings[split], listings[TRAIN])
    images = {split: len(listing) for split, listing in listings.items()}
    train = listings[TRAIN]
    return Pictures(folder, train.classes, images, _side(train), columns or Columns())


def _side(listing: Listing) -> int:
    paths = listing.paths[:: max(1, len(listing) // LOOKED_AT)]
    return int(median(_shorter_side(f"{listing.folder}/{os.fsdecode(path)}") for path in paths))


def _shorter_side(path: str) -> int:
    try:
        with shards.opened(path) as file, Image.open(file) as image:
            return min(image.size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"image {path} cannot be read: {' '.join(str(error).split())}") from None


def _linked(classes: Listing, target: Path) -> Path:
    """``target/train`` and ``target/val`` with links to the images, split class by class."""
    if target.exists():
        raise UserError(f"{target}: is there already; give --data {target}, or remove it")
    shuffled = np.random.default_rng(0)
    for label, name in enumerate(classes.classes):
        of_class = shuffled.permutation(classes.paths[classes.labels == label])
        if len(of_class) < 2:
            raise UserError(f"{classes.folder / name}: 1 image; at least 2, one to test on")
        for number, path in enumerate(of_class):
            source = classes.folder / os.fsdecode(path)
            split = VAL if number % HELD_OUT == 0 else TRAIN
            link = target / split / source.relative_to(classes.folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source)
    return target
