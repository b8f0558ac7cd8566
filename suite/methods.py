"""Method name -> the one Distiller of that name.

``baselines/<name>.py`` holds the method ``<name>``; files that start with an underscore are
building blocks. Installed packages add methods through the entry-point group
``dskd_bench.methods`` (name = "package.module:DistillerClass"). Names joined by ``+`` stand for the
sum of the methods (:mod:`suite.combine`).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType

import baselines
from suite.combine import combine
from suite.distiller import Distiller
from suite.errors import UserError, brief, unknown

ENTRY_POINT_GROUP = "dskd_bench.methods"
PLUS = "+"


class UnknownMethod(UserError):
    """No method of that name; the message lists the known ones."""


def names() -> tuple[str, ...]:
    """All method names, sorted."""
    own = {m.name for m in pkgutil.iter_modules(baselines.__path__) if not m.name.startswith("_")}
    return tuple(sorted(own | set(_third_party())))


def find(name: str) -> type[Distiller]:
    """The method called ``name``, or the combination ``a+b``. Raises :class:`UnknownMethod`."""
    if PLUS in name:
        return _combination(name)
    if name not in names():
        raise UnknownMethod(unknown("method", name, names()))
    if name in _third_party():
        target: object = _third_party()[name].load()
        if not (inspect.isclass(target) and issubclass(target, Distiller)):
            raise UnknownMethod(f"entry point {name!r} is no Distiller: {target!r}")
        return target
    return _only_distiller(importlib.import_module(f"baselines.{name}"))


def parts(name: str) -> tuple[str, ...]:
    """The methods that ``name`` combines, itself alone for a single one."""
    return tuple(name.split(PLUS))


def modules(name: str) -> tuple[str, ...]:
    """The modules in which the methods of ``name`` are defined, one for each part."""
    return tuple(find(part).__module__ for part in parts(name))


@cache
def _combination(name: str) -> type[Distiller]:
    if len(set(parts(name))) < len(parts(name)):
        raise UnknownMethod(f"method {brief(name)}: names a part twice")
    return combine({part: find(part) for part in parts(name)})


@cache
def _third_party() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _only_distiller(module: ModuleType) -> type[Distiller]:
    classes = [item for item in vars(module).values() if inspect.isclass(item)]
    own = [
        item
        for item in classes
        if issubclass(item, Distiller) and item.__module__ == module.__name__
    ]
    if len(own) != 1:
        found = ", ".join(item.__name__ for item in own) or "none"
        raise UnknownMethod(f"{module.__name__} must define exactly one Distiller, has {found}")
    return own[0]
