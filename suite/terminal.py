"""The terminal of all commands: what a user wrote is printed as it is."""

from __future__ import annotations

from rich.console import Console


def terminal() -> Console:
    """A console that breaks no line and takes no text for markup: labels, paths and reasons of
    failures may hold ``[bold]``, ``[/red]`` or ``:smile:``. Styled text is a ``rich.text.Text``.
    """
    return Console(soft_wrap=True, markup=False, emoji=False)
