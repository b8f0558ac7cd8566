"""What the next hour of compute should be spent on: seeds, teachers or pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.statistics.design import Design
from analysis.statistics.differences import Scope, interaction, seed_error


@dataclass(frozen=True)
class Components:
    """Variances of what differences between taught methods are made of, points^2.

    NaN where the design cannot tell; an estimate below zero counts as zero.
    """

    seed: float
    teacher: float
    """Method x teacher: how much a difference changes from teacher to teacher of one pair."""
    pair: float
    """Method x pair: how much it changes from pair to pair."""


@dataclass(frozen=True)
class Cost:
    """Seconds of one run on the machine that is to be used."""

    student: float
    teacher: float


@dataclass(frozen=True)
class Step:
    """One way to go on."""

    what: str
    """``seed`` for every cell, ``teacher`` for every pair, or ``pair``."""
    hours: float
    half_width_ratio: float
    """Standard error of a difference afterwards, as a share of today's."""

    @property
    def gain_per_hour(self) -> float:
        """Share of the variance that goes away, per hour."""
        return (1 - self.half_width_ratio**2) / self.hours


def components(design: Design) -> Components:
    """Variance components of the taught methods, by the method of moments."""
    seed = seed_error(design).value
    taught = np.flatnonzero(design.taught)
    by_teacher, seed_in_teacher = interaction(design, taught, Scope.TEACHERS)
    by_pair, seed_in_pair = interaction(design, taught, Scope.PAIRS)
    teacher = _at_least_zero(by_teacher.value - seed_in_teacher * seed)
    teachers = np.bincount(design.pair_of_unit)
    of_teachers = 0.0 if np.isnan(teacher) else teacher * float(np.mean(1 / teachers))
    pair = _at_least_zero(by_pair.value - seed_in_pair * seed - of_teachers)
    return Components(seed, teacher, pair)


def next_steps(design: Design, cost: Cost) -> list[Step]:
    """Ways to go on, the best use of an hour first.

    The claim is about pairs in general where the design has several, else about teachers, else
    about seeds. Empty when no cell has two runs.

    Args:
        design: The runs so far; taken as balanced, with its mean numbers of teachers and runs.
        cost: Seconds of a run.
    """
    found = components(design)
    if np.isnan(found.seed):
        return []
    pairs = int(design.pair_of_unit.max()) + 1
    teachers = len(design.units) / pairs
    seeds = float(design.runs_in_cell.mean())
    methods = len(design.methods)
    one_teacher = cost.teacher + methods * seeds * cost.student
    ways = {"seed": (pairs, teachers, seeds + 1, pairs * teachers * methods * cost.student)}
    if not np.isnan(found.teacher):
        ways["teacher"] = (pairs, teachers + 1, seeds, pairs * one_teacher)
    if not np.isnan(found.pair):
        ways["pair"] = (pairs + 1, teachers, seeds, teachers * one_teacher)
    today = _variance(found, pairs, teachers, seeds)
    if not today:
        return []
    steps = [
        Step(what, seconds / 3600, float(np.sqrt(_variance(found, p, t, s) / today)))
        for what, (p, t, s, seconds) in ways.items()
    ]
    return sorted(steps, key=lambda step: -step.gain_per_hour)


def _variance(found: Components, pairs: float, teachers: float, seeds: float) -> float:
    """Variance of a difference between two taught methods in a balanced design."""
    known = [
        (found.pair, pairs),
        (found.teacher, pairs * teachers),
        (found.seed, pairs * teachers * seeds),
    ]
    return sum(2 * value / size for value, size in known if not np.isnan(value))


def _at_least_zero(value: float) -> float:
    return value if np.isnan(value) else max(0.0, value)
