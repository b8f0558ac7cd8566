"""A table as CSV: numbers as numbers, one a column, so that a program can go on with them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator

from analysis.tables.forms.render import Cell, Column, Table, inert

NUMBER = re.compile(r"-?\d[\d,]*(\.\d+)?|-?\.\d+")
MISSING = "–"
NOTE = "note"


def to_csv(table: Table) -> str:
    """``kd mean, kd sd, kd n`` for a column of such cells, unrounded; ``kd note`` says what stands
    where there is no number. Missing values are empty.
    """
    columns = [
        parts
        for place, column in enumerate(table.columns)
        for parts in _parts(column, [row.cells[place] for row in table.rows])
    ]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(zip(*columns, strict=True))
    return buffer.getvalue()


def _parts(column: Column, cells: list[Cell]) -> Iterator[list[str]]:
    """The columns of the file that hold a column of the table, header first."""
    title = column.name or column.header
    names = list(dict.fromkeys(name for cell in cells for name in cell.numbers))
    for name in names:
        header = f"{title} {name}".strip()
        yield [inert(header), *(_number(cell.numbers.get(name, math.nan)) for cell in cells)]
    notes = ["" if cell.numbers else _plain(cell.text) for cell in cells]
    if not names:
        yield [inert(title), *notes]
    elif any(notes):
        yield [inert(f"{title} {NOTE}"), *notes]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.12g}"


def _plain(text: str) -> str:
    """A number as programs read it, other text as it is."""
    if text == MISSING:
        return ""
    plain = text.replace("−", "-")
    return plain.replace(",", "") if NUMBER.fullmatch(plain) else inert(plain)
