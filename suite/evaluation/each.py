"""One measurement for each of many finished runs; what is there already is not made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from suite.config import RunSpec, Runtime, parse
from suite.evaluation.finished import FinishedRun, read
from suite.interface.errors import UserError
from suite.store import evaluations, source
from suite.store.provenance import device_name, library_versions
from suite.store.record import RunDirectory


class Measurement(Protocol):
    """What is found out of a finished run."""

    @property
    def kind(self) -> str:
        """How its files begin, see :mod:`suite.store.evaluations`."""
        ...

    def protocol(self, spec: RunSpec) -> dict[str, Any]:
        """All that decides the figures of a run beside its weights, as plain data."""
        ...

    def figures(self, network: FinishedRun) -> dict[str, Any]:
        """The figures, as plain data."""
        ...


@dataclass(frozen=True)
class Summary:
    """How it went."""

    made: int
    kept: int
    """Runs whose result was there."""
    faults: tuple[str, ...]
    """A line for each run that could not be measured."""


def measure_each(
    runs: Sequence[RunDirectory],
    measurement: Measurement,
    runtime: Runtime,
    tell: Callable[[str], None],
) -> Summary:
    """Measure the runs one after another and write a file beside the record of each.

    A run that cannot be measured is told, and the others go on. ``tell`` gets a line a run, with a
    reason that several have only once.
    """
    made, kept = 0, 0
    faults: list[str] = []
    for run in runs:
        try:
            spec = parse(RunSpec, run.read_config() or {}, str(run.config))
            protocol = measurement.protocol(spec)
            if evaluations.is_done(run, measurement.kind, protocol):
                kept += 1
                continue
            network = read(run, runtime)
            figures = measurement.figures(network)
            made_with = _provenance(measurement, network)
            evaluations.save(run, measurement.kind, protocol, figures, made_with)
        except UserError as fault:
            line = f"run {run.path.name}: {fault}"
            known = any(it.endswith(f": {fault}") for it in faults)
            tell(f"run {run.path.name}: cannot be measured for the same reason" if known else line)
            faults.append(line)
            continue
        made += 1
        network_name, seed = spec.config.student.name, spec.config.seed
        tell(f"{spec.label} {network_name} seed {seed}: {figures['top1_percent']:.2f} %")
    return Summary(made, kept, tuple(faults))


def _provenance(measurement: Measurement, network: FinishedRun) -> dict[str, Any]:
    """No dates and no host: the same result is the same file."""
    modules = source.behind((type(measurement).__module__, __name__), source.RUNS)
    return {
        "source_sha256": source.combined(source.hashes(modules)),
        "versions": library_versions(),
        "device": device_name(network.fabric.device),
        "threads": torch.get_num_threads(),
    }
