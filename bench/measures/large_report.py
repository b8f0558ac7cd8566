"""Analysis: the whole report of 10,000 records (100,000 with --full), its time and its memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import store
from bench.memory import peak_of
from bench.registry import Figure, Settings

EXPERIMENT = "dskd_cifar"
REPORT = (
    "import sys; from pathlib import Path; from analysis.report import build;"
    "build(Path(sys.argv[1]), [Path(it) for it in sys.argv[3:]], Path(sys.argv[2]))"
)


def measure(settings: Settings) -> Iterator[Figure]:
    """Six pairs and methods without features; a process of its own, as the command has."""
    runs = 100_000 if settings.full else 10_000
    with TemporaryDirectory() as folder:
        root = Path(folder)
        manifests = store.make_many(root, runs, EXPERIMENT)
        for when in ("cold", "again"):
            words = [str(root), str(root / "report"), *map(str, manifests)]
            started = time.perf_counter()
            command = [sys.executable, "-c", REPORT, *words]
            with subprocess.Popen(command) as process, peak_of(process.pid) as peak:
                status = process.wait()
            seconds = time.perf_counter() - started
            if status:
                raise RuntimeError(f"the report ended with status {status}")
            name = f"report of {runs:,} records, {when}"
            yield Figure(name, seconds, "s", at_most=60.0)
            yield Figure(f"{name}: memory of all processes", peak.bytes / 1e9, "GB", at_most=1.0)
