"""How all pictures look, and how they are written."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg", force=False)

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMN_INCHES, FULL_INCHES = 3.3, 6.9
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#E69F00", "#D55E00")
"""Okabe and Ito's palette without its yellow."""
MARKERS = "osD^vPX*<>hp"
TEACHER, STUDENT, DENOISED = "#7f7f7f", "#0072B2", "#D55E00"
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

    Beyond the palette colours repeat: pictures tell such labels apart by marker too, for lines see
    :func:`line`.
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
    """How the line of a label is drawn: labels that share a colour have different markers.

    ``marked``: every line has one; else the first label of a colour has none.
    """
    place = [it for it in colours if colours[it] == colours[label]].index(label)
    look: dict[str, Any] = {"color": colours[label], "ms": 2.5}
    if marked:
        return look | {"marker": MARKERS[place]}
    return look | ({"marker": MARKERS[place], "markevery": 0.2} if place else {})


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


def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write ``stem.pdf`` (vectors, no date inside, so that equal pictures are equal files) and
    ``stem.png``; close the figure.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    pdf, png = stem.with_suffix(".pdf"), stem.with_suffix(".png")
    figure.savefig(pdf, metadata={"CreationDate": None})
    figure.set_layout_engine("none")  # laid out once: both files look the same, in half the time
    figure.savefig(png)
    plt.close(figure)
    return pdf, png


def label_ends(axes: Axes, ends: Sequence[tuple[str, float, str]]) -> None:
    """Write ``(text, y, colour)`` right of the axes, pushed apart so that no two overlap.

    Order is kept; a thin line leads from the value to its label. The limits of the axes must be
    set before, and the figure as high as :func:`height_for` says. Raises ValueError for a value
    that is not finite: matplotlib would end with a bare StopIteration when the figure is saved.
    """
    lost = [text for text, y, _ in ends if not math.isfinite(y)]
    if lost:
        raise ValueError(f"no finite value to write {', '.join(lost)} at")
    low, high = axes.get_ylim()
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes belong to no figure")
    gap = (high - low) * LABEL_INCHES / (figure.get_figheight() - MARGIN_INCHES)
    order = sorted(range(len(ends)), key=lambda i: ends[i][1])
    places = spread([ends[i][1] for i in order], gap, low, high)
    across = axes.get_yaxis_transform()  # x in shares of the axes, y in data
    for i, place in zip(order, places, strict=True):
        text, y, colour = ends[i]
        line: dict[str, Any] = {
            "arrowstyle": "-",
            "color": colour,
            "lw": 0.5,
            "shrinkA": 1,
            "shrinkB": 0,
        }
        line["relpos"] = (0.0, 0.5)  # from the left edge of the text, not through it
        axes.annotate(
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

    def centre(block: Sequence[float]) -> float:
        half = (len(block) - 1) * gap / 2
        return min(max(sum(block) / len(block), low + half), high - half)

    def edges(block: Sequence[float]) -> tuple[float, float]:
        half = (len(block) - 1) * gap / 2
        return centre(block) - half, centre(block) + half

    blocks: list[list[float]] = []
    for value in values:
        blocks.append([value])
        while len(blocks) > 1 and edges(blocks[-1])[0] - edges(blocks[-2])[1] < gap:
            last = blocks.pop()
            blocks[-1] += last
    return [edges(block)[0] + i * gap for block in blocks for i in range(len(block))]
