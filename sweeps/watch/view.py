"""What a sweep looks like while it runs: a live board on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from suite.config import RunSpec
from suite.store.record import read_rows
from suite.store.states import State, directory_of, state_of
from sweeps.watch.progress import accuracy, duration

PLAIN_SECONDS = 15.0


class Board:
    """Reads the run store; knows nothing of the workers."""

    def __init__(self, specs: Sequence[RunSpec], runs_root: Path, since: float) -> None:
        self._specs = specs
        self._runs_root = runs_root
        self._since = since
        self._finished: set[RunSpec] = set()
        self.states: dict[RunSpec, State] = {}
        self.refresh()
        self._epochs_at_start = self._epochs()

    def refresh(self) -> list[RunSpec]:
        """Look again; returns the runs that finished or failed since the last look."""
        before = dict(self.states)
        for spec in self._specs:
            if spec not in self._finished:
                self.states[spec] = state_of(spec, self._runs_root, self._since)
                if self.states[spec] is State.FINISHED:
                    self._finished.add(spec)
        ended = {State.FINISHED, State.FAILED}
        return [
            spec
            for spec, state in self.states.items()
            if before and state in ended and before.get(spec) not in ended
        ]

    def settled(self) -> bool:
        """Whether no run is left to wait for."""
        return set(self.states.values()) <= {State.FINISHED, State.FAILED, State.BLOCKED}

    def counts(self) -> str:
        """``12 of 19 done, 2 running, 0 failed, 5 waiting``."""
        found = Counter(self.states.values())
        waiting = sum(found[s] for s in (State.READY, State.WAITING, State.BLOCKED))
        return (
            f"{found[State.FINISHED]} of {len(self._specs)} done, {found[State.RUNNING]} running, "
            f"{found[State.FAILED]} failed, {waiting} waiting"
        )

    def time_left(self) -> str:
        """From the epochs trained since the start; empty before the first."""
        total = sum(spec.config.train.epochs for spec in self._specs)
        now = self._epochs()
        done = now - self._epochs_at_start
        if done <= 0 or now >= total:
            return ""
        seconds = (time.time() - self._since) / done * (total - now)
        return f", about {duration(seconds)} left"

    def line(self, spec: RunSpec) -> str:
        """One run in a line: label, student, seed, epoch, accuracy."""
        rows = read_rows(directory_of(spec, self._runs_root).metrics)
        head = f"{spec.label} {spec.config.student.name} seed {spec.config.seed}"
        if self.states[spec] is State.FAILED:
            failure = directory_of(spec, self._runs_root).read_failure()
            return f"{head}: failed: {failure.get('error', 'unknown reason')}"
        last = rows[-1]["epoch"] if rows else 0
        return f"{head}: epoch {last}/{spec.config.train.epochs} {accuracy(rows)}"

    def __rich__(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column()
        table.add_column(no_wrap=False, overflow="fold")
        for spec, state in self.states.items():
            if state is State.RUNNING:
                table.add_row(Text("running", "cyan"), Text(self.line(spec)))
            elif state is State.FAILED:
                table.add_row(Text("failed", "red"), Text(self.line(spec)))
        summary = Text(self.counts() + self.time_left(), no_wrap=False, overflow="fold")
        return Group(table, summary)  # broken into lines on a narrow terminal, never cut

    def _epochs(self) -> int:
        return sum(self._epochs_of(spec) for spec in self._specs)

    def _epochs_of(self, spec: RunSpec) -> int:
        if spec in self._finished:
            return spec.config.train.epochs
        rows = read_rows(directory_of(spec, self._runs_root).metrics)
        return int(rows[-1]["epoch"]) if rows else 0


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
        for spec in self._board.refresh():
            self._console.print(self._board.line(spec), highlight=False)
        quiet = time.monotonic() - self._last_line > PLAIN_SECONDS
        if quiet and not self._console.is_terminal:
            text = f"{self._board.counts()}{self._board.time_left()}"
            self._console.print(text, highlight=False)
            self._last_line = time.monotonic()
