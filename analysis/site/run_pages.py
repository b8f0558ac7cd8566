"""The pages of runs: small enough to send to a process, which writes many of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.report.page import Frame
from analysis.report.run_list import ListedRun
from analysis.runs.records import FINISHED, Rows
from analysis.site.curve import curves
from analysis.site.templates import templates
from suite.store.record import read_object

LOG_LINES = 40
"""The end of the log that the page of a failed run shows."""


@dataclass(frozen=True)
class RunPages:
    """What the pages of all runs share."""

    runs_root: Path
    rows_of: Callable[[str], Rows]
    """Directory of a run -> its rows of metrics."""
    methods: Mapping[str, str]
    """Label -> page of its method."""
    frame: Frame

    def write(self, runs: Sequence[ListedRun], folder: Path) -> None:
        """A page for each into ``folder``, which is there."""
        for run in runs:
            (folder / f"{run.run_id}.html").write_text(self.page(run), encoding="utf-8")

    def page(self, run: ListedRun) -> str:
        """Settings, curves, provenance, the command to repeat it, and why it failed."""
        directory = self.runs_root / run.directory
        rows = self.rows_of(run.directory)
        record = read_object(directory / "result.json") or {}
        failure = read_object(directory / "failure.json") or {}
        return (
            templates()
            .get_template("run.html.jinja")
            .render(
                title=f"{run.label}, seed {run.seed}",
                frame=self.frame,
                run=run,
                method_page=self.methods.get(run.label, ""),
                config=json.dumps(read_object(directory / "config.json"), indent=2),
                record={name: json.dumps(value) for name, value in record.items()},
                drawings=[curves(rows, "top1_percent"), curves(rows, "/loss")],
                epochs=len(rows),
                traceback=str(failure.get("traceback", "")),
                log=_log(directory / "log.txt") if run.state != FINISHED else "",
                command=f"dskd-bench repeat {self.runs_root.name} {run.run_id}",
            )
        )


def _log(path: Path) -> str:
    """The end of a log; nothing where there is none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-LOG_LINES:])
