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
from analysis.tables import runs
from analysis.tables.forms import files as table_files
from analysis.tables.forms import render
from analysis.tables.forms.render import Table
from analysis.tables.inputs import Inputs
from suite.interface.errors import UserError

if TYPE_CHECKING:
    from analysis.report.picture import Shown

CACHE = ".cache"


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
        collect(runs_root, manifest, writable(out) / CACHE / "records.json"), out, tsne=tsne
    )


@dataclass(frozen=True)
class Parts:
    """What pages show: tables and figures, and the files that were written for them."""

    grid: Grid
    tables: Sequence[Table]
    pictures: Sequence[Shown]
    files: tuple[Path, ...]
    faults: tuple[str, ...]


def write(
    collected: Collected,
    out: Path,
    *,
    tsne: bool = False,
    frame: page.Frame = page.ALONE,
    gaps: gap.Gaps | None = None,
) -> Report:
    """The report of what was collected, from wherever.

    Args:
        collected: The runs.
        out: Folder of the report.
        tsne: Adds a joint t-SNE to the embedding.
        frame: Where the page stands, if it is one of a site.
        gaps: What was measured of the runs' features; measured here unless told.

    Returns:
        What was made.

    Raises:
        ReportError: There is no student, or ``out`` cannot be written.
    """
    made = parts(collected, out, tsne=tsne, gaps=gaps)
    index = out / "index.html"
    text = page.html(collected, made.grid, made.tables, made.pictures, out, frame)
    index.write_text(text, encoding="utf-8")
    first = [table for table in made.tables if table.name in ("accuracy", "holes")]
    return Report(
        tables=tuple(render.to_text(table) for table in first),
        files=(*made.files, index),
        index=index,
        summary=summary(collected),
        faults=made.faults,
    )


def parts(
    collected: Collected,
    out: Path,
    *,
    tsne: bool = False,
    gaps: gap.Gaps | None = None,
) -> Parts:
    """Tables and figures as files in ``out``; see :func:`write`."""
    grid, out = Grid(collected), writable(out)
    check(grid)
    gaps = gap.gaps(collected, out / CACHE) if gaps is None else gaps
    from analysis.report import drawing, figures, picture  # matplotlib takes half a second to load

    to_draw = figures.Pictures(grid, gaps, with_tsne=tsne)
    with drawing.begun(to_draw, out / "figures") as pictures_drawn:
        shown = list(tables.all_tables(Inputs(grid, gaps)))
        files = table_files.write(shown, out / "tables")
        tidy = [
            runs.write(collected, out / "runs.csv"),
            runs.write_features(gaps, out / "features.csv"),
        ]
        pictures = pictures_drawn()
    drawn = (path for shown_picture in pictures for path in shown_picture.files)
    return Parts(grid, shown, pictures, (*files, *tidy, *drawn), tuple(picture.faults(pictures)))


def check(grid: Grid) -> None:
    """Raises :class:`ReportError` where there is no student."""
    if not grid.labels:
        name = grid.collected.experiment
        raise ReportError(f"experiment {name}: no student run, so there is nothing to compare")


def writable(out: Path) -> Path:
    """The folder, made where it is missing. Raises :class:`ReportError`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(f"cannot write the report to {out}: {error.strerror}") from None
    return out


def summary(collected: Collected) -> str:
    """``12 of 19 runs finished (2 failed)``"""
    runs = collected.runs.drop_duplicates("directory")
    counts = {str(k): int(v) for k, v in runs["state"].value_counts().items()}
    text = f"{counts.get(FINISHED, 0)} of {len(runs)} runs finished"
    rest = states_text(counts, leave_out=(FINISHED,))
    return f"{text} ({rest})" if rest else text
