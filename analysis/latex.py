"""Tables for a paper in LaTeX; needs the package booktabs and nothing else.

The table picks one or two text columns and a type size by the width of its longest cells, so that
it fits a two-column paper as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.render import Cell, Column, Table

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "→": r"$\to$",
    "−": r"$-$",
    "≤": r"$\le$",
    "<": r"$<$",
    ">": r"$>$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "ρ": r"$\rho$",
    "Δ": r"$\Delta$",
    "µ": r"$\mu$",
    "…": r"\ldots{}",
    "²": "$^2$",
    "³": "$^3$",
    "⁻": "$^-$",
    "°": r"$^\circ$",
}
COLUMN_POINTS, PAGE_POINTS = 240.0, 497.0  # 3.3 in and 6.9 in
SIZES = {"small": 4.45, "footnotesize": 4.0, "scriptsize": 3.6, "tiny": 2.7}
"""Type size -> points per character of a table's cells (digits, signs and lower case)."""
SEPARATION = 3.0
"""Points to either side of a column (``tabcolsep``)."""
HEADER_LINE = 13
"""Headers are broken into lines of about so many characters."""


def to_latex(table: Table) -> str:
    """A ``table`` (or ``table*``) environment with caption, label and notes below."""
    star, size = fit(table)
    headers = [_header(column) for column in table.columns]
    lines = [
        f"\\begin{{table{star}}}",
        f"  \\centering\\{size}\\setlength{{\\tabcolsep}}{{{SEPARATION:g}pt}}",
        f"  \\caption{{\\textbf{{{escape(table.title)}.}} {escape(table.caption)}}}",
        f"  \\label{{tab:{table.name}}}",
        f"  \\begin{{tabular}}{{@{{}}{''.join(column.align for column in table.columns)}@{{}}}}",
        "    \\toprule",
        f"    {_row(headers)}",
        "    \\midrule",
    ]
    for row in table.rows:
        lines += ["    \\midrule"] if row.rule_above else []
        lines.append(f"    {_row([_cell(cell) for cell in row.cells])}")
    lines += ["    \\bottomrule", "  \\end{tabular}"]
    if table.notes:
        notes = " ".join(escape(note.rstrip(".") + ".") for note in table.notes)
        lines.append(f"  \\par\\smallskip{{\\scriptsize\\raggedright {notes}\\par}}")
    return "\n".join([*lines, f"\\end{{table{star}}}"]) + "\n"


def fit(table: Table) -> tuple[str, str]:
    """``("", size)`` for one text column, ``("*", size)`` for both; the largest type that fits."""
    for star, limit, sizes in (
        ("", COLUMN_POINTS, ("small", "footnotesize")),
        ("*", PAGE_POINTS, tuple(SIZES)),
    ):
        for size in sizes:
            if points(table, size) <= limit:
                return star, size
    return "*", "tiny"


def points(table: Table, size: str) -> float:
    """Estimated width of the tabular in points."""
    characters = 0
    for number, column in enumerate(table.columns):
        header = max(map(len, header_lines(column.header)))
        cells = (len(row.cells[number].text) for row in table.rows)
        characters += max(header, *cells, 1)
    return characters * SIZES[size] + 2 * SEPARATION * (len(table.columns) - 1)


def header_lines(text: str) -> list[str]:
    """Words of a header in lines of about equal length."""
    wanted = math.ceil(len(text) / HEADER_LINE)
    limit = max(HEADER_LINE, math.ceil(len(text) / wanted)) if wanted else HEADER_LINE
    lines: list[str] = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if lines[-1] and len(joined) > limit:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines


def escape(text: str) -> str:
    """``text`` with what is special in LaTeX written so that it prints."""
    return "".join(SPECIAL.get(character, character) for character in text)


def _header(column: Column) -> str:
    lines = [escape(line) for line in header_lines(column.header)]
    if len(lines) == 1:
        return lines[0]
    return f"\\shortstack[{column.align}]{{" + r"\\".join(lines) + "}"


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.mark == "best":
        return f"\\textbf{{{text}}}"
    if cell.mark == "second":
        return f"\\underline{{{text}}}"
    return f"\\emph{{{text}}}" if cell.mark == "hole" else text


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
