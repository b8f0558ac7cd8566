"""The runs of a table as arrays: which run stands in which cell, and what is shared.

Legend: M methods, U units; a unit is one (pair, teacher). Runs that differ by their seed alone are
a group; G groups.
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
    def groups(self) -> pd.DataFrame:
        """[G rows] ``run`` (the first), ``size``, ``mean`` and ``squares`` (sum of squared
        deviations, points^2) of the runs that stand in the same cells, in order of appearance.
        """
        runs = self.rows.drop_duplicates("run")[["run", "score"]]
        group = self._group
        scores = runs["score"].to_numpy(dtype=np.float64)
        size = np.bincount(group)
        mean = np.bincount(group, scores) / size
        squares = np.bincount(group, (scores - mean[group]) ** 2)
        first = runs["run"].to_numpy()[self._first_runs]
        return pd.DataFrame({"run": first, "size": size, "mean": mean, "squares": squares})

    @cached_property
    def group_of_run(self) -> pd.Series:
        """Run -> number of its group."""
        runs = self.rows["run"].drop_duplicates()
        return pd.Series(self._group, index=runs)

    @cached_property
    def _group(self) -> NDArray[np.int64]:
        """[R]"""
        return np.asarray(pd.factorize(self._cells_of_run)[0])

    @cached_property
    def _cells(self) -> NDArray[np.int64]:
        """Number of the cell (method, unit) of every row."""
        method = pd.Index(self.methods).get_indexer(pd.Index(self.rows["method"]))
        units = pd.MultiIndex.from_tuples(self.units)
        places = pd.MultiIndex.from_frame(self.rows[["pair", "teacher"]])
        return np.asarray(method * len(self.units) + units.get_indexer(places))

    @cached_property
    def _cells_of_run(self) -> NDArray[np.object_]:
        """[R] what is the same for runs that stand in the same cells, in order of appearance."""
        run, names = pd.factorize(self.rows["run"])
        places = np.unique(np.stack([run, self._cells]), axis=1)
        ends = np.cumsum(np.bincount(places[0]))[:-1]
        keys = np.empty(len(names), dtype=object)
        keys[:] = [cells.tobytes() for cells in np.split(places[1], ends)]
        return keys

    @cached_property
    def member(self) -> Array:
        """[M, U, G]: how many runs of the group stand in the cell."""
        sizes = self.groups["size"].to_numpy()
        where = np.zeros((len(self.methods) * len(self.units), len(sizes)))
        for group, run in enumerate(self._cells_of_run[self._first_runs]):
            where[np.frombuffer(run, dtype=np.int64), group] = sizes[group]
        return where.reshape(len(self.methods), len(self.units), len(sizes))

    @cached_property
    def _first_runs(self) -> NDArray[np.int64]:
        """[G] place of the first run of every group among the runs."""
        return np.unique(self._group, return_index=True)[1]

    @cached_property
    def runs_in_cell(self) -> Array:
        """[M, U]"""
        return np.asarray(self.member.sum(axis=2))

    @cached_property
    def cell_means(self) -> Array:
        """[M, U, G]: what takes the means of the groups to the mean of every cell."""
        return np.asarray(self.member / self.runs_in_cell[:, :, None])

    def variance_of(self, contrast: Array) -> float:
        """Variance of ``contrast`` [G] of the groups' means, over that of a run between seeds."""
        return float((contrast**2 / self.groups["size"].to_numpy()).sum())

    @cached_property
    def unit_weights(self) -> Array:
        """[U], sum 1: every pair counts the same, within it every teacher."""
        teachers = np.bincount(self.pair_of_unit)
        return np.asarray(1 / (len(teachers) * teachers[self.pair_of_unit]))
