"""The tables of a report: one file each, found by itself; every form of text comes later.

A module of this folder, or one that a package names in the entry-point group ``dskd_bench.tables``,
is a table's when it has

- ``ORDER``, an integer: the tables of a report come in this order,
- ``tables(inputs)``, which yields them; nothing for runs that have no such table.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module, metadata
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.tables.forms.render import Table
    from analysis.tables.inputs import Inputs

ENTRY_POINTS = "dskd_bench.tables"


def modules() -> list[ModuleType]:
    """The modules that make tables, in the order of the report."""
    here = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    installed = (point.load() for point in metadata.entry_points(group=ENTRY_POINTS))
    return sorted(
        (module for module in (*here, *installed) if hasattr(module, "tables")),
        key=lambda module: (module.ORDER, module.__name__),
    )


def all_tables(inputs: Inputs) -> Iterator[Table]:
    """Every table of a report that has rows."""
    for module in modules():
        yield from (table for table in module.tables(inputs) if table.rows)
