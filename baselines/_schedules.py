"""Factors of loss weights over the epochs, beside ``Progress.warmup``."""

from __future__ import annotations

import math

from suite.interface.distiller import Progress


def cosine_decay(progress: Progress, start: int) -> float:
    """1 up to epoch ``start``, then half a cosine down to 0 in the last epoch.

    1 throughout in runs of no more than ``start`` epochs.
    """
    if progress.epoch <= start:
        return 1.0
    done = (progress.epoch - start) / (progress.epochs - start)
    return (1 + math.cos(math.pi * done)) / 2
