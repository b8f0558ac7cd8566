"""The board on a terminal."""

import io

from rich.console import Console
from rich.live import Live

from sweeps.watch.view import Board


def test_a_narrow_terminal_gets_the_whole_board(tmp_path):
    """The command's console wraps nothing by itself: the time left was cut at 50 columns."""
    stream = io.StringIO()
    console = Console(file=stream, width=20, force_terminal=True, soft_wrap=True)
    with Live(Board([], tmp_path, 0.0), console=console):
        pass
    words = stream.getvalue().replace("\n", " ").split()
    assert {"0", "done,", "running,", "failed,"} <= set(words)
    assert any(word.startswith("waiting") for word in words)
