"""Many small files, read by threads where reading waits for the file system, NFS above all."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 8
READ_AHEAD = 1000
"""Results in memory before they are taken."""
FIRST = 100
"""So many items tell whether reading waits: if not, threads would only wait for each other."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(read: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """``read`` of each item, in their order; by threads if the first ones waited for their files.

    A thread gets several items at once: to hand over each one costs as much as to read it.
    """
    before = _waits()
    first = [*map(read, items[:FIRST])]
    waited = _waits() - before
    yield from first
    if waited < len(first):
        yield from map(read, items[FIRST:])
        return
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(FIRST, len(items), READ_AHEAD):
            ahead = items[start : start + READ_AHEAD]
            share = -(-len(ahead) // THREADS)
            shares = [ahead[begin : begin + share] for begin in range(0, len(ahead), share)]
            for found in pool.map(lambda some: [*map(read, some)], shares):
                yield from found


def _waits() -> int:
    """How often this process gave its core back to wait for something."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
