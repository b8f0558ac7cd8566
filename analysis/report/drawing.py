"""Draw the pictures of a report; several columns of a table are drawn side by side."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from threadpoolctl import threadpool_limits

from analysis.report.figures import Pictures
from analysis.report.picture import Shown, clear, draw


def draw_all(pictures: Pictures, folder: Path) -> list[Shown]:
    """Draw all pictures, in the order of the columns; see :func:`analysis.report.picture.draw`.

    With three columns or more, worker processes share them (a fresh one takes seconds to start).
    """
    clear(folder)
    count = len(pictures.grid.columns)
    workers = min(count, os.cpu_count() or 1)
    if count < 3 or workers < 2:
        drawn = [draw_column(pictures, number, folder) for number in range(count)]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=one_thread) as pool:
            waiting = [pool.submit(draw_column, pictures.only(n), n, folder) for n in range(count)]
            drawn = [future.result() for future in waiting]
    return [*(shown for column in drawn for shown in column), *draw(pictures.of_all(), folder)]


def draw_of_all(pictures: Pictures, folder: Path) -> list[Shown]:
    """Draw those that take all columns together, and no others."""
    clear(folder)
    return draw(pictures.of_all(), folder)


def one_thread() -> None:
    """What each of several processes begins with: they share the cores already."""
    threadpool_limits(1, user_api="blas")


def draw_column(pictures: Pictures, number: int, folder: Path) -> list[Shown]:
    """The pictures of one column of the accuracy table."""
    return draw(pictures.of_column(number), folder)
