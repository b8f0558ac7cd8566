"""Draw the pictures of a report; several columns of a table are drawn side by side."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore

from threadpoolctl import threadpool_limits

from analysis.report.figures import Pictures
from analysis.report.picture import Shown, clear, draw


@contextmanager
def begun(pictures: Pictures, folder: Path) -> Iterator[Callable[[], list[Shown]]]:
    """Begin to draw all pictures; see :func:`analysis.report.picture.draw`.

    With three columns or more, worker processes begin at once with their share (a fresh one takes
    seconds to start).

    Yields:
        A function that draws what is left, in this process too, and gives all pictures, in the
        order of the columns.
    """
    clear(folder)
    count = len(pictures.grid.columns)
    workers = min(count, os.cpu_count() or 1) - 1
    if count < 3 or workers < 1:
        yield lambda: _here(pictures, folder)
        return
    context = multiprocessing.get_context("spawn")
    with (
        TemporaryDirectory(dir=folder, prefix=".waiting-") as waiting,
        ProcessPoolExecutor(workers, mp_context=context, initializer=one_thread) as pool,
    ):
        most = count * workers // (workers + 1)
        yield _Shared(pictures, folder, pool, Path(waiting), most).drawn


def _here(pictures: Pictures, folder: Path) -> list[Shown]:
    columns = range(len(pictures.grid.columns))
    drawn = [shown for number in columns for shown in draw_column(pictures, number, folder)]
    return [*drawn, *draw(pictures.of_all(), folder)]


class _Shared:
    """The columns of a table, shared between workers and this process.

    ``most`` are with the workers at a time. Each is a copy of its runs, which waits for its worker
    on the disk, in the folder ``waiting``, while this process needs its memory for tables.
    """

    def __init__(
        self, pictures: Pictures, folder: Path, pool: Executor, waiting: Path, most: int
    ) -> None:
        self._pictures, self._folder, self._pool = pictures, folder, pool
        self._waiting = waiting
        self._free = BoundedSemaphore(most)
        self._left = deque(range(len(pictures.grid.columns)))
        self._sent: dict[int, Future[list[Shown]]] = {}
        self._send()

    def drawn(self) -> list[Shown]:
        """All pictures; the columns that no worker has taken are drawn here."""
        here: dict[int, list[Shown]] = {}
        with threadpool_limits(1, user_api="blas"):
            while self._left:
                number = self._left.popleft()
                here[number] = draw_column(self._pictures, number, self._folder)
                self._send()
        of_all = draw(self._pictures.of_all(), self._folder)
        drawn = here | {number: future.result() for number, future in self._sent.items()}
        return [*(shown for number in sorted(drawn) for shown in drawn[number]), *of_all]

    def _send(self) -> None:
        while self._left and self._free.acquire(blocking=False):
            number = self._left.popleft()
            part = self._waiting / str(number)
            with part.open("wb") as file:
                pickle.dump(self._pictures.only(number), file)
            self._sent[number] = self._pool.submit(_draw_waiting, part, number, self._folder)
            self._sent[number].add_done_callback(lambda _: self._free.release())


def _draw_waiting(part: Path, number: int, folder: Path) -> list[Shown]:
    """:func:`draw_column` of the pictures in a file."""
    with part.open("rb") as file:
        pictures: Pictures = pickle.load(file)
    return draw_column(pictures, number, folder)


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
