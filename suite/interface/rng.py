"""Named random streams: the same seed gives every method the same start, order and images.

Each stream of a run (``init``, ``order``, ``augment``, ``method``) has a seed of its own, derived
from the run's seed and the stream's name, so that a method that draws more numbers than another
shifts nobody's stream but its own. ``order`` and ``augment`` are derived anew for each epoch and
therefore need no state; ``method`` is one long stream whose state is saved in checkpoints.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed that depends on every argument and on nothing else.

    Args:
        seed: The run's seed.
        *names: The stream, and its part (an epoch).

    Returns:
        A number of 63 bits.
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator at the start of the named stream.

    Args:
        seed: The run's seed.
        *names: The stream, and its part (an epoch).
        device: Where it draws.

    Returns:
        The generator.
    """
    return torch.Generator(device).manual_seed(derive_seed(seed, *names))


@contextmanager
def seeded_globals(seed: int, *names: str | int) -> Iterator[None]:
    """Seed torch's global CPU generator for code that knows no other (layer initialisation).

    Args:
        seed: The run's seed.
        *names: The stream, and its part.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, *names))
        yield


@contextmanager
def seeded_libraries(seed: int, *names: str | int) -> Iterator[None]:
    """As :func:`seeded_globals`, and Python's and NumPy's global streams too, which timm reads.

    Args:
        seed: The run's seed.
        *names: The stream, and its part.
    """
    own = derive_seed(seed, *names)
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (timm's only stream)
    random.seed(own)
    np.random.seed(own % 2**32)  # noqa: NPY002
    try:
        with seeded_globals(seed, *names):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


class Draws:
    """Random tensors for the rows of a batch, the same however many ranks share the batch.

    All ranks hold the same generator and draw for the whole global batch; each keeps the rows
    that are its own. Shapes are given per row: ``normal(rows, C, H, W)`` is [rows, C, H, W].
    """

    def __init__(self, stream: torch.Generator, rank: int = 0, world_size: int = 1) -> None:
        self.generator = stream
        self._rank = rank
        self._world_size = world_size

    def normal(self, rows: int, *shape: int) -> Tensor:
        """Standard normal numbers.

        Args:
            rows: Rows of this rank.
            *shape: Of one row.

        Returns:
            [rows, *shape] float32.
        """
        total = rows * self._world_size
        return self._own(torch.randn(total, *shape, generator=self.generator, device=self.device))

    def integers(self, rows: int, *shape: int, high: int, low: int = 0) -> Tensor:
        """Uniform whole numbers in low..high-1.

        Args:
            rows: Rows of this rank.
            *shape: Of one row.
            high: First number above the range.
            low: First number of the range.

        Returns:
            [rows, *shape] int64.
        """
        size = (rows * self._world_size, *shape)
        drawn = torch.randint(low, high, size, generator=self.generator, device=self.device)
        return self._own(drawn)

    @property
    def device(self) -> torch.device:
        """Where the tensors are made."""
        return self.generator.device

    def _own(self, drawn: Tensor) -> Tensor:
        return drawn[self._rank :: self._world_size]
