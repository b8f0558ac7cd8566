"""The runs of an experiment, and the manifest that lists them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.config import RunSpec
from suite.store.record import write_json
from sweeps.plan.manifest import manifest_path


@dataclass(frozen=True)
class Planned:
    """A run and the cell of the table it fills."""

    spec: RunSpec
    pair: str  # TEACHER/STUDENT as the experiment names them; "" for a teacher run
    tuned: dict[str, Any] | None = None  # how its settings were chosen, if by a search
    chosen_on: str | None = None  # on which images, if by hand


@dataclass(frozen=True)
class Plan:
    """All runs of an experiment."""

    experiment: str
    settings: tuple[str, ...]  # overrides from the command line
    note: str  # the comment that opens the experiment's file
    cells: tuple[Planned, ...]

    @property
    def runs(self) -> tuple[RunSpec, ...]:
        """Every run once, teachers first."""
        unique = {(cell.spec.experiment, cell.spec.run_id): cell.spec for cell in self.cells}
        return tuple(sorted(unique.values(), key=lambda spec: spec.role != "teacher"))

    def manifest_path(self, runs_root: Path) -> Path:
        """``runs/<experiment>/manifest.json``, or ``manifest-<hash>.json`` with overrides."""
        return manifest_path(self.experiment, self.settings, runs_root)

    def write_manifest(self, runs_root: Path) -> Path:
        """Write the manifest, the list of runs the experiment expects; returns its path."""
        path = self.manifest_path(runs_root)
        quoted = f" SET='{' '.join(self.settings)}'" if self.settings else ""
        write_json(
            path,
            {
                "experiment": self.experiment,
                "command": f"make sweep EXP={self.experiment}{quoted}",
                "note": self.note,
                "dataset": self.cells[0].spec.config.data.name,
                "runs": [_manifest_row(cell) for cell in self.cells],
            },
        )
        return path


def _manifest_row(cell: Planned) -> dict[str, Any]:
    spec, config = cell.spec, cell.spec.config
    teacher, contents = config.teacher, config.data.contents
    return {
        "run_id": spec.run_id,
        "directory": f"{spec.experiment}/{spec.run_id}",
        "role": spec.role,
        "label": spec.label,
        "method": config.method.name,
        "teacher": teacher.name if teacher else None,
        "student": config.student.name,
        "pair": cell.pair,
        "recipe": spec.recipe,
        "seed": config.seed,
        "planned_epochs": config.train.epochs,
        "contents": None if contents is None else contents.sha256,
        "teacher_run_id": teacher.trained_by if teacher else None,
        "teacher_seed": spec.teacher_seed,
        "ancestors": spec.ancestors,
        "tuned": cell.tuned,
        "chosen_on": cell.chosen_on,
    }
