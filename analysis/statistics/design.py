"""The runs of a table as arrays: which run stands in which cell, and what is shared.

Legend: R distinct runs, M methods, U units; a unit is one (pair, teacher).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.interface.errors import UserError

Array = NDArray[np.float64]
COLUMNS = ("method", "taught", "pair", "teacher", "run", "score")


class DesignError(UserError):
    """The runs do not form a design that can be analysed; the message says why."""


@dataclass(frozen=True)
class Design:
    """Runs of several methods over the same pairs and teachers.

    ``rows`` has one row for every place that a run takes in the table, with the columns

    - ``method``: label of the row of the table,
    - ``taught``: whether the method uses the teacher,
    - ``pair``: data set and networks,
    - ``teacher``: which teacher of the pair; the runs of an untaught method stand beside each,
    - ``run``: identity of the run; a run that stands in several places is one observation,
    - ``score``: its accuracy in percent.
    """

    rows: pd.DataFrame

    def __post_init__(self) -> None:
        """Raises :class:`DesignError` for missing columns, values or cells."""
        missing = [name for name in COLUMNS if name not in self.rows]
        if missing:
            raise DesignError(f"the runs lack {', '.join(missing)}")
        if self.rows[list(COLUMNS)].isna().any(axis=None):
            raise DesignError("the runs hold missing values; leave such runs out")
        if len(self.methods) < 2:
            raise DesignError(f"{len(self.methods)} method: differences need two")
        if (self.runs_in_cell == 0).any():
            raise DesignError("a method has no run beside some teacher; use complete()")

    @classmethod
    def complete(cls, rows: pd.DataFrame) -> Design:
        """The design of the methods that have a run in every unit; others are left out."""
        here = rows.dropna(subset=list(COLUMNS))
        units = len(here[["pair", "teacher"]].drop_duplicates())
        places = here.drop_duplicates(["method", "pair", "teacher"])
        counts = places["method"].value_counts()
        return cls(here[here["method"].map(counts) == units].reset_index(drop=True))

    @cached_property
    def methods(self) -> list[str]:
        """[M], in the order of the rows."""
        return list(dict.fromkeys(self.rows["method"]))

    @cached_property
    def units(self) -> list[tuple[str, str]]:
        """[U] (pair, teacher), sorted by pair."""
        return sorted(set(zip(self.rows["pair"], self.rows["teacher"], strict=True)))

    @cached_property
    def pair_of_unit(self) -> NDArray[np.int64]:
        """[U] number of the pair of every unit."""
        names = [pair for pair, _ in self.units]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def taught(self) -> NDArray[np.bool_]:
        """[M]"""
        first = self.rows.drop_duplicates("method").set_index("method")["taught"]
        return np.array([bool(first[method]) for method in self.methods])

    @cached_property
    def runs(self) -> list[str]:
        """[R] identities of the distinct runs."""
        return list(dict.fromkeys(self.rows["run"]))

    @cached_property
    def scores(self) -> Array:
        """[R]"""
        return self.rows.drop_duplicates("run")["score"].to_numpy(dtype=np.float64)

    @cached_property
    def member(self) -> Array:
        """[M, U, R]: 1 where the run stands in the cell."""
        where = np.zeros((len(self.methods), len(self.units), len(self.runs)))
        method = pd.Index(self.methods).get_indexer(pd.Index(self.rows["method"]))
        places = zip(self.rows["pair"], self.rows["teacher"], strict=True)
        numbers = {unit: number for number, unit in enumerate(self.units)}
        unit = [numbers[place] for place in places]
        where[method, unit, pd.Index(self.runs).get_indexer(pd.Index(self.rows["run"]))] = 1
        return where

    @cached_property
    def runs_in_cell(self) -> Array:
        """[M, U]"""
        return np.asarray(self.member.sum(axis=2))

    @cached_property
    def cell_means(self) -> Array:
        """[M, U, R]: what takes the scores to the mean of every cell."""
        return np.asarray(self.member / self.runs_in_cell[:, :, None])

    @cached_property
    def unit_weights(self) -> Array:
        """[U], sum 1: every pair counts the same, within it every teacher."""
        teachers = np.bincount(self.pair_of_unit)
        return np.asarray(1 / (len(teachers) * teachers[self.pair_of_unit]))

    @cached_property
    def same_expectation(self) -> list[NDArray[np.int64]]:
        """Groups of runs that differ by their seed alone: they stand in the same cells."""
        flat = self.member.reshape(-1, len(self.runs)).T.astype(bool)
        groups: dict[bytes, list[int]] = {}
        for number, cells in enumerate(flat):
            groups.setdefault(cells.tobytes(), []).append(number)
        return [np.array(group) for group in groups.values()]
