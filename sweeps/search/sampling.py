"""Samplers and pruners as a search names them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    WilcoxonPruner,
)
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    GridSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from sweeps.search import space as spaces
from sweeps.search.experiment import Pruner, Sampler
from sweeps.search.space import Space


class Grid(GridSampler):
    """Optuna's, without its wish to stop ``Study.optimize``: here the driver counts."""

    def after_trial(self, *_: Any) -> None:
        """Nothing is left to do."""


def make_sampler(wanted: Sampler, space: Space, number: int) -> BaseSampler:
    """A fresh sampler for trial ``number``.

    Its random stream depends on the search's seed and the number alone, so that a driver that was
    killed proposes what it would have proposed. What a sampler remembers lies in the study.
    """
    seed, startup = _derived(wanted.seed, number), wanted.startup_trials
    with quiet():
        return _sampler(wanted, space, seed, startup)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's notices that an interface may change: the versions are pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _sampler(wanted: Sampler, space: Space, seed: int, startup: int) -> BaseSampler:
    match wanted.name:
        case "tpe":  # running trials count as bad ones, so that workers spread
            return TPESampler(
                multivariate=True, constant_liar=True, n_startup_trials=startup, seed=seed
            )
        case "gp":
            return GPSampler(n_startup_trials=startup, seed=seed)
        case "cmaes":
            return CmaEsSampler(n_startup_trials=startup, seed=seed)
        case "qmc":  # one sequence for the whole study
            return QMCSampler(seed=wanted.seed, scramble=True)
        case "grid":  # one shuffled order for the whole study
            return Grid(spaces.grid(space), seed=wanted.seed)
        case "random":
            return RandomSampler(seed=seed)


def make_pruner(wanted: Pruner, epochs: int) -> BasePruner:
    """The pruner of a study whose trials train for so many epochs."""
    match wanted.name:
        case "hyperband":
            return HyperbandPruner(
                min_resource=min(wanted.min_epochs, epochs),
                max_resource=epochs,
                reduction_factor=wanted.reduction_factor,
            )
        case "median":
            return MedianPruner(
                n_startup_trials=wanted.startup_trials, n_warmup_steps=wanted.min_epochs
            )
        case "wilcoxon":
            with quiet():
                return WilcoxonPruner(p_threshold=wanted.p_threshold)
        case "none":
            return NopPruner()


def _derived(seed: int, number: int) -> int:
    """A seed for numpy, 0 to 2^32 - 1."""
    return int(hashlib.sha256(f"{seed}/{number}".encode()).hexdigest()[:8], 16)
