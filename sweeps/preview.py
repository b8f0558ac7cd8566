"""What a sweep would train, and with what: told without starting or writing a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from suite.config import RunSpec
from suite.train.preflight import Findings
from sweeps.executors.base import Executor


def lines(specs: Sequence[RunSpec], findings: Findings, executor: Executor) -> Iterator[str]:
    """Lines on the missing runs ``specs``: rows with their seeds, what is left out, the means."""
    possible = [spec for spec in specs if spec not in findings.faults]
    yield f"dry run: {len(possible)} runs would be trained, {len(findings.faults)} left out"
    yield from _rows(possible)
    yield from (f"memory: {note}" for note in findings.notes)
    reasons = ((spec.label, str(fault)) for spec, fault in findings.faults.items())
    yield from (f"left out: {label}: {reason}" for label, reason in dict.fromkeys(reasons))
    if possible:
        yield executor.outlook(possible)
    yield "dry run: nothing was started"


def _rows(specs: Sequence[RunSpec]) -> Iterator[str]:
    rows: dict[str, list[str]] = {}
    for spec in specs:
        teacher, student = spec.config.teacher, spec.config.student.name
        pair = f"{teacher.name}/{student}" if teacher else student
        epochs = spec.config.train.epochs
        row = f"  {spec.role} {spec.label}: {pair}, {epochs} epochs, seeds"
        rows.setdefault(row, []).append(str(spec.config.seed))
    yield from (f"{row} {' '.join(seeds)}" for row, seeds in rows.items())
