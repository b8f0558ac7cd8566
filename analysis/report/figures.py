"""Which pictures a report holds: every figure of ``analysis.plots`` for every column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from analysis.feature_gap.gap import Gaps
from analysis.plots import column as columns
from analysis.plots.column import Column
from analysis.report.picture import Picture
from analysis.runs.grid import Grid


class Pictures:
    """Pictures of an experiment, one set per column of the accuracy table."""

    def __init__(self, grid: Grid, gaps: Gaps, *, with_tsne: bool = False) -> None:
        self.grid = grid
        self.gaps = gaps
        self.with_tsne = with_tsne

    def column(self, number: int) -> Column:
        """What the figures of a column are drawn from."""
        return Column(self.grid, self.gaps, self.grid.columns[number], with_tsne=self.with_tsne)

    def only(self, number: int) -> Pictures:
        """These pictures with what one column needs: small enough to send to a process."""
        key = self.grid.columns[number]
        return Pictures(self.grid.only(key), self.gaps.of(*key), with_tsne=self.with_tsne)

    def of_column(self, number: int) -> Iterator[Picture]:
        """The pictures of one column of the accuracy table."""
        column, name = self.column(number), self.grid.column_names()[number]
        name = name if name == column.networks else f"{column.networks} ({name})"
        suffix = f"-{number + 1}" if len(self.grid.columns) > 1 else ""
        for figure in columns.figures():
            if not figure.of_all:
                text = partial(_caption, name, figure.caption, column)
                draw = partial(figure.draw, column)
                yield Picture(f"{figure.name}{suffix}", text, draw, column.key.pair)

    def of_all(self) -> Iterator[Picture]:
        """The pictures that take all columns together."""
        column = self.column(0)
        for figure in columns.figures():
            if figure.of_all:
                yield Picture(
                    figure.name, partial(figure.caption, column), partial(figure.draw, column)
                )


def _caption(name: str, caption: Callable[[Column], str], column: Column) -> str:
    return f"{name}: {caption(column)}"
