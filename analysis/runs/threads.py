"""Many small files, read by threads: reading waits for the file system, NFS above all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 8
READ_AHEAD = 1000
"""Results in memory before they are taken."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(read: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """``read`` of each item, in their order.

    A thread gets several items at once: to hand over each one costs as much as to read it.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(items), READ_AHEAD):
            ahead = items[start : start + READ_AHEAD]
            share = -(-len(ahead) // THREADS)
            shares = [ahead[first : first + share] for first in range(0, len(ahead), share)]
            for found in pool.map(lambda some: [*map(read, some)], shares):
                yield from found
