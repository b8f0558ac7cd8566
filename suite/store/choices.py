"""The teacher's predicted class of every evaluation image, computed once for all its students."""

from __future__ import annotations

import io
import logging
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from suite.config import DataConfig
from suite.store.record import RunDirectory, write_atomically

log = logging.getLogger(__name__)
DAMAGED = (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error, zipfile.BadZipFile)
"""What reading a torn, empty or foreign file raises."""
Choices = dict[str, Tensor]
"""Split -> predicted classes [M] int64, in the order of the split."""


def save(run: RunDirectory, data: DataConfig, choices: Mapping[str, Tensor]) -> None:
    """Keep a network's choices beside its record."""
    arrays = {split: choice.cpu().numpy() for split, choice in choices.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, images=np.array(_images(data)), **arrays)
    write_atomically(run.choices, buffer.getvalue())


def load(run: RunDirectory, data: DataConfig) -> Choices | None:
    """The choices kept for the same images; empty where there are none, None for a damaged file."""
    try:
        with np.load(run.choices) as arrays:
            if str(arrays["images"]) != _images(data):
                return {}
            return {split: torch.from_numpy(arrays[split]) for split in arrays if split != "images"}
    except FileNotFoundError:
        return {}
    except DAMAGED as error:
        log.warning("%s is damaged (%s): made anew", run.choices, error)
        return None


def _images(data: DataConfig) -> str:
    """What decides which images the evaluation splits hold, and at what size."""
    found = f"{data.name} at {data.image_size or 'its own size'}"
    if data.contents is not None:
        found += f", contents {data.contents.sha256}"
    if data.class_block is not None:
        found += f", block {data.class_block}"
    return found if data.classes is None else f"{found}, {data.classes} classes"
