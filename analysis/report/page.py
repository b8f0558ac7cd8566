"""The report as one self-contained HTML page: no network, pictures inside, filters in plain JS."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import jinja2
from markupsafe import Markup

from analysis.report.prose import paragraphs
from analysis.runs.collect import Collected
from analysis.runs.grid import Grid
from analysis.runs.records import FINISHED
from analysis.tables import render, runs
from analysis.tables.render import Table

FULL_PIXELS = 6.9 * 220
"""Width of a picture over two text columns."""


class ShownPicture(Protocol):
    """What the page needs of a picture."""

    @property
    def name(self) -> str:
        """Stem of its file."""

    @property
    def caption(self) -> str:
        """What it shows."""

    @property
    def pair(self) -> str:
        """The pair it belongs to, empty for all."""

    @property
    def png(self) -> Path:
        """The file."""

    @property
    def fault(self) -> str:
        """Why there is no file, or nothing."""


def html(
    collected: Collected,
    grid: Grid,
    tables: Sequence[Table],
    pictures: Sequence[ShownPicture],
    folder: Path,
) -> str:
    """The page as text, for ``folder``: from there it links to files of the report and to runs."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.jinja").render(
        experiment=collected.experiment,
        command=collected.command,
        note=paragraphs(collected.note),
        runs=runs.listed(collected, folder),
        run_count=len(collected.runs),
        facts=facts(collected),
        methods=grid.labels,
        pairs=list(dict.fromkeys(key.pair for key in grid.columns)),
        tables=[
            {"name": table.name, "title": table.title, "html": Markup(render.to_html(table))}
            for table in tables
        ],
        pictures=[
            {
                "name": picture.name,
                "caption": picture.caption,
                "pair": picture.pair,
                "fault": picture.fault,
                **({} if picture.fault else _image(picture.png)),
            }
            for picture in pictures
        ],
    )


def _image(png: Path) -> dict[str, object]:
    """The picture's bytes, and its share of the page: letters are equally large in pictures of one
    and two columns.
    """
    content = png.read_bytes()
    width = int.from_bytes(content[16:20], "big")  # pixels, from the PNG's header
    return {
        "width": min(100, round(100 * width / FULL_PIXELS)),
        "data": base64.b64encode(content).decode(),
    }


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
