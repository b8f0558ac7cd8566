"""Takes out of a record what says who made it, and where: host names and absolute paths."""

from __future__ import annotations

import re
from typing import Any

HOSTS = ("hostname",)
"""Fields that name a machine."""
ABSOLUTE = re.compile(r"(?<![\w.:/~-])~?/(?:[^\s/'\",\[\]]+/)+([^\s/'\",\[\]]*)")
"""A path from the root or from somebody's home, and its last part. No URL, no ``val/nll``."""


def without_places(value: Any) -> Any:
    """A copy without the fields of :data:`HOSTS`; of absolute paths the last part is left."""
    if isinstance(value, dict):
        return {key: without_places(item) for key, item in value.items() if key not in HOSTS}
    if isinstance(value, list):
        return [without_places(item) for item in value]
    return ABSOLUTE.sub(r"…/\1", value) if isinstance(value, str) else value


def absolute_paths(value: Any, field: str = "") -> list[str]:
    """The fields, as ``a.b: /the/path``, that hold an absolute path."""
    if isinstance(value, dict):
        items = [(f"{field}.{key}".lstrip("."), item) for key, item in value.items()]
        return [line for name, item in items for line in absolute_paths(item, name)]
    if isinstance(value, list):
        return [line for item in value for line in absolute_paths(item, field)]
    has_path = isinstance(value, str) and ABSOLUTE.search(value)
    return [f"{field}: {value}"] if has_path else []
