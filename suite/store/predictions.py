"""What a finished run predicts for every evaluation image; no image is needed to read it.

Legend: M images of a split.
"""

from __future__ import annotations

import io
import logging
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from suite.store.record import RunDirectory, write_atomically

if TYPE_CHECKING:
    from suite.config import DataConfig  # which imports torch: a report must be quick

log = logging.getLogger(__name__)
DAMAGED = (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error, zipfile.BadZipFile)
"""What reading a torn, empty or foreign file raises."""
IMAGES = "images"
"""The array that says which images the others are of."""


@dataclass(frozen=True)
class Predictions:
    """A network's predictions for the images of a split, in their order."""

    predicted: NDArray[np.integer]
    """[M] The class with the largest probability."""
    label: NDArray[np.integer] | None = None
    """[M] The right class."""
    confidence: NDArray[np.floating] | None = None
    """[M] The probability of the predicted class, 0 to 1."""
    nll: NDArray[np.floating] | None = None
    """[M] The negative log-likelihood of the right class, nats."""
    teacher_kl: NDArray[np.floating] | None = None
    """[M] The Kullback-Leibler divergence KL(teacher || network) of the probabilities at
    temperature 1, nats; None where the run has no teacher."""

    def __len__(self) -> int:
        """Number of images."""
        return len(self.predicted)


ARRAYS = tuple(field.name for field in fields(Predictions))


def save(run: RunDirectory, data: DataConfig, predictions: Mapping[str, Predictions]) -> None:
    """Write ``predictions.npz``, some 100 kB for 10,000 images.

    Args:
        run: Where to.
        data: Says which images these are.
        predictions: Of every evaluation split. Classes are kept as the smallest unsigned integers
            that hold them, the rest in half precision (three digits).

    Raises:
        RecordError: It cannot be written.
    """
    arrays = {
        f"{split}/{name}": _small(array)
        for split, of_split in predictions.items()
        for name in ARRAYS
        if (array := getattr(of_split, name)) is not None
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{IMAGES: np.array(_images(data)), **arrays})
    write_atomically(run.predictions, buffer.getvalue())


def load(run: RunDirectory, data: DataConfig | None = None) -> dict[str, Predictions] | None:
    """The predictions that a run has kept, by split.

    Args:
        run: Where they are. Teachers of version 0.1.0 kept their predicted classes alone, in
            ``choices.npz``.
        data: The images they must be of; None takes them as they are.

    Returns:
        Empty where there are none of these images, None where the file is damaged.
    """
    try:
        path = run.predictions if run.predictions.exists() else run.choices
        with np.load(path) as arrays:
            if data is not None and str(arrays[IMAGES]) != _images(data):
                return {}
            return _by_split({name: arrays[name] for name in arrays if name != IMAGES})
    except FileNotFoundError:
        return {}
    except DAMAGED as error:
        log.warning("%s is damaged (%s)", path, error)
        return None


def _by_split(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, Predictions]:
    """``test/nll`` -> ``nll`` of ``test``; a name without a slash is of version 0.1.0."""
    splits: dict[str, dict[str, NDArray[np.generic]]] = {}
    for name, array in arrays.items():
        split, _, quantity = name.partition("/")
        splits.setdefault(split, {})[quantity or "predicted"] = array
    return {split: Predictions(**of_split) for split, of_split in splits.items()}  # type: ignore[arg-type]


def _small(array: NDArray[np.generic]) -> NDArray[np.generic]:
    if np.issubdtype(array.dtype, np.floating):
        with np.errstate(over="ignore"):  # beyond 65,504 nats: infinite
            return array.astype(np.float16)
    return array.astype(np.min_scalar_type(int(array.max(initial=0))))


def _images(data: DataConfig) -> str:
    """What decides which images the evaluation splits hold, and at what size."""
    images = f"{data.name} at {data.image_size or 'its own size'}"
    if data.contents is not None:
        images += f", contents {data.contents.sha256}"
    if data.class_block is not None:
        images += f", block {data.class_block}"
    return images if data.classes is None else f"{images}, {data.classes} classes"
