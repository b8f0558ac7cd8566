"""Method name -> the one Distiller of that name.

``baselines/<name>.py`` holds the method ``<name>``; files that start with an underscore are
building blocks. This is the folder ``baselines`` beside ``suite``: a package of that name in a
user's project is not searched. Installed packages add methods through the
entry-point group ``dskd_bench.methods`` (name = "package.module:DistillerClass"). Names joined by
``+`` stand for the sum of the methods (:mod:`suite.methods.combine`).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from functools import cache
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from suite.interface.distiller import Distiller
from suite.interface.errors import UserError, brief, unknown
from suite.interface.paper import Paper
from suite.methods.combine import combine

ENTRY_POINT_GROUP = "dskd_bench.methods"
PLUS = "+"
PACKAGE = "baselines"
FOLDER = Path(__file__).resolve().parents[2] / PACKAGE
"""Where the suite's own methods lie, installed or not."""


class UnknownMethod(UserError):
    """No method of that name; the message lists the known ones."""


def names() -> tuple[str, ...]:
    """All method names, sorted."""
    modules = pkgutil.iter_modules(_package().__path__)
    own = {module.name for module in modules if not module.name.startswith("_")}
    return tuple(sorted(own | set(_third_party())))


def find(name: str) -> type[Distiller]:
    """The method called ``name``, or the combination ``a+b``. Raises :class:`UnknownMethod`."""
    if PLUS in name:
        return _combination(name)
    if name not in names():
        own = f"a method of your own is a file in {FOLDER} or an entry point ({ENTRY_POINT_GROUP})"
        raise UnknownMethod(f"{unknown('method', name, names())}; {own}")
    if name in _third_party():
        target: object = _third_party()[name].load()
        if not (inspect.isclass(target) and issubclass(target, Distiller)):
            raise UnknownMethod(f"entry point {name!r} is no Distiller: {target!r}")
        return target
    return _only_distiller(importlib.import_module(f"{PACKAGE}.{name}"))


def parts(name: str) -> tuple[str, ...]:
    """The methods that ``name`` combines, itself alone for a single one."""
    return tuple(name.split(PLUS))


def papers(name: str) -> dict[str, Paper]:
    """The papers of the methods that ``name`` combines, by method; without those that have none."""
    by_method = {part: find(part).paper for part in parts(name)}
    return {part: paper for part, paper in by_method.items() if paper is not None}


def modules(name: str) -> tuple[str, ...]:
    """The modules in which the methods of ``name`` are defined, one for each part."""
    return tuple(find(part).__module__ for part in parts(name))


def _package() -> ModuleType:
    """The package of :data:`FOLDER`, imported from there: ``import baselines`` would take the first
    of that name on Python's path. Raises :class:`UserError` where another is imported already.
    """
    package = sys.modules.get(PACKAGE)
    if package is None:
        file = FOLDER / "__init__.py"
        spec = spec_from_file_location(PACKAGE, file, submodule_search_locations=[str(FOLDER)])
        if spec is None or spec.loader is None:
            raise UserError(f"{file}: the suite's methods are not there; install dskd-bench again")
        package = sys.modules[PACKAGE] = module_from_spec(spec)
        spec.loader.exec_module(package)
    folders = [str(Path(folder).resolve()) for folder in package.__path__]
    if str(FOLDER) not in folders:
        raise UserError(
            f"the Python package {PACKAGE} is imported from {', '.join(folders)}, the suite's lies "
            f"in {FOLDER}: rename yours; its methods come through the entry points "
            f"{ENTRY_POINT_GROUP}"
        )
    return package


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
        class_names = ", ".join(item.__name__ for item in own) or "none"
        raise UnknownMethod(
            f"{module.__name__} must define exactly one Distiller, has {class_names}"
        )
    return own[0]
