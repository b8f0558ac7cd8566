"""Which images, split how, augmented how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from suite.augmentation import Augmentation
from suite.config_base import Closed


class FolderContents(Closed):
    """Which images an image folder holds, see :mod:`suite.data.contents`."""

    sha256: str = Field(pattern="^[0-9a-f]{16}$")
    """First digits, over the names of classes, the names and sizes of files."""
    classes: int
    images: dict[str, int]
    """Split (the folder's: ``train``, ``val``, ``test``) -> number of images."""


class Columns(NamedTuple):
    """Where Parquet files hold images and the numbers of their classes."""

    image: str = "image"
    label: str = "label"

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Columns:
        """Of the values of a :class:`DataConfig` that is not checked yet."""
        named = {field: section.get(f"{field}_column") for field in cls._fields}
        return cls(**{field: name for field, name in named.items() if isinstance(name, str)})


class DataConfig(Augmentation):
    """Which images, split how, augmented how."""

    younger: ClassVar[tuple[str, ...]] = (
        *Augmentation.younger,
        "contents",
        "class_block",
        "image_column",
        "label_column",
    )
    name: str
    """A set that the suite knows, or the name of an image folder under the data root."""
    contents: FolderContents | None = None
    """Of image folders, filled in when a run is planned: runs of other images have other ids. The
    other sets are fixed; their runs have no such field."""
    train_split: Literal["train", "trainval"] = "train"
    """``train`` keeps the validation images out of training; ``trainval`` trains on both, as the
    published numbers do, and then has no validation accuracy."""
    eval_splits: tuple[Literal["val", "test"], ...] = ("val", "test")
    """What is evaluated over training."""
    train_limit: int | None = Field(None, ge=2)
    """Train on this many images, a fixed stratified choice."""
    classes: int | None = Field(None, ge=2)
    """Only the images of the first so many classes, in all splits; for studies on a subset."""
    class_block: int | None = Field(None, ge=0)
    """With ``classes``: which block of so many classes, counted from 0. ``classes: 20`` and
    ``class_block: 3`` are classes 60 to 79, renumbered from 0; blocks share no image. Runs without
    it have no such field."""
    image_size: int | None = Field(None, ge=4, le=2048)
    """Side in pixels; None keeps the data set's own."""
    image_column: str = Columns().image
    """Of Parquet files: the column with the images."""
    label_column: str = Columns().label
    """Of Parquet files: the column with the numbers of the classes."""

    @model_validator(mode="after")
    def _block_of_a_size(self) -> Self:
        if self.class_block is not None and self.classes is None:
            raise ValueError(f"class_block {self.class_block}: needs classes, the size of a block")
        return self

    @property
    def columns(self) -> Columns:
        """Where Parquet files hold what."""
        return Columns(self.image_column, self.label_column)

    @property
    def first_class(self) -> int:
        """The data set's own number of the class that is called 0 here."""
        return (self.class_block or 0) * (self.classes or 0)
