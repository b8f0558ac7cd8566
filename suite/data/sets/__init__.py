"""Data set name -> its :class:`~suite.data.source.Source`.

``suite/data/sets/<name>.py`` holds the data set ``<name>`` in its ``SOURCE``; there is no list to
extend. Installed packages add data sets through the entry-point group ``dskd_bench.datasets``
(name = "package.module:SOURCE").
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from suite.data.base import DataError
from suite.data.source import Source
from suite.interface.errors import unknown

ENTRY_POINT_GROUP = "dskd_bench.datasets"


def names() -> tuple[str, ...]:
    """All data sets that are held in memory, sorted."""
    return tuple(sorted(_own() | set(_installed())))


def find(name: str) -> Source:
    """The data set called ``name``.

    Raises:
        DataError: There is none, or an entry point is no :class:`Source` or takes a name of ours.
    """
    module, attribute = _place(name)
    made = getattr(importlib.import_module(module), attribute, None)
    if not isinstance(made, Source):
        raise DataError(f"data set {name}: {module}:{attribute} is no suite.data.source.Source")
    return made


def module(name: str) -> str:
    """The module in which the data set is defined. Raises :class:`DataError`."""
    return _place(name)[0]


def _place(name: str) -> tuple[str, str]:
    """Module and attribute."""
    point = _installed().get(name)
    if point is None:
        if name not in _own():
            raise DataError(unknown("data set", name, names()))
        return f"{__name__}.{name}", "SOURCE"
    if name in _own():
        raise DataError(
            f"data set {name}: the entry point {point.value} takes the name of a data set of the "
            "suite; runs of both would have the same ids. Give it another name"
        )
    return point.module, point.attr


@cache
def _own() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(__path__))


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
