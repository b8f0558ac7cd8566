"""The report as one self-contained HTML page: no network, figures inside, plain script."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jinja2
from markupsafe import Markup

from analysis.report.prose import paragraphs
from analysis.report.run_list import LISTED, listed
from analysis.report.svg import inline
from analysis.runs.collect import Collected
from analysis.runs.grid import Grid
from analysis.runs.records import FINISHED
from analysis.tables.forms import render
from analysis.tables.forms.render import Table

if TYPE_CHECKING:
    from analysis.report.picture import Shown  # which loads matplotlib


class Frame(NamedTuple):
    """Where a page of a site stands; a report that stands alone holds style and script itself."""

    root: str | None = None
    """From the page to the site's folder, such as ``../``; None for a page that stands alone."""
    menu: Sequence[tuple[str, str]] = ()
    """Name and address of other pages."""
    refresh_seconds: int = 0
    """After so long the page asks for itself again; 0: never."""


ALONE = Frame()


def html(
    collected: Collected,
    grid: Grid,
    tables: Sequence[Table],
    pictures: Sequence[Shown],
    folder: Path,
    frame: Frame = ALONE,
) -> str:
    """The page as text, for ``folder``: from there it links to files of the report and to runs."""
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            title=collected.experiment,
            frame=frame,
            command=collected.command,
            note=paragraphs(collected.note),
            runs=listed(collected.runs[:LISTED], collected, folder),
            run_count=len(collected.runs),
            facts=facts(collected),
            methods=grid.labels,
            pairs=list(dict.fromkeys(key.pair for key in grid.columns)),
            tables=table_parts(tables),
            pictures=picture_parts(pictures),
        )
    )


@functools.cache
def environment() -> jinja2.Environment:
    """Where the templates of all pages are."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("analysis", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )


def table_parts(tables: Sequence[Table]) -> list[dict[str, object]]:
    """What the template shows of each table."""
    return [
        {"name": table.name, "title": table.title, "html": Markup(render.to_html(table))}
        for table in tables
    ]


def picture_parts(pictures: Sequence[Shown]) -> list[dict[str, object]]:
    """What the template shows of each figure; letters are equally large in all of them."""
    parts = []
    for picture in pictures:
        part: dict[str, object] = {
            name: getattr(picture, name) for name in ("name", "caption", "pair", "fault")
        }
        if not picture.fault:
            drawing, part["width"] = inline(picture.svg, picture.caption)
            part["svg"] = Markup(drawing)
        parts.append(part)
    return parts


def facts(collected: Collected) -> dict[str, str]:
    """Versions, code and devices behind the numbers; every value that occurs, with its count."""
    done = collected.runs[collected.runs["state"] == FINISHED].drop_duplicates("directory")
    shown = {"runs": f"{len(done)} finished of {collected.runs['directory'].nunique()}"}
    names = {
        "provenance/git_commit": "commit",
        "provenance/git_dirty": "uncommitted changes",
        "provenance/source_sha256": "source",
        "provenance/device": "device",
        "provenance/threads": "threads",
        "provenance/deterministic": "the same bits again",
        "provenance/versions": "versions",
    }
    for column, name in names.items():
        if column not in done:
            continue
        counts = done[column].dropna().value_counts()
        values = [
            _value(column, value) + (f" ({n} runs)" if len(counts) > 1 else "")
            for value, n in counts.items()
        ]
        if values:
            shown[name] = "; ".join(values)
    if {"provenance/started", "provenance/finished"} <= set(done) and len(done):
        first, last = done["provenance/started"].min(), done["provenance/finished"].max()
        shown["trained"] = f"{first} to {last}"
    return shown


def _value(column: str, value: object) -> str:
    if column == "provenance/versions":
        return ", ".join(f"{name} {number}" for name, number in json.loads(str(value)).items())
    if column == "provenance/source_sha256":
        return str(value)[:12]
    if column in ("provenance/git_dirty", "provenance/deterministic"):
        return "yes" if value else "no"
    return str(value)
