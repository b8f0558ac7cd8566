"""What a data set that fits into memory says of itself; one in each file of :mod:`suite.data.sets`.

Shapes: N images, C channels, H and W height and width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from suite.data.base import DataError

Read = Callable[[Path, bool], tuple[Tensor, Tensor]]
"""(data root, whether the training part) -> images [N, C, H, W] uint8 and labels [N] int64."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set as bytes: how many images, what they look like, and how to read them.

    Attributes:
        num_classes: Labels are 0 to ``num_classes - 1``.
        train_images: Number of training images, those for validation included.
        validation_images: How many of them are held out, a fixed stratified choice; 0 for none.
        test_images: Number of test images.
        size: Height and width in pixels.
        channels: 3 for colours, 1 for grey.
        mean: Of each channel over the training images, for pixel values in 0..1.
        std: Standard deviation of each channel, as ``mean``.
        flip: Whether a mirrored image keeps its class; then training mirrors half of the images.
        read: Reads the training part (``True``) or the test part (``False``) below a data root.
            Gives the same images in the same order whenever it is called.
        files: Folder below the data root; empty when the data ship with a package.
        system_files: Folder in which an operating system's package puts them, if there is one.

    Raises:
        DataError: A field is out of its range.
    """

    num_classes: int
    train_images: int
    validation_images: int
    test_images: int
    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool
    read: Read
    files: str = ""
    system_files: str = ""

    def folder(self, root: Path) -> Path | None:
        """Where the files lie, or should.

        Args:
            root: Folder of all data sets.

        Returns:
            The folder below ``root``, or the system's where only that one is there; None for data
            that ship with a package.
        """
        own = root / self.files
        if self.system_files and not own.is_dir() and Path(self.system_files).is_dir():
            return Path(self.system_files)
        return own if self.files else None

    def __post_init__(self) -> None:
        for field, least in (
            ("num_classes", 2),
            ("train_images", 1),
            ("validation_images", 0),
            ("test_images", 1),
            ("size", 1),
            ("channels", 1),
        ):
            if getattr(self, field) < least:
                raise DataError(f"Source.{field} {getattr(self, field)}: must be {least} or more")
        if self.validation_images >= self.train_images:
            raise DataError(
                f"Source.validation_images {self.validation_images}: must be fewer than the "
                f"{self.train_images} train_images, of which they are a part"
            )
        for field in ("mean", "std"):
            values = getattr(self, field)
            if len(values) != self.channels or not all(map(math.isfinite, values)):
                raise DataError(f"Source.{field} {values}: must be {self.channels} finite numbers")
        if min(self.std) <= 0:
            raise DataError(f"Source.std {self.std}: must be above 0")

    def part(self, name: str, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        """Read one part and compare it with the fields.

        Args:
            name: Name of the data set, for errors.
            root: Folder of all data sets.
            train: The training part with the validation images, or else the test part.

        Returns:
            Images [N, channels, size, size] uint8 and labels [N] int64.

        Raises:
            DataError: The files are missing or damaged, or not what the fields say.
        """
        images, labels = self.read(root, train)
        which = f"data set {name}, {'training' if train else 'test'} part"
        count = self.train_images if train else self.test_images
        shape = (count, self.channels, self.size, self.size)
        if (*images.shape,) != shape or images.dtype != torch.uint8:
            raise DataError(
                f"{which}: its images are {images.dtype} {(*images.shape,)}, expected torch.uint8 "
                f"{shape} [images, channels, height, width]"
            )
        if (*labels.shape,) != (count,) or labels.dtype != torch.int64:
            raise DataError(
                f"{which}: its labels are {labels.dtype} {(*labels.shape,)}, expected torch.int64 "
                f"{(count,)}"
            )
        least, most = (int(it) for it in labels.aminmax())
        if least < 0 or most >= self.num_classes:
            raise DataError(
                f"{which}: its labels go from {least} to {most}, expected 0 to "
                f"{self.num_classes - 1}"
            )
        return images, labels
