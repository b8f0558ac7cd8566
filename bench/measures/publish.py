"""Site: `dskd-bench publish` of 2,000 runs, its time, its memory and the size of its first view."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import store
from bench.measures.report import add_features
from bench.memory import peak_of
from bench.registry import Figure, Settings

RUNS, EXPERIMENT, SEEDS = 2000, "dskd_cifar", 3
MOST_SECONDS, MOST_MEGABYTES = 120.0, 1.0
FIRST_VIEW = ("index.html", "style.css", "page.js")


def measure(settings: Settings) -> Iterator[Figure]:  # noqa: ARG001
    """The command as a user calls it, on six pairs and methods; three seeds have features."""
    with TemporaryDirectory() as folder:
        root, site = Path(folder), Path(folder) / "site"
        plan, _ = store.make(root, RUNS, EXPERIMENT)
        add_features(root, plan, SEEDS)
        note = f"{len(plan.runs):,} runs, {SEEDS} seeds of each cell with features"
        for when in ("cold", "again"):
            yield from _figures(f"site, {when}", _command(root, site), note)
            note = "records and gap figures cached"
        size = sum((site / name).stat().st_size for name in FIRST_VIEW)
        note = ", ".join(FIRST_VIEW)
        yield Figure("first view", size / 1e6, "MB", at_most=MOST_MEGABYTES, note=note)
        largest = max(path.stat().st_size for path in site.rglob("*.html"))
        yield Figure("largest page", largest / 1e6, "MB")
        whole = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
        yield Figure("whole site", whole / 1e6, "MB")


def _command(root: Path, site: Path) -> list[str]:
    words = ["publish", EXPERIMENT, f"--out={site}", f"--runs-root={root}"]
    words += [word for it in store.settings_for(RUNS, EXPERIMENT) for word in ("--set", it)]
    return [sys.executable, "-m", "suite.cli", *words]


def _figures(name: str, command: list[str], note: str) -> Iterator[Figure]:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as process,
        peak_of(process.pid) as peak,
    ):
        status = process.wait()
    seconds = time.perf_counter() - started
    if status:
        raise RuntimeError(f"publish ended with status {status}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    of_cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    yield Figure(name, seconds, "s", at_most=MOST_SECONDS, note=note)
    yield Figure(f"{name}: of CPU", of_cpu, "s", note="of all processes")
    yield Figure(f"{name}: memory of all processes", peak.bytes / 1e9, "GB")
