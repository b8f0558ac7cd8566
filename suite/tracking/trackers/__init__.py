"""The trackers, one file each, found by name.

``trackers/<name>.py`` has a function ``tracker(environment, seconds)`` that makes the
:class:`suite.tracking.tracker.Tracker`; ``seconds`` limits one call of its library. Installed
packages add trackers through the entry-point group ``dskd_bench.trackers``
(name = "package.module:function").
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points

from suite.interface.errors import unknown
from suite.tracking.tracker import Tracker, TrackerError

ENTRY_POINT_GROUP = "dskd_bench.trackers"
Make = Callable[[Mapping[str, str], float], Tracker]


def names() -> tuple[str, ...]:
    """All trackers, sorted; their libraries may be missing."""
    own = {
        module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    }
    return tuple(sorted(own | _installed().keys()))


def check(name: str, also: str | None = None) -> None:
    """Raise :class:`TrackerError` for an unknown name; ``also`` is allowed, too."""
    known = (*names(), *([] if also is None else [also]))
    if name not in known:
        raise TrackerError(unknown("tracker", name, known))


def find(name: str) -> Make:
    """What makes the tracker of this name. Raises :class:`TrackerError`."""
    check(name)
    if name in _installed():
        make: Make = _installed()[name].load()
        return make
    own: Make = importlib.import_module(f"{__name__}.{name}").tracker
    return own


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
