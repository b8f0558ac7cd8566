"""Draw the pictures of a report; several columns of a table are drawn side by side."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from analysis.figures import Picture, Pictures
from analysis.plots.style import paper_style, save


@dataclass(frozen=True)
class Shown:
    """A picture on the disk."""

    name: str
    caption: str
    pair: str
    pdf: Path
    png: Path


def draw_all(pictures: Pictures, folder: Path) -> list[Shown]:
    """Write every picture that has something to show as PDF and PNG, in the order of the columns.

    With three columns or more, worker processes share them (a fresh one takes seconds to start).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.pdf"), *folder.glob("*.png")):
        old.unlink()  # a picture of an earlier report must not pass for one of this
    count = len(pictures.grid.columns)
    workers = min(count, os.cpu_count() or 1)
    if count < 3 or workers < 2:
        drawn = [draw_column(pictures, number, folder) for number in range(count)]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
            waiting = [pool.submit(draw_column, pictures, n, folder) for n in range(count)]
            drawn = [future.result() for future in waiting]
    return [*(shown for column in drawn for shown in column), *_draw(pictures.of_all(), folder)]


def _one_thread() -> None:
    """The processes share the cores already."""
    threadpool_limits(1, user_api="blas")


def draw_column(pictures: Pictures, number: int, folder: Path) -> list[Shown]:
    """The pictures of one column of the accuracy table."""
    return _draw(pictures.of_column(number), folder)


def _draw(pictures: Iterable[Picture], folder: Path) -> list[Shown]:
    shown = []
    with paper_style():
        for picture in pictures:
            figure = picture.draw()
            if figure is None:
                continue
            pdf, png = save(figure, folder / picture.name)
            shown.append(Shown(picture.name, picture.caption, picture.pair, pdf, png))
    return shown
