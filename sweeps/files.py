"""Recipes and experiments as they lie in the package, or in the user's own files."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from suite.config import ConfigError
from suite.errors import UserError, unknown


def names(kind: str) -> list[str]:
    """Stems of what ships under ``sweeps/<kind>/``."""
    shipped = (files("sweeps") / kind).iterdir()
    return sorted(item.name[:-5] for item in shipped if item.name.endswith(".yaml"))


def read(kind: str, name: str) -> dict[str, Any]:
    """The YAML called ``name`` (a shipped stem, or a path that ends in .yaml or .yml).

    Raises :class:`UserError` for an unknown name or an unreadable file.
    """
    return parse_yaml(source(kind, name).read_text(), str(name))


def source(kind: str, name: str) -> Traversable:
    """The file itself."""
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"{kind[:-1]} {name}: there is no such file")
        return path
    if name not in names(kind):
        raise UserError(unknown(kind[:-1], name, names(kind)) + ", or a path to your own YAML")
    return files("sweeps") / kind / f"{name}.yaml"


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """A mapping from YAML text. Raises :class:`ConfigError`."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: must be a mapping, is {type(content).__name__}")
    return content


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
