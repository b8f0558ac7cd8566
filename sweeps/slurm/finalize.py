"""The last job of a sweep: the report, then what W&B lacks, whatever became of the other jobs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPORT_FAILED = 1


@dataclass(frozen=True)
class Finalize:
    """Makes the report and syncs, by the commands that a user would give; picklable."""

    experiment: str
    settings: tuple[str, ...]
    runs_root: Path
    report: bool = True
    sync: bool = True

    def __call__(self) -> None:
        """A node without a network cannot sync; that fails nothing, the log says what is left."""
        sets = [word for text in self.settings for word in ("--set", text)]
        made = not self.report or self._command("report", *sets) == 0
        if self.sync:
            self._command("sync")
        if not made:
            raise SystemExit(REPORT_FAILED)

    def _command(self, command: str, *options: str) -> int:
        root = f"--runs-root={self.runs_root}"
        arguments = [sys.executable, "-m", "suite.cli", command, self.experiment, root, *options]
        return subprocess.run(arguments, check=False).returncode
