"""The report of a search: a page with tables and pictures, each also as a file."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from rich.text import Text

from analysis.plots.style import COLUMN_INCHES, FULL_INCHES, height_for
from analysis.report.picture import Picture, Shown, clear, draw, faults
from analysis.report.prose import paragraphs
from analysis.search import plots
from analysis.search.study import Study, read
from analysis.statistics.tuning import expected_best
from analysis.tables.forms import files as table_files
from analysis.tables.forms import render
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import number_cell
from suite.interface.errors import UserError

SHOWN_TRIALS = 10
BUDGETS = (1, 2, 5, 10, 20, 50, 100)
"""Numbers of trials that a column stands for."""
LEAST_FOR_CONTOUR = 4  # points of a surface
ONE_COLUMN = (COLUMN_INCHES, 2.4)
Draw = Callable[[Any], Any]
"""Draws into the axes that it gets."""


@dataclass(frozen=True)
class Report:
    """What was made."""

    text: str
    index: Path
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.text}\n\npage: {self.index}"

    def __rich__(self) -> Text:
        return Text(str(self), no_wrap=True, overflow="ignore")


def build(record: Path, out: Path) -> Report:
    """Write ``out/index.html``, ``out/tables`` and ``out/figures`` from a ``search.json``.

    Raises ``SearchRecordError`` without a record, and :class:`UserError` when nothing can be
    written there.
    """
    content, studies = read(record)
    tables = [best_trials(study) for study in studies]
    some = any(len(study.tried) for study in studies)
    tables += [expected_table(studies)] if some else []
    try:
        files = table_files.write(tables, out / "tables")
        clear(out / "figures")
        drawing = [it for study in studies for it in pictures(study)]
        drawing += [expected_picture(studies)] if some else []
        shown = draw(drawing, out / "figures")
        index = out / "index.html"
        index.write_text(_page(content, studies, tables, shown), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write the report to {out}: {error.strerror}") from None
    drawn = tuple(path for it in shown for path in it.files)
    text = "\n\n".join([*(render.to_text(table) for table in tables), *faults(shown)])
    return Report(text, index, (*files, *drawn, index))


def expected_table(studies: Sequence[Study]) -> Table:
    """What fewer random trials would have found, method by method."""
    most = max(len(study.tried) for study in studies)
    counts = [count for count in BUDGETS if count < most] + [most]
    rows = []
    for study in studies:
        best = expected_best(study.tried, counts)
        known = [
            number_cell(float(value) if count <= len(study.tried) else float("nan"), 2)
            for count, value in zip(counts, best, strict=True)
        ]
        rows.append(Row([Cell(study.method), Cell(str(len(study.tried))), *known], study.method))
    return Table(
        name="expected",
        title="Expected validation accuracy by number of trials",
        columns=[
            Column("Method", "l"),
            Column("trials"),
            *(Column(f"best of {count}") for count in counts),
        ],
        rows=rows,
        caption=(
            "Percent; of so many trials, drawn with replacement from those of the search (Dodge et "
            "al. 2019)."
        ),
        notes=(
            "Methods are to be compared at equal numbers of trials. Pruned trials count with their "
            "last value; failed ones do not count. A sampler that learns from earlier trials finds "
            "more in its later ones than random draws say.",
        ),
    )


def expected_picture(studies: Sequence[Study]) -> Picture:
    """The same as curves."""
    tried = {study.method: study.tried for study in studies}
    return Picture(
        "expected",
        "Expected best validation accuracy against the number of random trials, drawn from those "
        "of the search (Dodge et al. 2019).",
        partial(
            _single,
            "tuning",
            lambda axes: plots.expected(axes, tried),
            (COLUMN_INCHES, height_for(len(tried))),
        ),
    )


def best_trials(study: Study) -> Table:
    """The best complete trials with their settings; the defaults' trial always."""
    ranked = study.complete.sort_values(["accuracy", "number"], ascending=[False, True])
    first = ranked.index[:SHOWN_TRIALS]
    kept = ranked[ranked.index.isin(first) | ranked["defaults"]]
    best = study.content["best_trial"]
    front = study.content["front"] if study.two_objectives else []
    counts = study.trials["state"].value_counts()
    told = ", ".join(f"{int(count)} {state}" for state, count in counts.items())
    second = [Column("s / step")] if study.two_objectives else []
    rows = []
    for row in kept.to_dict("records"):
        mark = "best" if row["number"] == best else ""
        cells = [Cell(f"{row['number']}"), Cell(f"{row['accuracy']:.2f}", mark)]
        if study.two_objectives:
            cells.append(Cell(f"{row['second']:.4f}{' front' if row['number'] in front else ''}"))
        cells += [Cell(_value(row[name])) for name in study.params]
        cells.append(Cell("defaults" if row["defaults"] else ""))
        rows.append(Row(cells, study.method))
    return Table(
        name=f"trials-{study.method}",
        title=f"Best trials of {study.method}",
        columns=[
            Column("trial"),
            Column("val accuracy"),
            *second,
            *(Column(plots.label(name)) for name in study.params),
            Column("", "l"),
        ],
        rows=rows,
        caption=(
            f"{told}. Validation accuracy in percent, mean over {study.seeds} seed(s); bold: "
            "chosen. The best of many trials is an optimistic figure: what the settings are worth, "
            "a sweep with other seeds says."
        ),
        notes=[f"study {study.content['study']}, SHA-256 {study.content['study_sha256'][:16]}"],
    )


def pictures(study: Study) -> Iterator[Picture]:
    """All that the trials can show."""
    if study.complete.empty:
        return
    trials, params = study.trials, study.params
    log = {param for param in params if study.is_log(param)}

    def single(
        name: str, caption: str, title: str, draw: Draw, inches: tuple[float, float] = ONE_COLUMN
    ) -> Picture:
        drawn = partial(_single, f"{study.method}: {title}", draw, inches)
        return Picture(f"{study.method}-{name}", caption, drawn)

    caption = "Accuracy of every trial in order; crosses are where pruned trials stopped."
    yield single("history", caption, "trials", lambda axes: plots.history(axes, trials))
    if any(study.curves().values()):
        caption = "Intermediate values; the best trial in orange, pruned ones grey."
        yield single("curves", caption, "while they train", lambda axes: _curves(axes, study))
    shares = study.importances()
    if shares:
        yield single(
            "importances",
            f"Importance of the parameters over {len(study.complete)} complete trials (fANOVA).",
            "what mattered",
            lambda axes: plots.importances(axes, shares),
            (COLUMN_INCHES, 0.7 + plots.BAR_INCHES * len(shares)),
        )
    yield Picture(
        f"{study.method}-slice",
        "Accuracy of complete trials against each parameter; the later, the lighter.",
        lambda: plots.slices_figure(trials, params, log, f"{study.method}: one by one"),
    )
    two = [param for param in params if study.is_number(param)][:2]
    if len(two) == 2 and _is_surface(study.complete, *two):
        first, second = map(plots.label, two)
        yield single(
            "contour",
            f"Accuracy over {first} and {second}; the star is the best.",
            f"{first} x {second}",
            lambda axes: plots.contour(axes, trials, (two[0], two[1]), log),
        )
    if len(params) > 1:
        yield single(
            "parallel",
            "Complete trials through all parameters; the best in orange.",
            "all parameters",
            lambda axes: plots.parallel(axes, trials, params, log),
            (FULL_INCHES, 2.8),
        )
    if study.two_objectives:
        caption = "Accuracy against training time; numbers are trials."
        draw = partial(plots.pareto, trials=trials, front=study.content["front"])
        yield single("pareto", caption, "accuracy and time", draw)


def _curves(axes: Any, study: Study) -> None:
    trials = study.trials
    pruned = set(trials[trials["state"] == "pruned"]["number"])
    plots.intermediate(axes, study.curves(), pruned, study.content["best_trial"])
    axes.set_xlabel("epoch" if max(max(c, default=0) for c in study.curves().values()) else "seed")


def _is_surface(complete: pd.DataFrame, x: str, y: str) -> bool:
    points = complete[[x, y]].drop_duplicates()
    return len(points) >= LEAST_FOR_CONTOUR and bool(points.nunique().min() > 1)


def _single(title: str, draw: Draw, inches: tuple[float, float]) -> Figure:
    figure, axes = plots.one_axes(title, inches)
    draw(axes)
    return figure


def _page(
    content: dict[str, Any],
    studies: list[Study],
    tables: list[Table],
    shown: list[Shown],
) -> str:
    loader = jinja2.PackageLoader("analysis", "search")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    settings = content["settings"]
    return environment.get_template("page.html.jinja").render(
        name=content["search"],
        note=paragraphs(content["note"]),
        command=content["command"],
        facts={
            "pair": settings["pair"],
            "budget of every method": _pairs(settings["budget"]),
            "objective": f"validation accuracy, {settings['objective']['epoch']} epoch, mean over "
            f"seeds {', '.join(map(str, settings['seeds']))}",
            "sampler": _pairs(settings["sampler"]),
            "pruner": _pairs(settings["pruner"]),
            "training": ", ".join(
                f"{study.method} {study.trials['train_seconds'].sum() / 3600:.2f} h"
                for study in studies
            ),
        },
        tables=[Markup(render.to_html(table)) for table in tables],
        pictures=[
            {
                "name": picture.name,
                "caption": picture.caption,
                "fault": picture.fault,
                "data": ""
                if picture.fault
                else base64.b64encode(picture.png.read_bytes()).decode(),
            }
            for picture in shown
        ],
    )


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items() if value is not None)


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
