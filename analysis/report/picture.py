"""A picture of a report, drawn to files; one that cannot be drawn is named with its reason."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from analysis.plots.style import paper_style, save

TRACEBACK = ".error.txt"


@dataclass(frozen=True)
class Picture:
    """A figure of a report, not yet drawn."""

    name: str
    """Stem of its files."""
    caption: str | Callable[[], str]
    """What it shows; a function is called once the figure is drawn."""
    draw: Callable[[], Figure | None]
    """None when there turns out to be nothing to show."""
    pair: str = ""
    """The pair it belongs to, empty for all."""


@dataclass(frozen=True)
class Shown:
    """A picture on the disk, or why it is not there."""

    name: str
    caption: str
    pair: str
    pdf: Path
    png: Path
    svg: Path
    fault: str = ""
    """Why it could not be drawn, in one line: then ``files`` holds the traceback alone."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What was written."""
        return (self.pdf.with_suffix(TRACEBACK),) if self.fault else (self.pdf, self.png, self.svg)


def clear(folder: Path) -> None:
    """Make the folder, without the pictures of an earlier report: they must not pass for new."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("*.pdf", "*.png", "*.svg", f"*{TRACEBACK}"):
        for old in folder.glob(pattern):
            old.unlink()


def draw(pictures: Iterable[Picture], folder: Path) -> list[Shown]:
    """Write every picture that has something to show as PDF, PNG and SVG.

    An exception ends its own picture only: it becomes :attr:`Shown.fault`, and its traceback a
    file beside the pictures.
    """
    with paper_style():
        drawn = (_draw(picture, folder) for picture in pictures)
        return [shown for shown in drawn if shown is not None]


def faults(shown: Sequence[Shown]) -> list[str]:
    """A line for every picture that could not be drawn."""
    return [f"figure {it.name} could not be drawn: {it.fault}" for it in shown if it.fault]


def _draw(picture: Picture, folder: Path) -> Shown | None:
    stem = folder / picture.name
    files = stem.with_suffix(".pdf"), stem.with_suffix(".png"), stem.with_suffix(".svg")
    try:
        figure = picture.draw()
        if figure is None:
            return None
        save(figure, stem)
        caption = picture.caption if isinstance(picture.caption, str) else picture.caption()
        return Shown(picture.name, caption, picture.pair, *files)
    except Exception as error:  # noqa: BLE001  (named on the page; the other pictures go on)
        for path in files:
            path.unlink(missing_ok=True)  # half written
        text = "".join(traceback.format_exception(error))
        stem.with_suffix(TRACEBACK).write_text(text, encoding="utf-8")
        message = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        return Shown(picture.name, picture.name, picture.pair, *files, message)
