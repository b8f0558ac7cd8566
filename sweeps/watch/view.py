"""What a sweep looks like while it runs: a live board on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live

from sweeps.watch.board import Board, time_left

PLAIN_SECONDS = 15.0


class View:
    """Shows a board until told to stop: use as a context manager and call :meth:`update`."""

    def __init__(self, board: Board, console: Console) -> None:
        self._board = board
        self._console = console
        self._live = Live(board, console=console, refresh_per_second=2, transient=True)
        self._last_line = time.monotonic()

    def __enter__(self) -> View:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self) -> None:
        """Show what changed."""
        for run in self._board.refresh():
            self._console.print(run.line(), highlight=False)
        quiet = time.monotonic() - self._last_line > PLAIN_SECONDS
        if quiet and not self._console.is_terminal:
            self._console.print(self._board.summary() + time_left([self._board]), highlight=False)
            self._last_line = time.monotonic()
