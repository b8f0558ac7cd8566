"""An experiment's report: tables, figures and one page, from the runs that exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from analysis import tables
from analysis.feature_gap import gap
from analysis.report import page
from analysis.runs.collect import Collected, collect
from analysis.runs.grid import Grid, states_text
from analysis.runs.records import FINISHED
from analysis.tables import render, runs
from analysis.tables.csv_table import to_csv
from analysis.tables.latex import to_latex
from analysis.tables.render import Table
from suite.interface.errors import UserError

if TYPE_CHECKING:
    from analysis.report.picture import Shown

CACHE = ".cache"
FORMS = {"md": render.to_markdown, "tex": to_latex, "csv": to_csv}
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
    faults: tuple[str, ...] = ()
    """A line for every figure that could not be drawn."""

    def __str__(self) -> str:
        places = sorted({str(path.parent) for path in self.files if path != self.index})
        last = [self.summary, *self.faults, f"page: {self.index}", f"files: {', '.join(places)}"]
        return "\n\n".join([*self.tables, "\n".join(last)])

    def __rich__(self) -> Text:
        return Text(str(self), no_wrap=True, overflow="ignore")


def folder(manifests: Sequence[Path]) -> Path:
    """Where a report goes unless told: beside its manifest; of several, ``runs/a+b/report``."""
    first = manifests[0]
    if len(manifests) == 1:
        return first.with_name(first.stem.replace("manifest", "report"))
    names = "+".join(path.parent.name for path in manifests)
    return first.parent.with_name(names) / "report"


def build(
    runs_root: Path, manifest: Path | Sequence[Path], out: Path, *, tsne: bool = False
) -> Report:
    """Write ``out/tables``, ``out/figures`` and ``out/index.html`` for one manifest or several.

    Runs that are missing, failed or damaged appear as such. ``tsne`` adds a joint t-SNE to the
    embedding by principal axes (seconds to minutes). Raises
    :class:`analysis.runs.collect.CollectError` and :class:`ReportError`.
    """
    return write(
        collect(runs_root, manifest, _writable(out) / CACHE / "records.json"), out, tsne=tsne
    )


def write(collected: Collected, out: Path, *, tsne: bool = False) -> Report:
    """The report of what was collected, from wherever. Raises :class:`ReportError`."""
    grid, out = Grid(collected), _writable(out)
    if not grid.labels:
        name = collected.experiment
        raise ReportError(f"experiment {name}: no student run, so there is nothing to compare")
    gaps = gap.gaps(collected, out / CACHE)
    made = [
        tables.accuracy(grid),
        tables.holes(collected),
        tables.published_figures(grid),
        tables.differences(grid),
        tables.comparisons(grid),
        *tables.variants(grid),
        *tables.sensitivity(grid),
        tables.selection(grid),
        tables.cost(grid),
        tables.gaps(gaps.runs),
        tables.gap_intervals(gaps.runs),
        tables.gap_holes(gaps),
    ]
    shown = [table for table in made if table is not None and table.rows]
    files = _write_tables(shown, out / "tables")
    every_run = out / "runs.csv"
    every_run.write_text(runs.to_csv(collected), encoding="utf-8")
    pictures, faults = _draw(grid, gaps, out / "figures", tsne)
    index = out / "index.html"
    index.write_text(page.html(collected, grid, shown, pictures, out), encoding="utf-8")
    first = [table for table in shown if table.name in ("accuracy", "holes")]
    return Report(
        tables=tuple(render.to_text(table) for table in first),
        files=(*files, every_run, *(path for it in pictures for path in it.files), index),
        index=index,
        summary=_summary(collected),
        faults=faults,
    )


def _writable(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(f"cannot write the report to {out}: {error.strerror}") from None
    return out


def _write_tables(made: Sequence[Table], folder: Path) -> list[Path]:
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


def _draw(
    grid: Grid, gaps: gap.Gaps, folder: Path, tsne: bool
) -> tuple[list[Shown], tuple[str, ...]]:
    from analysis.report import drawing, figures, picture  # matplotlib takes half a second to load

    shown = drawing.draw_all(figures.Pictures(grid, gaps, with_tsne=tsne), folder)
    return shown, tuple(picture.faults(shown))


def _summary(collected: Collected) -> str:
    runs = collected.runs.drop_duplicates("directory")
    counts = {str(k): int(v) for k, v in runs["state"].value_counts().items()}
    text = f"{counts.get(FINISHED, 0)} of {len(runs)} runs finished"
    rest = states_text(counts, leave_out=(FINISHED,))
    return f"{text} ({rest})" if rest else text
