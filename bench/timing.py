"""Times of things that are compared, taken in turns so that a busy machine hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from bench.registry import Spread

Seconds = dict[str, list[float]]
"""Name -> one time a round."""


def in_turns(
    actions: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: int = 1
) -> Seconds:
    """Seconds of each action in each of ``rounds`` rounds; every round takes all in order.

    The first ``warm_up`` rounds are not counted. On a GPU the work is waited for.
    """
    seconds: Seconds = {name: [] for name in actions}
    for turn in range(warm_up + rounds):
        for name, action in actions.items():
            taken = once(action)
            if turn >= warm_up:
                seconds[name].append(taken)
    return seconds


def once(action: Callable[[], object]) -> float:
    """Seconds of one call."""
    wait()
    started = time.perf_counter()
    action()
    wait()
    return time.perf_counter() - started


class Stopwatch:
    """Adds the seconds between laps to lists by name."""

    def __init__(self, seconds: Seconds) -> None:
        self._seconds = seconds
        wait()
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """What came since the last lap was ``name``."""
        wait()
        now = time.perf_counter()
        self._seconds.setdefault(name, []).append(now - self._last)
        self._last = now


def wait() -> None:
    """Until the GPU, if there is one, has nothing left to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of at least one value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high, len(values))


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> Spread:
    """Of two times, round by round."""
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)])
