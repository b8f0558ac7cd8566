"""How all pictures look, and how they are written."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import matplotlib as mpl

mpl.use("Agg", force=False)

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from analysis.feature_gap import views

COLUMN_INCHES, FULL_INCHES = 3.3, 6.9
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#E69F00", "#D55E00")
"""Okabe and Ito's palette without its yellow."""
MARKERS = "osD^vPX*<>hp"
LINES = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
TEACHER, STUDENT, ORIGINAL, DENOISED, VIRTUAL = (
    "#7f7f7f", "#0072B2", "#56B4E9", "#009E73", "#D55E00",
)  # fmt: skip
VIEW_LOOKS = {
    views.STUDENT: (STUDENT, "o", LINES[0]),
    views.ORIGINAL: (ORIGINAL, "s", LINES[2]),
    views.DENOISED: (DENOISED, "^", LINES[3]),
    views.VIRTUAL: (VIRTUAL, "D", LINES[1]),
}
"""Colour, marker and line of a view of the student."""
TAG = "mark"
"""How the group ids of tagged marks begin, see :func:`tag`."""
TITLE_CHARACTERS = 46
MARGIN_INCHES, LABEL_INCHES = 0.62, 0.122
"""Height of title and axis text of a figure, and of one line of 7 pt."""


@contextmanager
def paper_style() -> Iterator[None]:
    """The style of ``paper.mplstyle`` inside the block."""
    with (
        resources.as_file(resources.files("analysis.plots").joinpath("paper.mplstyle")) as path,
        mpl.rc_context(fname=path),
    ):
        yield


def colours(labels: Sequence[str]) -> dict[str, str]:
    """One colour per label, the same in every picture of a report: ``scratch`` grey, ours orange.

    Beyond the palette colours repeat: figures tell labels apart by marker or line, too.
    """
    fixed = {"scratch": "#8c8c8c", "dskd": "#D55E00"}
    free = [colour for colour in COLOURS if colour not in fixed.values()]
    others = [label for label in labels if label not in fixed]
    chosen = {label: free[i % len(free)] for i, label in enumerate(others)}
    return {label: fixed.get(label) or chosen[label] for label in labels}


def markers(labels: Sequence[str]) -> dict[str, str]:
    """One marker per label."""
    return {label: MARKERS[i % len(MARKERS)] for i, label in enumerate(labels)}


def line(colours: Mapping[str, str], label: str, *, marked: bool = False) -> dict[str, Any]:
    """How the line of a label is drawn: no two look alike, with or without colours.

    ``marked``: by its marker, the style of the line being free; else by the style of the line, with
    a marker from the thirteenth label on.
    """
    number = list(colours).index(label)
    look: dict[str, Any] = {"color": colours[label], "ms": 2.5}
    if marked:
        return look | {"marker": MARKERS[number % len(MARKERS)]}
    look["ls"] = LINES[number % len(LINES)]
    block = number // (len(LINES) * 3)
    return look | ({"marker": MARKERS[block - 1], "markevery": 0.2} if block else {})


def tag(artists: Iterable[Artist], label: str, run: pd.Series | None = None) -> None:
    """Say to which method, and to which run if to one, marks of a figure belong.

    A page hides the marks of a method, shows what is under the pointer and leads to the run's
    record. ``run``: a row with ``run_id``, ``seed`` and, to be shown, ``accuracy``.
    """
    parts = [label]
    if run is not None:
        parts += [str(run["run_id"]), f"seed {run['seed']}"]
        parts += [f"{run['accuracy']:.2f} %"] if "accuracy" in run else []
    for artist in artists:
        artist.set_gid("|".join([TAG, *map(quote, parts)]))


def legend(
    figure: Figure, handles: Sequence[Any], labels: Sequence[str], loc: Any = "outside lower center"
) -> None:
    """A legend outside the panels, in as many columns as fit; the figure grows by further rows."""
    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for columns in range(len(labels), 0, -1):
        found = figure.legend(handles, labels, loc=loc, ncols=columns)
        if found.get_window_extent(renderer).width <= figure.bbox.width or columns == 1:
            break
        found.remove()
    rows = math.ceil(len(labels) / columns)
    figure.set_figheight(figure.get_figheight() + LABEL_INCHES * 1.1 * (rows - 1))


def save(figure: Figure, stem: Path) -> tuple[Path, ...]:
    """Write ``stem.pdf``, ``stem.png`` and ``stem.svg`` (for pages); close the figure.

    No date inside, so that equal figures are equal files.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = tuple(stem.with_suffix(suffix) for suffix in (".pdf", ".png", ".svg"))
    figure.savefig(paths[0], metadata={"CreationDate": None})
    figure.set_layout_engine("none")  # laid out once: all files look the same, in half the time
    figure.savefig(paths[1])
    with mpl.rc_context({"svg.hashsalt": stem.name}):
        figure.savefig(paths[2], metadata={"Date": None}, transparent=True)
    plt.close(figure)
    return paths


class End(NamedTuple):
    """What is written at the right end of a line."""

    text: str
    y: float
    colour: str
    label: str = ""
    """The method, where the text is not its name alone."""


def label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write the texts right of the axes, pushed apart so that no two overlap.

    Order is kept; a thin line leads from the value to its label. The limits of the axes must be
    set before, and the figure as high as :func:`height_for` says. Raises ValueError for a value
    that is not finite: matplotlib would end with a bare StopIteration when the figure is saved.
    """
    lost = [end.text for end in ends if not math.isfinite(end.y)]
    if lost:
        raise ValueError(f"no finite value to write {', '.join(lost)} at")
    low, high = axes.get_ylim()
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes belong to no figure")
    gap = (high - low) * LABEL_INCHES / (figure.get_figheight() - MARGIN_INCHES)
    order = sorted(range(len(ends)), key=lambda i: ends[i].y)
    places = spread([ends[i].y for i in order], gap, low, high)
    across = axes.get_yaxis_transform()  # x in shares of the axes, y in data
    for i, place in zip(order, places, strict=True):
        text, y, colour, label = ends[i]
        line = {"arrowstyle": "-", "color": colour, "lw": 0.5, "shrinkA": 1, "shrinkB": 0}
        line["relpos"] = (0.0, 0.5)  # from the left edge of the text, not through it
        note = axes.annotate(
            text,
            xy=(1.0, y),
            xycoords=across,
            xytext=(1.05, place),
            textcoords=across,
            annotation_clip=False,
            color=colour,
            fontsize=7,
            va="center",
            ha="left",
            arrowprops=line,
        )
        tag([note], label or text)


def titled(text: str) -> str:
    """A title in lines that one column holds."""
    return "\n".join(textwrap.wrap(text, TITLE_CHARACTERS))


def height_for(labels: int, least: float = 2.4) -> float:
    """Inches of a figure beside whose axes so many labels fit."""
    return max(least, MARGIN_INCHES + LABEL_INCHES * (labels + 0.5))


def spread(
    values: Sequence[float], gap: float, low: float = -math.inf, high: float = math.inf
) -> list[float]:
    """Sorted ``values`` moved as little as needed to be ``gap`` apart and between the limits.

    Labels that touch form a block around the mean of their values.
    """
    shifts = gap * np.arange(len(values))
    places = isotonic_regression(np.asarray(values) - shifts).x
    return [*(np.clip(places, low, high - gap * (len(values) - 1)) + shifts)]
