"""YAML that a user wrote: read within bounds, and refused in one line.

PyYAML's safe loader runs no code, but takes files of any size, collections nested so deep that
Python's stack ends, aliases that expand to more than memory holds, and keys given twice.
"""

from __future__ import annotations

from importlib.resources.abc import Traversable
from typing import Any

import yaml

from suite.config_base import ConfigError
from suite.interface.errors import shortened

MOST_BYTES = 100_000
"""The largest file that ships has 3 kB; the rest is for lists of seeds."""
MOST_VALUES = 20_000
"""Values, keys and collections of one document, aliases counted as often as they are used."""
MERGE = "tag:yaml.org,2002:merge"  # what `<<` is resolved to
MOST_LEVELS = 50
"""Collections inside each other, through aliases too; an experiment needs six."""


def load_file(path: Traversable, where: str | None = None) -> Any:
    """The content of a YAML (or JSON) file. Raises :class:`ConfigError` in one line."""
    where = where or str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror or error}") from None
    return load(content, where)


def load_mapping(path: Traversable, where: str | None = None) -> dict[str, Any]:
    """The same of a file that must hold keys and values."""
    content = load_file(path, where)
    if not isinstance(content, dict):
        raise ConfigError(f"{where or path}: must be a mapping, is {type(content).__name__}")
    return content


def load(text: str | bytes, where: str) -> Any:
    """The content of a YAML text. Raises :class:`ConfigError` in one line that names ``where``."""
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{where}: more than {MOST_BYTES:,} bytes, the most that is read")
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
        return yaml.load(decoded, Loader=_Loader)
    except UnicodeDecodeError as error:
        reason = f"not a text in UTF-8 (byte 0x{error.object[error.start]:02x} at {error.start})"
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        problem = error.problem or error.context or "damaged"
        reason = f"{line}{shortened(' '.join(problem.split()))}"
    except (yaml.YAMLError, ValueError) as error:  # PyYAML lets int() and datetime() raise theirs
        reason = shortened(" ".join(str(error).split()))
    except (TypeError, AttributeError, LookupError):
        reason = "a value that does not fit its tag"
    raise ConfigError(f"{where}: no valid YAML: {reason}")


class _Loader(yaml.SafeLoader):
    """Counts what aliases expand to, and levels, as it goes; refuses a key given twice."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._level = self._composed = 0
        self._extent: dict[int, tuple[int, int]] = {}  # id of a node -> its values, its levels

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self._level += 1
        self._composed += 1
        self._refuse_more_than_allowed(self._composed, self._level, event)
        node = super().compose_node(parent, index)
        if id(node) not in self._extent:
            if isinstance(event, yaml.AliasEvent):
                raise _fault(f"alias *{event.anchor} stands inside what it names", event)
            self._measure(node)
        values, levels = self._extent[id(node)]
        self._refuse_more_than_allowed(values, self._level + levels, event)
        self._level -= 1
        return node

    def _refuse_more_than_allowed(self, values: int, levels: int, event: Any) -> None:
        if levels > MOST_LEVELS:
            raise _fault(f"more than {MOST_LEVELS} collections inside each other", event)
        if values > MOST_VALUES:
            raise _fault(f"more than {MOST_VALUES:,} values, aliases expanded", event)

    def _measure(self, node: Any) -> None:
        inner: list[Any] = []
        if isinstance(node, yaml.SequenceNode):
            inner = node.value
        elif isinstance(node, yaml.MappingNode):
            _refuse_twice(self, node)
            inner = [part for pair in node.value for part in pair]
        extents = [self._extent[id(part)] for part in inner]
        levels = 1 + max((one for _, one in extents), default=-1)
        self._extent[id(node)] = (1 + sum(values for values, _ in extents), levels)


def _refuse_twice(loader: Any, mapping: yaml.MappingNode) -> None:
    """Raise for the second of two equal keys. ``<<`` is no key: it takes over another mapping."""
    lines: dict[Any, int] = {}
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            continue  # the constructor refuses what cannot be a key
        value = key.tag if key.tag == MERGE else loader.construct_object(key)
        if value in lines:
            raise _fault(f"key {shortened(key.value)} is in line {lines[value]} already", key)
        lines[value] = key.start_mark.line + 1


def _fault(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)
