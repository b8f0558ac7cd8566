"""The one interface of a benchmark, and how benchmarks are found by name.

A benchmark is one file in ``bench/measures/``: its docstring's first line is its title, and its
function ``measure(settings)`` yields :class:`Figure` s. A new benchmark is one new file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import bench.measures
from suite.interface.errors import UserError, unknown


@dataclass(frozen=True)
class Settings:
    """What all benchmarks share."""

    device: Literal["cpu", "cuda"]
    threads: int  # of torch, on a CPU
    rounds: int  # repeats of everything that is compared, interleaved
    steps: int  # optimizer steps a turn
    data_root: Path | None = None
    """Take CIFAR-100 from here; None: random images of the same shape."""
    full: bool = False
    """Also what takes minutes to hours: a whole run of 240 epochs on a GPU."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeats."""

    median: float
    low: float
    high: float
    repeats: int


@dataclass(frozen=True)
class Figure:
    """One measured number."""

    name: str
    value: float | Spread
    unit: str  # "x" for ratios
    at_least: float | None = None
    at_most: float | None = None
    """The target, of the median."""
    note: str = ""

    @property
    def median(self) -> float:
        """The number, or the median of its repeats."""
        return self.value.median if isinstance(self.value, Spread) else self.value

    @property
    def meets_target(self) -> bool | None:
        """None where there is no target."""
        if self.at_least is None and self.at_most is None:
            return None
        high_enough = self.at_least is None or self.median >= self.at_least
        return high_enough and (self.at_most is None or self.median <= self.at_most)

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        return {**asdict(self), "meets_target": self.meets_target}


class Measure(Protocol):
    """A module of ``bench/measures/``."""

    def measure(self, settings: Settings) -> Iterator[Figure]:
        """Yield figures as they are found."""
        ...


def names() -> list[str]:
    """All benchmarks."""
    return sorted(module.name for module in pkgutil.iter_modules(bench.measures.__path__))


def find(name: str) -> Measure:
    """The benchmark of that name. Raises :class:`UserError`."""
    if name not in names():
        raise UserError(unknown("benchmark", name, names()))
    return cast(Measure, importlib.import_module(f"bench.measures.{name}"))


def title(name: str) -> str:
    """What a benchmark measures, in one line."""
    return (cast(Any, find(name)).__doc__ or name).splitlines()[0].rstrip(".")
