"""What workers shall train now: a folder with one file per run, written by the driver alone.

A run is wanted as long as its file is there. Workers take the files in the order of their names,
share them through the runs' leases, and leave a run once its file is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from suite.config import RunSpec
from suite.store.record import write_atomically
from sweeps.search.trials import require_validation_only

CLOSED = "closed"
log = logging.getLogger(__name__)


class Queue:
    """The queue of a search, for the driver and for workers."""

    def __init__(self, runs_root: Path, search: str) -> None:
        self.folder = runs_root / search / "queue"
        self._read: dict[str, RunSpec] = {}
        self._damaged: set[str] = set()  # that were told
        self._whole: dict[str, tuple[int, int]] = {}  # as they were when last compared

    def put(self, spec: RunSpec, order: str) -> None:
        """Enqueue a run; ``order`` sorts. Raises :class:`sweeps.search.trials.TestSplitRead`."""
        require_validation_only(spec)
        path = self.folder / f"{order}.{spec.run_id}.json"
        write_atomically(path, spec.model_dump_json().encode())

    def mend(self, wanted: Mapping[str, RunSpec]) -> None:
        """Rewrite files that differ from the run that their name says (run id -> run)."""
        for path in self._paths():
            spec = wanted.get(_run_id(path))
            if spec is None:
                continue
            status = path.stat()
            if self._whole.get(path.name) == (
                modified_and_size := (status.st_mtime_ns, status.st_size)
            ):
                continue
            self._whole[path.name] = modified_and_size
            content = spec.model_dump_json().encode()
            if path.is_dir():
                path.rename(path.with_name(f"{path.name}.damaged"))
            elif path.read_bytes() == content:
                continue
            log.warning("%s was damaged: written anew", path)
            write_atomically(path, content)

    def discard(self, run_id: str) -> None:
        """Dequeue a run; its worker saves a checkpoint and stops."""
        for path in self.folder.glob(f"*.{run_id}.json"):
            path.unlink(missing_ok=True)

    def since(self) -> dict[str, float]:
        """Run id -> when it was queued, by the clock of the file system."""
        queued_at = {}
        for path in self._paths():
            try:
                queued_at[_run_id(path)] = path.stat().st_mtime
            except FileNotFoundError:
                continue
        return queued_at

    def runs(self) -> list[tuple[RunSpec, Path]]:
        """The wanted runs with their files, in order."""
        wanted = []
        for path in self._paths():
            if path.name not in self._read:
                try:
                    self._read[path.name] = RunSpec.model_validate_json(path.read_bytes())
                except FileNotFoundError:  # discarded a moment ago
                    continue
                except (OSError, ValueError):  # the driver, who knows the run, writes it anew
                    if path.name not in self._damaged:
                        log.warning("%s is damaged; left to the driver", path)
                        self._damaged.add(path.name)
                    continue
            wanted.append((self._read[path.name], path))
        return wanted

    def open(self) -> None:
        """Open the queue: runs will come."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / CLOSED).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the queue: no more runs will come, and workers without one leave."""
        write_atomically(self.folder / CLOSED, b"")

    def closed(self) -> bool:
        """Whether the search is over."""
        return (self.folder / CLOSED).exists()

    def _paths(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("*.json") if not p.name.startswith("."))


def _run_id(path: Path) -> str:
    return path.name.split(".")[-2]
