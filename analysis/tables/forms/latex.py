"""Tables for a paper in LaTeX; needs the package booktabs and nothing else.

The table picks one or two text columns and a type size by the width of its longest cells, so that
it fits a two-column paper as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.tables.forms.render import Cell, Column, Table

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
    "§": r"\S{}",
    "ρ": r"$\rho$",
    "Δ": r"$\Delta$",
    "µ": r"$\mu$",
    "…": r"\ldots{}",
    "²": "$^2$",
    "³": "$^3$",
    "⁻": "$^-$",
    "°": r"$^\circ$",
}
COLUMN_POINTS, PAGE_POINTS = 238.0, 496.0  # 3.3 in and 6.9 in
SIZES = {"small": 9.25, "footnotesize": 8.5, "scriptsize": 7.97, "tiny": 6.81}
"""Type size -> its quad in points (Computer Modern is wider the smaller it is)."""
WIDTHS = {
    " .,:;'|!il": 0.29,
    "()[]tfrj/-": 0.39,
    "–0123456789": 0.5,
    "±−+=<>×w": 0.78,
    "mMW→%…": 1.0,
}
"""Characters -> width over the quad, in Computer Modern; others count as one of the two below."""
LOWER, UPPER = 0.53, 0.74
BOLD = 1.15
TEXT_POINTS = 170.0
"""Text of a column at the left is broken into lines of so many points."""
SEPARATION = 3.0
"""Points to either side of a column (``tabcolsep``)."""
HEADER_LINE = 13
"""Headers are broken into lines of about so many characters."""


def to_latex(table: Table) -> str:
    """A ``table`` (or ``table*``) environment with caption, label and notes below.

    A table too wide for a page in the smallest type becomes several tabulars below each other,
    each with the columns at the left that name its rows.
    """
    star, size = fit(table)
    lines = [
        f"\\begin{{table{star}}}",
        f"  \\centering\\{size}\\setlength{{\\tabcolsep}}{{{SEPARATION:g}pt}}",
        "  \\setlength{\\belowcaptionskip}{4pt}",  # LaTeX expects captions below
        f"  \\caption{{\\textbf{{{escape(table.title)}.}} {escape(table.caption)}}}",
        f"  \\label{{tab:{table.name}}}",
    ]
    for number, part in enumerate(parts(table, size)):
        lines += ["  \\par\\smallskip"] if number else []
        lines += _tabular(part, size)
    if table.notes:
        notes = " ".join(escape(note.rstrip(".") + ".") for note in table.notes)
        lines.append(f"  \\par\\smallskip{{\\scriptsize\\raggedright {notes}\\par}}")
    return "\n".join([*lines, f"\\end{{table{star}}}"]) + "\n"


def _columns(table: Table, size: str) -> str:
    """``l``, ``r``, or a paragraph for long text."""
    widths = _column_points(table, size)
    return "".join(
        f"p{{{TEXT_POINTS:g}pt}}" if width == TEXT_POINTS else column.align
        for column, width in zip(table.columns, widths, strict=True)
    )


def _tabular(table: Table, size: str) -> list[str]:
    lines = [
        f"  \\begin{{tabular}}{{@{{}}{_columns(table, size)}@{{}}}}",
        "    \\toprule",
        f"    {_row([_header(column) for column in table.columns])}",
        "    \\midrule",
    ]
    for row in table.rows:
        lines += ["    \\midrule"] if row.rule_above else []
        lines.append(f"    {_row([_cell(cell) for cell in row.cells])}")
    return [*lines, "    \\bottomrule", "  \\end{tabular}"]


def fit(table: Table) -> tuple[str, str]:
    """``("", size)`` for one text column, ``("*", size)`` for both; the largest type that fits."""
    for star, limit, sizes in (
        ("", COLUMN_POINTS, ("small", "footnotesize")),
        ("*", PAGE_POINTS, tuple(SIZES)),
    ):
        for size in sizes:
            if points(table, size) <= limit:
                return star, size
    return "*", "scriptsize"  # in parts


def points(table: Table, size: str) -> float:
    """Estimated width of the tabular in points."""
    return sum(_column_points(table, size)) + 2 * SEPARATION * (len(table.columns) - 1)


def parts(table: Table, size: str) -> list[Table]:
    """The table itself, or as many parts as it takes for each to fit a page."""
    if points(table, size) <= PAGE_POINTS:
        return [table]
    widths = [width + 2 * SEPARATION for width in _column_points(table, size)]
    named = next((i for i, it in enumerate(table.columns) if it.align != "l"), 1)
    groups: list[list[int]] = [[]]
    for place in range(named, len(table.columns)):
        used = sum(widths[i] for i in (*range(named), *groups[-1], place))
        if used > PAGE_POINTS and groups[-1]:
            groups.append([])
        groups[-1].append(place)
    return [table.part([*range(named), *group]) for group in groups]


def _column_points(table: Table, size: str) -> list[float]:
    """Width of every column."""
    found = []
    for number, column in enumerate(table.columns):
        texts = [(line, 1.0) for line in header_lines(column.header)]
        cells = (row.cells[number] for row in table.rows)
        texts += [(cell.text, BOLD if cell.mark == "best" else 1.0) for cell in cells]
        width = max(_quads(text) * wider for text, wider in texts) * SIZES[size]
        found.append(min(width, TEXT_POINTS) if column.align == "l" else width)
    return found


def _quads(text: str) -> float:
    """Width of a line over the quad of its type."""
    return sum(_KNOWN.get(it, UPPER if it.isupper() else LOWER) for it in text)


_KNOWN = {character: width for characters, width in WIDTHS.items() for character in characters}


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
    return f"\\emph{{{text}}}" if cell.mark == "hole" else text


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
