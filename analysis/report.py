"""An experiment's report: tables, figures and one page, from the runs that exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.text import Text

from analysis import gap, page, render, tables
from analysis.collect import FINISHED, Collected, collect
from analysis.grid import Grid, states_text
from analysis.latex import to_latex
from analysis.render import Table
from suite.errors import UserError

CACHE = ".cache"
FORMS = {"md": render.to_markdown, "tex": to_latex, "csv": render.to_csv}
"""Suffix -> form, for the files of a report."""


class ReportError(UserError):
    """The report cannot be written; the message names the place."""


@dataclass(frozen=True)
class Report:
    """What was made: tables as text for the terminal, and the paths of all files."""

    tables: tuple[str, ...]
    files: tuple[Path, ...]
    index: Path
    """The page that holds everything."""
    summary: str
    """How many of the expected runs are there."""

    def __str__(self) -> str:
        places = sorted({str(path.parent) for path in self.files if path != self.index})
        shown = [*self.tables, self.summary, f"page: {self.index}"]
        return "\n\n".join([*shown[:-2], "\n".join([*shown[-2:], f"files: {', '.join(places)}"])])

    def __rich__(self) -> Text:
        return Text(str(self), no_wrap=True, overflow="ignore")


@dataclass(frozen=True)
class Shown:
    """A picture on the disk."""

    name: str
    caption: str
    pair: str
    png: Path


def build(runs_root: Path, manifest: Path, out: Path) -> Report:
    """Write ``out/tables``, ``out/figures`` and ``out/index.html`` for one manifest.

    Runs that are missing, failed or damaged appear as such. Raises
    :class:`analysis.collect.CollectError` and :class:`ReportError`.
    """
    collected = collect(runs_root, manifest, _writable(out) / CACHE / "records.json")
    grid = Grid(collected)
    if not grid.labels:
        raise ReportError(f"manifest {manifest}: no student run, so there is nothing to compare")
    gaps = gap.frame(collected, out / CACHE / "gaps.json")
    made = [
        tables.accuracy(grid),
        tables.holes(collected),
        tables.comparisons(grid),
        *tables.variants(grid),
        tables.published_figures(grid),
        tables.selection(grid),
        tables.cost(grid),
        tables.gaps(gaps),
    ]
    shown = [table for table in made if table is not None and table.rows]
    files = _write_tables(shown, out / "tables")
    pictures, drawn = _draw(grid, gaps, out / "figures")
    index = out / "index.html"
    index.write_text(page.html(collected, grid, shown, pictures), encoding="utf-8")
    first = [table for table in shown if table.name in ("accuracy", "holes")]
    return Report(
        tables=tuple(render.to_text(table) for table in first),
        files=(*files, *drawn, index),
        index=index,
        summary=_summary(collected),
    )


def _writable(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ReportError(f"cannot write the report to {out}: {error.strerror}") from None
    return out


def _write_tables(made: Sequence[Table], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()  # a table of an earlier report must not pass for one of this
    files = []
    for table in made:
        for suffix, form in FORMS.items():
            path = folder / f"{table.name}.{suffix}"
            path.write_text(form(table), encoding="utf-8")
            files.append(path)
    return files


def _draw(grid: Grid, gaps: pd.DataFrame, folder: Path) -> tuple[list[Shown], list[Path]]:
    from analysis.figures import Pictures  # matplotlib loads for half a second
    from analysis.plots.style import paper_style, save

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    shown: list[Shown] = []
    files: list[Path] = []
    with paper_style():
        for picture in Pictures(grid, gaps):
            figure = picture.draw()
            if figure is None:
                continue
            pdf, png = save(figure, folder / picture.name)
            files += [pdf, png]
            shown.append(Shown(picture.name, picture.caption, picture.pair, png))
    return shown, files


def _summary(collected: Collected) -> str:
    runs = collected.runs.drop_duplicates("directory")
    counts = {str(k): int(v) for k, v in runs["state"].value_counts().items()}
    text = f"{counts.get(FINISHED, 0)} of {len(runs)} runs finished"
    rest = states_text(counts, leave_out=(FINISHED,))
    return f"{text} ({rest})" if rest else text
