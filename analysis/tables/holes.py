"""The runs without a result, and why."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from analysis.runs.collect import Collected, set_apart
from analysis.runs.grid import pair_name
from analysis.runs.records import FINISHED
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import shorten
from analysis.tables.inputs import Inputs

ORDER = 20


def tables(inputs: Inputs) -> Iterator[Table]:
    """The holes, where there are any."""
    yield holes(inputs.collected)


def holes(collected: Collected) -> Table:
    """Every run, and every other result of one, that fills no cell."""
    missing = collected.runs[collected.runs["state"] != FINISHED]
    runs = pd.concat([missing, set_apart(collected.runs, collected.runs_root)])
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
