"""Tables as files, in every form."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from analysis.tables.forms.csv_table import to_csv
from analysis.tables.forms.latex import to_latex
from analysis.tables.forms.render import Table, to_markdown

FORMS = {"md": to_markdown, "tex": to_latex, "csv": to_csv}
"""Suffix -> form."""


def write(made: Iterable[Table], folder: Path) -> list[Path]:
    """Write every form of every table; those of an earlier report are removed before."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (path for suffix in FORMS for path in folder.glob(f"*.{suffix}")):
        old.unlink()  # a table of an earlier report must not pass for one of this
    files = []
    for table in made:
        for suffix, form in FORMS.items():
            path = folder / f"{table.name}.{suffix}"
            path.write_text(form(table), encoding="utf-8")
            files.append(path)
    return files
