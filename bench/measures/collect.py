"""Analysis: records of 10,000 runs (100,000 with --full) read into a table, cold and cached."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from analysis.runs.collect import collect
from bench import store
from bench.registry import Figure, Settings
from bench.timing import once, spread


def measure(settings: Settings) -> Iterator[Figure]:
    """Cold: no cache file; the operating system has the files in memory, as they were just made."""
    for runs in (10_000, 100_000) if settings.full else (10_000,):
        with TemporaryDirectory() as folder:
            root = Path(folder)
            manifests = store.make_many(root, runs)
            cache = root / "cache"
            read = partial(collect, root, manifests, cache)
            cold = []
            for _ in range(min(settings.rounds, 3)):
                cache.unlink(missing_ok=True)
                cold.append(once(read))
            warm = [once(read) for _ in range(settings.rounds)]
            states = read().runs["state"]
            found = int((states == "finished").sum())
        limits = (15.0, 1.0) if runs == 10_000 else (None, None)
        note = f"{found:,} finished"
        yield Figure(f"{runs:,} records, cold", spread(cold), "s", at_most=limits[0], note=note)
        yield Figure(f"{runs:,} records, cached", spread(warm), "s", at_most=limits[1])
