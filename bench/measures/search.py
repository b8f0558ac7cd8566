"""Search: what the driver itself costs per trial, everything but the training."""

from __future__ import annotations

from collections.abc import Iterator

from bench.registry import Figure, Settings
from sweeps.search.cost import driver_seconds_per_trial

TRIALS = (40, 200)


def measure(settings: Settings) -> Iterator[Figure]:  # noqa: ARG001
    """Asking, reporting, pruning, telling; with TPE the cost grows with the number of trials."""
    for trials in TRIALS:
        seconds = driver_seconds_per_trial(trials)
        note = "dskd_digits_search, journal file, one worker"
        yield Figure(f"driver, mean over {trials} trials", 1000 * seconds, "ms/trial", note=note)
