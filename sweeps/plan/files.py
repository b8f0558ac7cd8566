"""Recipes and experiments as they lie in the package, or in the user's own files."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from suite.interface.errors import UserError, unknown
from suite.yaml_input import load_mapping

SINGULAR = {
    "recipes": "recipe",
    "experiments": "experiment",
    "searches": "search",
    "clusters": "cluster",
}
"""Folder of the package -> what one of its files is."""


def names(kind: str) -> list[str]:
    """Stems of what ships under ``sweeps/<kind>/``."""
    shipped = (files("sweeps") / kind).iterdir()
    return sorted(item.name[:-5] for item in shipped if item.name.endswith(".yaml"))


def read(kind: str, name: str) -> dict[str, Any]:
    """The YAML called ``name`` (a shipped stem, or a path that ends in .yaml or .yml).

    Raises :class:`UserError` for an unknown name or an unreadable file.
    """
    return load_mapping(source(kind, name), name)


def source(kind: str, name: str) -> Traversable:
    """The file itself."""
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"{SINGULAR[kind]} {name}: there is no such file")
        return path
    if name not in names(kind):
        raise UserError(unknown(SINGULAR[kind], name, names(kind)) + ", or a path to your own YAML")
    return files("sweeps") / kind / f"{name}.yaml"


def merge(base: Any, change: Any) -> Any:
    """``base`` with ``change`` laid over it: mappings merge key by key, anything else replaces."""
    if isinstance(base, dict) and isinstance(change, dict):
        keys = [*base, *(key for key in change if key not in base)]
        return {
            key: merge(base[key], change[key])
            if key in base and key in change
            else change.get(key, base.get(key))
            for key in keys
        }
    return change
