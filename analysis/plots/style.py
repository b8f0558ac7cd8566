"""How all pictures look, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

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
PALE = "#8c8c8c"


@contextmanager
def paper_style() -> Iterator[None]:
    """The style of ``paper.mplstyle`` inside the block."""
    with (
        resources.as_file(resources.files("analysis").joinpath("paper.mplstyle")) as path,
        mpl.rc_context(fname=path),
    ):
        yield


def colours(labels: Sequence[str]) -> dict[str, str]:
    """One colour per label, the same in every picture of a report: ``scratch`` grey, ours orange.

    Beyond the palette colours repeat: pictures that need more tell labels apart by marker too.
    """
    fixed = {"scratch": "#8c8c8c", "dskd": "#D55E00"}
    free = [colour for colour in COLOURS if colour not in fixed.values()]
    others = [label for label in labels if label not in fixed]
    chosen = {label: free[i % len(free)] for i, label in enumerate(others)}
    return {label: fixed.get(label) or chosen[label] for label in labels}


def markers(labels: Sequence[str]) -> dict[str, str]:
    """One marker per label."""
    return {label: MARKERS[i % len(MARKERS)] for i, label in enumerate(labels)}


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


def label_ends(axes: Axes, ends: Sequence[tuple[str, float, str]], min_gap: float) -> None:
    """Write ``(text, y, colour)`` right of the axes, pushed apart to ``min_gap`` (data units).

    Order is kept; a thin line leads from the value to its label.
    """
    order = sorted(range(len(ends)), key=lambda i: ends[i][1])
    places = spread([ends[i][1] for i in order], min_gap)
    across = axes.get_yaxis_transform()  # x in shares of the axes, y in data
    for i, place in zip(order, places, strict=True):
        text, y, colour = ends[i]
        line = {"arrowstyle": "-", "color": colour, "lw": 0.5, "shrinkA": 1, "shrinkB": 0}
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


def spread(values: Sequence[float], min_gap: float) -> list[float]:
    """Sorted ``values`` moved as little as needed so that neighbours are ``min_gap`` apart."""
    blocks: list[tuple[float, int]] = []  # centre and size of a run of touching labels
    for value in values:
        centre, size = value, 1
        while blocks and centre - (size - 1) * min_gap / 2 < (
            blocks[-1][0] + (blocks[-1][1] + 1) * min_gap / 2
        ):
            before, count = blocks.pop()
            centre = (before * count + centre * size) / (count + size)
            size += count
        blocks.append((centre, size))
    return [centre + (i - (size - 1) / 2) * min_gap for centre, size in blocks for i in range(size)]
