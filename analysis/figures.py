"""Which pictures a report holds: a name, a caption and what draws it, or nothing if data lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import gap, stats
from analysis.collect import FINISHED, Collected, epochs
from analysis.embed import pca_plane
from analysis.grid import ColumnKey, Grid, pair_name
from analysis.plots.curves import curves_figure
from analysis.plots.embedding import Cloud, embedding_figure
from analysis.plots.gaps import gap_accuracy_figure, gaps_figure
from analysis.plots.style import colours, markers

CURVES = 600
"""Training curves are read for at most so many runs of a column."""


@dataclass(frozen=True)
class Picture:
    """A figure of the report."""

    name: str
    """Stem of its files."""
    caption: str
    draw: Callable[[], Figure | None]
    """None when there turns out to be nothing to show."""
    pair: str = ""


class Pictures:
    """Pictures of an experiment, one set per column of the accuracy table."""

    def __init__(self, grid: Grid, gaps: pd.DataFrame) -> None:
        self.grid = grid
        self.gaps = gaps
        self.colours = colours(grid.labels)
        self.markers = markers(grid.labels)

    def __iter__(self) -> Iterator[Picture]:
        for number, key in enumerate(self.grid.columns):
            suffix = f"-{number + 1}" if len(self.grid.columns) > 1 else ""
            name = pair_name(key.pair)
            yield Picture(
                f"curves{suffix}",
                f"{name}: accuracy over training, mean over seeds; bands are ± one standard "
                "deviation, the dashed line is the teacher.",
                lambda key=key: self.curves(key),  # type: ignore[misc]
                key.pair,
            )
            yield Picture(
                f"gap{suffix}",
                f"{name}: distance between student and teacher features on held-out images. Large "
                "marks are means, small dots single runs, lines 95 % t intervals.",
                lambda key=key: self.gap(key),  # type: ignore[misc]
                key.pair,
            )
            yield Picture(
                f"gap-accuracy{suffix}",
                f"{name}: does closing the gap buy accuracy? Large marks are means of a method, "
                "small ones single runs; ρ is Spearman's rank correlation of the means.",
                lambda key=key: self.gap_accuracy(key),  # type: ignore[misc]
                key.pair,
            )
            yield Picture(
                f"embedding{suffix}",
                f"{name}: held-out images in the plane of the teacher's two principal axes; the "
                "student's features reach it through the best linear map from training images. "
                "Numbers are the teacher's class means, lines lead to the student's. First seed.",
                lambda key=key: self.embedding(key),  # type: ignore[misc]
                key.pair,
            )

    @property
    def collected(self) -> Collected:
        """The experiment."""
        return self.grid.collected

    def curves(self, key: ColumnKey) -> Figure | None:
        """Accuracy over epochs."""
        runs = self.grid.students[self.grid.students["column"] == key].head(CURVES)
        metric = self.grid.figure.split("/", 1)[1]
        table = epochs(self.collected, runs, lambda name: name == metric)
        if metric not in table or table[metric].notna().sum() < 2:
            return None
        table = table.merge(runs[["run_id", "label", "seed"]], on="run_id").dropna(subset=[metric])
        teacher = self.grid.teacher_accuracy(key)
        split = metric.split("/")[0]
        return curves_figure(
            table,
            metric,
            f"{pair_name(key.pair)}: {'test' if split == 'test' else 'validation'} accuracy",
            self.grid.labels,
            self.colours,
            stats.mean(teacher) if len(teacher) else None,
        )

    def gap(self, key: ColumnKey) -> Figure | None:
        """Gap metrics per method."""
        frame = self._gaps_of(key)
        return None if frame.empty else gaps_figure(frame, self.grid.labels)

    def gap_accuracy(self, key: ColumnKey) -> Figure | None:
        """Gap metrics of the student's features against its accuracy."""
        frame = self._gaps_of(key)
        if frame.empty:
            return None
        frame = frame[frame["view"] == "student"]
        accuracy = self.grid.students[["run_id", "label", self.grid.figure]]
        points = frame.merge(accuracy.drop_duplicates(["run_id", "label"]), on=["run_id", "label"])
        points = points.rename(columns={self.grid.figure: "accuracy"})
        if points["label"].nunique() < 3:
            return None
        return gap_accuracy_figure(points, self.colours, self.markers)

    def embedding(self, key: ColumnKey) -> Figure | None:
        """The plane of the first teacher's features; one finished run per method."""
        clouds: dict[str, Cloud] = {}
        plane = None
        for label, arrays in self._first_features(key):
            found = {view.name: view for view in gap.views(arrays)}
            if "student" not in found:
                continue
            view = found["student"]
            plane = plane or pca_plane(view.teacher)
            denoised = found.get("denoised")
            clouds[label] = Cloud(
                plane(view.teacher),
                plane(view.mapped),
                view.label.astype(int),
                None if denoised is None else plane(denoised.mapped),
            )
        if plane is None:
            return None
        names = [
            f"teacher's principal axis {i + 1} ({share:.0%} of its variance)"
            for i, share in enumerate(plane.explained)
        ]
        return embedding_figure(clouds, names)

    def _first_features(self, key: ColumnKey) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        runs = self.grid.students[self.grid.students["column"] == key]
        runs = runs[runs["state"] == FINISHED].sort_values("seed", kind="stable")
        where = dict(zip(runs.index, gap.sources(runs), strict=True))
        for label in self.grid.labels:
            for index in runs.index[runs["label"] == label][:1]:
                yield label, where[index].read(self.collected.runs_root)

    def _gaps_of(self, key: ColumnKey) -> pd.DataFrame:
        if self.gaps.empty:
            return self.gaps
        chosen = np.ones(len(self.gaps), dtype=bool)
        for name, value in key._asdict().items():
            chosen &= (self.gaps[name] == value).to_numpy()
        return self.gaps[chosen]
