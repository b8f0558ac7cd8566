"""One table, many forms: Markdown, HTML and plain text.

LaTeX is in :mod:`analysis.tables.forms.latex`, CSV in :mod:`analysis.tables.forms.csv_table`.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

BEST_NOTE = "* best of its column or not told from it, or chosen"
"""Below a table on the terminal, which has no bold."""


@dataclass(frozen=True)
class Cell:
    """What one cell says."""

    text: str = ""
    mark: str = ""
    """``best`` (bold; what the data cannot tell from the best, too), ``hole`` (something is
    missing) or nothing."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """The same unrounded, for CSV: ``mean, sd, n``, ``low, high``, or ``""`` for the one number."""
    tied: Sequence[str] | None = None
    """The methods (of :class:`Row`) whose cells of this column the data cannot tell from this one;
    None where it does not compete with them."""


@dataclass(frozen=True)
class Column:
    """Header and alignment."""

    header: str
    align: str = "r"
    """``l`` or ``r``"""
    group: str = ""
    """The pair that a filter selects on; empty: always shown."""
    name: str = ""
    """In CSV, where headers of columns must differ; empty: the header."""


@dataclass(frozen=True)
class Row:
    """Cells in the order of the columns."""

    cells: Sequence[Cell]
    method: str = ""
    """What filters select on."""
    pair: str = ""
    rule_above: bool = False


@dataclass(frozen=True)
class Table:
    """Everything that any of the forms shows."""

    name: str
    """Stem of its files."""
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str = ""
    notes: Sequence[str] = ()

    def part(self, places: Sequence[int]) -> Table:
        """These of its columns."""
        rows = [replace(row, cells=[row.cells[place] for place in places]) for row in self.rows]
        return replace(self, columns=[self.columns[place] for place in places], rows=rows)

    def texts(self, header: str) -> set[str]:
        """What the cells of a column say."""
        place = [column.header for column in self.columns].index(header)
        return {row.cells[place].text for row in self.rows}

    def without(self, header: str) -> Table:
        """Without a column."""
        place = [column.header for column in self.columns].index(header)
        rows = [replace(row, cells=_without(row.cells, place)) for row in self.rows]
        return replace(self, columns=_without(self.columns, place), rows=rows)

    def without_constant(self, header: str) -> Table:
        """Without the column ``header`` where all its cells say the same."""
        return self if len(self.texts(header)) > 1 else self.without(header)


Item = TypeVar("Item")


def _without(items: Sequence[Item], place: int) -> list[Item]:
    return [item for number, item in enumerate(items) if number != place]


def to_markdown(table: Table) -> str:
    """GitHub's pipe table, padded so that the source reads too."""
    rows = [[_markdown(column.header) for column in table.columns]]
    rows += [[_markdown_cell(cell) for cell in row.cells] for row in table.rows]
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(table.columns))]
    lines = [f"**{table.title}.** {table.caption}".rstrip(), ""]
    lines.append(_pipe_row(rows[0], widths, table.columns))
    dashes = [
        "-" * (width - 1) + (":" if column.align == "r" else "-")
        for width, column in zip(widths, table.columns, strict=True)
    ]
    lines.append(f"| {' | '.join(dashes)} |")
    lines += [_pipe_row(row, widths, table.columns) for row in rows[1:]]
    lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def to_text(table: Table) -> str:
    """For the terminal: aligned, ``*`` after the best, nothing to escape."""
    rows = [[column.header for column in table.columns]]
    rows += [
        [cell.text + ("*" if cell.mark == "best" else "") for cell in r.cells] for r in table.rows
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    lines = [table.title]
    for number, row in enumerate(rows):
        lines.append("  ".join(_padded(row, widths, table.columns)).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    marked = any(cell.mark == "best" for row in table.rows for cell in row.cells)
    lines += [f"  {BEST_NOTE}"] * marked
    lines += [f"  {note}" for note in table.notes]
    return "\n".join(lines)


def inert(text: str) -> str:
    """``text`` as a spreadsheet shows it: what would start a formula gets an apostrophe."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def to_html(table: Table) -> str:
    """A ``<figure>`` with data attributes for the page's filters."""
    head = "".join(
        f'<th class="{column.align}"{_data("pair", column.group)}>{html.escape(column.header)}</th>'
        for column in table.columns
    )
    body = []
    for row in table.rows:
        cells = "".join(
            f'<td class="{column.align} {cell.mark}"{_data("pair", column.group)}'
            f"{_competition(cell)}>{html.escape(cell.text)}</td>"
            for cell, column in zip(row.cells, table.columns, strict=True)
        )
        rule = ' class="rule"' if row.rule_above else ""
        body.append(f"<tr{rule}{_data('method', row.method)}{_data('pair', row.pair)}>{cells}</tr>")
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return (
        f'<figure class="table" id="table-{table.name}"><figcaption><b>{html.escape(table.title)}.'
        f'</b> {html.escape(table.caption)}</figcaption><div class="scroll"><table><thead><tr>'
        f"{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div><ul>{notes}</ul></figure>"
    )


def _markdown(text: str) -> str:
    for special in ("\\", "|", "*", "_"):
        text = text.replace(special, f"\\{special}")
    return text.replace("\n", " ")


def _markdown_cell(cell: Cell) -> str:
    text = _markdown(cell.text)
    if cell.mark == "best":
        return f"**{text}**"
    return f"*{text}*" if cell.mark == "hole" and text else text


def _pipe_row(row: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    return f"| {' | '.join(_padded(row, widths, columns))} |"


def _padded(row: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> list[str]:
    return [
        text.ljust(width) if column.align == "l" else text.rjust(width)
        for text, width, column in zip(row, widths, columns, strict=True)
    ]


def _competition(cell: Cell) -> str:
    """For the page's filters: the mean, and which methods it is not told from."""
    if cell.tied is None:
        return ""
    return _data("mean", f"{cell.numbers['mean']:.6f}") + _data("tied", json.dumps(list(cell.tied)))


def _data(name: str, value: str) -> str:
    return f' data-{name}="{html.escape(value)}"' if value else ""
