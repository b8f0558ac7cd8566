"""Runs the benchmarks, each in a fresh process, prints the table and keeps the figures."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import registry
from bench.registry import Figure, Settings, Spread
from suite.config import Runtime, parse
from suite.device import limits, machine
from suite.store.provenance import provenance
from suite.store.record import now, write_json
from suite.train.build import device_of

VERDICTS: dict[bool | None, str | tuple[str, str]] = {
    True: ("met", "green"),
    False: ("missed", "red"),
    None: "",
}
"""Whether a figure meets its target -> how that is printed."""


def main(
    names: Sequence[str],
    accelerator: str,
    threads: int | None,
    options: dict[str, Any],
    folder: Path,
    command: str,
    console: Console,
) -> bool:
    """:func:`run` on the device that ``accelerator`` names, with all cores unless ``threads``.

    Raises :class:`suite.interface.errors.UserError` for a device or threads that are not there.
    """
    runtime = parse(Runtime, {"accelerator": accelerator, "threads": threads}, "command line")
    limits.check(runtime, jobs=None)
    settings = Settings(
        device="cuda" if device_of(runtime).type == "cuda" else "cpu",
        threads=threads or machine.cores(),
        **options,
    )
    return run(names, settings, folder, command, console)


def run(
    names: Sequence[str], settings: Settings, folder: Path, command: str, console: Console
) -> bool:
    """Run the named benchmarks (none: all); returns whether all could be run.

    Every benchmark's figures go to ``folder/<name>-<device>.json`` with the command, device,
    versions and date. Raises :class:`suite.interface.errors.UserError` for an unknown name.
    """
    chosen = list(names) or registry.names()
    for name in chosen:
        registry.find(name)
    works = True
    for name in chosen:
        started, clock = now(), time.monotonic()
        try:
            figures = _in_fresh_process(name, settings)
        except (RuntimeError, BrokenProcessPool, OSError) as error:
            console.print(f"{name}: failed: {error}", style="red")
            works = False
            continue
        record = {
            "benchmark": name,
            "title": registry.title(name),
            "command": command,
            "started": started,
            "seconds": round(time.monotonic() - clock, 1),
            "settings": {**vars(settings), "data_root": str(settings.data_root or "")},
            "provenance": provenance(torch.device(settings.device)) | _machine(),
            "figures": [figure.as_json() for figure in figures],
        }
        file = folder / f"{name}-{settings.device}.json"
        write_json(file, record)
        console.print(_table(name, figures))
        console.print(f"{file}, {record['seconds']} s\n", style="dim")
    return works


def _in_fresh_process(name: str, settings: Settings) -> list[Figure]:
    """So that peak memory, threads and caches of one benchmark are not those of another."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, name, settings).result()


def _measure(name: str, settings: Settings) -> list[Figure]:
    return list(registry.find(name).measure(settings))


def _machine() -> dict[str, Any]:
    cores, load = machine.cores(), os.getloadavg()
    return {"cores": cores, "load": load, "os": platform.platform()}


def _table(name: str, figures: Sequence[Figure]) -> Table:
    table = Table("figure", "median", "quartiles", "n", "target", "", box=None, pad_edge=False)
    table.title, table.title_justify = f"{name}: {registry.title(name)}", "left"
    for figure in figures:
        value = figure.value
        spread = n = ""
        if isinstance(value, Spread):
            spread, n = f"{_number(value.low)} – {_number(value.high)}", str(value.repeats)
        verdict = VERDICTS[figure.meets_target]
        cells = f"{_number(figure.median)} {figure.unit}", spread, n, _target(figure)
        table.add_row(figure.name, *cells, Text.assemble(verdict, " ", figure.note))
    return table


def _target(figure: Figure) -> str:
    if figure.at_least is not None and figure.at_most is not None:
        return f"{_number(figure.at_least)} – {_number(figure.at_most)}"
    if figure.at_least is not None:
        return f"≥ {_number(figure.at_least)}"
    return f"≤ {_number(figure.at_most)}" if figure.at_most is not None else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
