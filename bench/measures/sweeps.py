"""Sweeps: the status of 10,000 runs, and planning 1,000 before the first of them trains."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from bench import store
from bench.registry import Figure, Settings
from bench.timing import once, spread
from suite.store.states import state_of
from sweeps.plan.expand import expand
from sweeps.watch.status import status


def measure(settings: Settings) -> Iterator[Figure]:
    """From the run store alone, no SLURM."""

    def repeat(action: Callable[[], object]) -> list[float]:
        return [once(action) for _ in range(min(settings.rounds, 5))]

    with TemporaryDirectory() as folder:
        root = Path(folder)
        plan, _ = store.make(root, 10_000)
        overrides, console = store.settings_for(10_000), Console(file=io.StringIO())
        seconds = repeat(lambda: status("dskd_digits", overrides, root, console=console))
        note = f"{len(plan.runs):,}: as many whole seeds as an experiment may have"
        yield Figure("status of 10,000 finished runs", spread(seconds), "s", note=note)
    with TemporaryDirectory() as folder:
        root, overrides = Path(folder), store.settings_for(1_000)
        plan = expand("dskd_digits", overrides)
        yield Figure(
            "expand 1,000 runs",
            spread(repeat(lambda: expand("dskd_digits", overrides))),
            "s",
        )
        seconds = repeat(lambda: plan.write_manifest(root))
        yield Figure("write the manifest of 1,000 runs", spread(seconds), "s")
        seconds = repeat(lambda: [state_of(spec, root, 0.0) for spec in plan.runs])
        yield Figure("one look at 1,000 waiting runs", spread(seconds), "s")
