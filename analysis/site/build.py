"""Write the whole site: pages that need no server and no network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from analysis import report
from analysis.feature_gap.gap import NO_GAPS, gaps
from analysis.report import drawing, picture
from analysis.report.figures import Pictures
from analysis.report.page import environment, picture_parts, table_parts
from analysis.runs.collect import collect
from analysis.site.pages import MethodText, Site
from analysis.site.workers import workers
from analysis.tables import accuracy, differences, holes, runs
from analysis.tables.forms import files as table_files
from analysis.tables.forms.render import Table
from analysis.tables.inputs import Inputs

SHARED = ("style.css", "page.js")
RANKING = (accuracy, holes, differences)
"""Where the tables of the first page come from."""
AT_A_TIME = 50
"""Pages of runs that a process writes without asking for more."""


@dataclass(frozen=True)
class Published:
    """What was written."""

    index: Path
    pages: int
    summary: str
    faults: tuple[str, ...]
    """A line for every figure that could not be drawn."""

    def __str__(self) -> str:
        lines = [self.summary, *self.faults, f"{self.pages} pages: {self.index}"]
        return "\n".join(lines)


def publish(
    runs_root: Path,
    manifests: Sequence[Path],
    out: Path,
    describe: Callable[[str], MethodText | None],
) -> Published:
    """Write the site of experiments into ``out``; on every core where it is large.

    Raises:
        CollectError: A manifest cannot be read.
        ReportError: ``out`` cannot be written, or there is no student to show.
    """
    write_shared(report.writable(out))
    _remove_old_cache(out)
    with _cache_folder(manifests, out) as cache:
        site = Site(collect(runs_root, manifests, cache / "records.json"), describe)
        report.check(site.grid)
        faults = _write_pages(site, out, cache)
    count = 2 + len(site.pairs) + len(site.methods) + len(site.runs)
    return Published(out / "index.html", count, report.summary(site.collected), tuple(faults))


def _write_pages(site: Site, out: Path, cache: Path) -> list[str]:
    """All pages; a line for every figure that could not be drawn.

    Pages of runs first: the other processes write them while this one measures features.
    """
    (out / "runs").mkdir(exist_ok=True)
    with workers(len(site.runs), len(site.pairs)) as pool:
        waiting = [
            pool.submit(site.run_pages.write, site.listed[start : start + AT_A_TIME], out / "runs")
            for start in range(0, len(site.listed), AT_A_TIME)
        ]
        known = gaps(site.collected, cache)
        pairs = [pool.submit(site.pair_page(key, out, known.of(*key))) for key in site.pairs]
        faults = write_overview(site, out)
        for label, page in site.methods.items():
            _write(out / page, site.method(label))
        _write(out / "runs.html", site.all_runs())
        for one in waiting:
            one.result()
        return [*faults, *(fault for pair in pairs for fault in pair.result().faults)]


@contextmanager
def _cache_folder(manifests: Sequence[Path], out: Path) -> Iterator[Path]:
    """Where the report keeps what it knows: neither measures again what the other has measured.

    One that is forgotten where the run store cannot be written, or is in the site itself.
    """
    place = report.folder(manifests)
    try:
        kept = not place.resolve().is_relative_to(out.resolve()) and report.writable(place)
    except report.ReportError:
        kept = False
    if kept:
        yield place / report.CACHE
        return
    with tempfile.TemporaryDirectory(prefix="dskd-bench-site-") as folder:
        yield Path(folder)


def _remove_old_cache(out: Path) -> None:
    """Versions before this kept in the site what they knew of runs."""
    folder = out / report.CACHE
    for file in folder.glob("*.json"):
        file.unlink()
    with suppress(OSError):  # there is none, or something else is in it
        folder.rmdir()


def write_shared(out: Path) -> None:
    """Style and script of all pages."""
    for name in SHARED:
        _write(out / name, environment().get_template(f"{name}.jinja").render())


def ranking(site: Site) -> list[Table]:
    """The tables of the first page."""
    inputs = Inputs(site.grid, NO_GAPS)
    made = (table for module in RANKING for table in module.tables(inputs))
    return [table for table in made if table.rows]


def write_overview(site: Site, out: Path) -> list[str]:
    """The first page with the tables and figures of all pairs together; its faults."""
    tables = ranking(site)
    table_files.write(tables, out / "tables")
    runs.write(site.collected, out / "runs.csv")
    drawn = drawing.draw_of_all(Pictures(site.grid, NO_GAPS), out / "figures")
    _write(out / "index.html", site.overview(table_parts(tables), picture_parts(drawn)))
    return picture.faults(drawn)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
