"""Further views of a training image, for methods that compare what networks say of several.

A view is the run's own crop and flip, drawn anew, and what its name adds. The name, the seed, the
epoch and the image decide all of it, so a view has the same bits whoever else asks for which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from suite.data.base import DataError
from suite.interface.errors import unknown
from suite.interface.rng import seeded_globals

REDRAWN, RANDAUGMENT = KINDS = ("redrawn", "randaugment")
OPERATIONS, MAGNITUDE = 2, 10  # of 30; the strong view of MLKD (Jin et al. 2023, CVPR)

Change = Callable[[Any, int], Any]
"""(image, its index) -> the image as the view shows it; bytes [C, H, W] or a PIL image."""


def kind(name: str) -> str:
    """What the view called ``name`` adds: the part before a slash. Raises :class:`DataError`."""
    added = name.partition("/")[0]
    if added not in KINDS:
        raise DataError(unknown("view", added, KINDS))
    return added


def check(names: Sequence[str]) -> None:
    """Raise :class:`DataError` unless all are names of views, each once."""
    for name in names:
        kind(name)
    if len(set(names)) < len(names):
        raise DataError(f"views {', '.join(names)}: a name twice; write redrawn, redrawn/2, ...")


def change(seed: int, epoch: int, name: str) -> Change | None:
    """What the view adds after crop and flip; None for nothing."""
    if kind(name) == REDRAWN:
        return None

    def randaugment(image: Any, index: int) -> Any:
        with seeded_globals(seed, "augment", epoch, name, "change", index):  # its only stream
            return _randaugment()(image)

    return randaugment


@cache
def _randaugment() -> Callable[[Any], Any]:
    from torchvision.transforms import RandAugment  # seconds, for those who need it

    made: Callable[[Any], Any] = RandAugment(OPERATIONS, MAGNITUDE)
    return made
