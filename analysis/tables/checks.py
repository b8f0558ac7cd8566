"""What the reader must know besides the means: selection, holes."""

from __future__ import annotations

from analysis.runs.collect import Collected
from analysis.runs.grid import TEST, Grid, pair_name
from analysis.runs.records import FINISHED
from analysis.statistics import stats
from analysis.tables.accuracy import name_cell
from analysis.tables.render import Cell, Column, Row, Table
from analysis.tables.text import number_cell, shorten, signed_cell


def selection(grid: Grid) -> Table | None:
    """What choosing the epoch would have claimed; None where no column was tested."""
    columns = [key for key in grid.columns if grid.figure_of(key) == TEST]
    if not columns:
        return None
    rows: list[Row] = []
    for key in columns:
        for label in grid.labels:
            last = grid.cell(label, key).scores
            by_val = grid.cell(label, key, "best_val/test/top1_percent").scores
            by_test = grid.cell(label, key, "best_test/test/top1_percent").scores
            if not len(stats.present(last)):
                continue
            cells = [
                Cell(grid.place(key)),
                name_cell(grid, label, key),
                number_cell(stats.mean(last), 2),
                number_cell(stats.mean(by_val), 2),
                number_cell(stats.mean(by_test), 2),
                signed_cell(stats.mean(by_val - last)),
                signed_cell(stats.mean(by_test - last)),
            ]
            first = label == grid.labels[0] and bool(rows)
            rows.append(Row(cells, label, key.pair, rule_above=first))
    headers = [
        "last epoch", "best validation", "best test", "validation − last", "test − last",
    ]  # fmt: skip
    return Table(
        name="selection",
        title="Selection optimism",
        columns=[Column("Pair", "l"), Column("Method", "l"), *map(Column, headers)],
        rows=rows,
        caption=(
            "Test top-1 (%) at three epochs of the same runs. The last epoch is reported; the last "
            "column is what choosing the epoch on the test split would have added."
        ),
    ).without_constant("Pair")


def holes(collected: Collected) -> Table | None:
    """Every run that fills no cell, and why; None when there is none."""
    runs = collected.runs[collected.runs["state"] != FINISHED]
    if runs.empty:
        return None
    rows = [
        Row(
            [
                Cell(str(run["state"]), "hole"),
                Cell(str(run["label"])),
                Cell(pair_name(run["pair"])),
                Cell(str(run["seed"])),
                Cell(str(run["directory"])),
                Cell(shorten(str(run["reason"]))),
            ],
            str(run["label"]),
            str(run["pair"]),
        )
        for _, run in runs.iterrows()
    ]
    return Table(
        name="holes",
        title="Runs without a result",
        columns=[
            Column("state", "l"),
            Column("method", "l"),
            Column("pair", "l"),
            Column("seed"),
            Column("directory", "l"),
            Column("reason", "l"),
        ],
        rows=rows,
        caption="None of these is part of any mean.",
    )
