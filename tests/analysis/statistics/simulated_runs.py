"""Made-up accuracies with known variances, as the statistics want them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class World:
    """Standard deviations of the parts of an accuracy, in points."""

    seed: float = 1.0
    method_teacher: float = 0.0
    method_pair: float = 0.0
    teacher: float = 0.0  # what a teacher gives to all that it teaches
    pair: float = 5.0


def simulate(
    rng: np.random.Generator,
    world: World,
    methods: int = 5,
    pairs: int = 1,
    teachers: int = 1,
    seeds: int = 3,
    *,
    scratch: bool = False,
    shared_scratch: bool = False,
    wild: float = 1.0,
) -> pd.DataFrame:
    """Rows of a design in which all methods are equally good in the mean.

    ``scratch``: the first method is not taught; ``shared_scratch``: and its runs are those of
    every pair. ``wild``: so many times as far as the others the seeds of the last method scatter.
    """
    rows = []
    of_pair = rng.normal(0, world.pair, pairs)
    of_method_pair = rng.normal(0, world.method_pair, (methods, pairs))
    of_teacher = rng.normal(0, world.teacher, (pairs, teachers))
    of_method_teacher = rng.normal(0, world.method_teacher, (methods, pairs, teachers))
    noise = rng.normal(0, world.seed, (methods, pairs, teachers, seeds))
    noise[-1] *= wild
    for m, p, t, s in np.ndindex(noise.shape):
        untaught = scratch and m == 0
        home = (0, 0) if untaught and shared_scratch else (p, 0) if untaught else (p, t)
        score = noise[m, *home, s] + (0 if untaught and shared_scratch else of_pair[p])
        if not untaught:
            score += of_method_pair[m, p] + of_teacher[p, t] + of_method_teacher[m, p, t]
        rows.append((f"m{m}", not untaught, f"p{p}", f"t{t}", f"m{m}-{home}-{s}", 70 + score))
    return pd.DataFrame(rows, columns=["method", "taught", "pair", "teacher", "run", "score"])


def simulate_images(
    rng: np.random.Generator, methods: int = 5, seeds: int = 3, images: int = 500
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of a design of one pair, and the share of right runs [methods, images] in percent.

    A run is right where what the image is worth to all, to the method and to the run adds up to
    more than nothing. All methods are equally good over all images that there could be.
    """
    image = rng.normal(0.5, 1.5, images)
    of_method = rng.normal(0, 0.7, (methods, 1, images))
    of_run = rng.normal(0, 0.05, (methods, seeds, 1))
    right = image + of_method + of_run + rng.normal(0, 1, (methods, seeds, images)) > 0
    rows = [
        (f"m{m}", True, "p", "t", f"m{m}-{s}", 100 * right[m, s].mean())
        for m, s in np.ndindex(methods, seeds)
    ]
    columns = ["method", "taught", "pair", "teacher", "run", "score"]
    return pd.DataFrame(rows, columns=columns), 100 * right.mean(axis=1)
