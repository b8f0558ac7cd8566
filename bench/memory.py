"""The memory of a process, alone and together with all that it has started."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY_SECONDS = 0.2
STATUS = Path("/proc/self/status")


def resident(name: str) -> int:
    """Bytes of this process by Linux: ``VmRSS`` now, ``VmHWM`` at the most."""
    return int(re.findall(rf"{name}:\s+(\d+) kB", STATUS.read_text())[0]) * 1024


class Peak:
    """The most that was seen."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def peak_of(pid: int) -> Iterator[Peak]:
    """The largest proportional set size (shared pages shared out) of a process and its children.

    Looked at every :data:`EVERY_SECONDS` while the block runs; 0 where there is no ``/proc``.
    """
    peak, ended = Peak(), threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY_SECONDS):
            peak.bytes = max(peak.bytes, sum(map(_proportional, _family(pid))))

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield peak
    finally:
        ended.set()
        watching.join()


def _family(pid: int) -> list[int]:
    """The process and its descendants that live."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # ended a moment ago
            continue
        found += [one for child in children for one in _family(int(child))]
    return found


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
