"""What finished runs do on other images: files beside the record, which stays as it is.

``probe-<id>.json`` and ``robustness-<id>.json``, where the id is the hash of the protocol: results
of several protocols lie side by side, and none is computed twice. Imports no torch: reports read
them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from suite.names import run_id_of
from suite.store.record import RecordError, RunDirectory, read_object, write_json

PROBE, ROBUSTNESS = "probe", "robustness"
KINDS = (PROBE, ROBUSTNESS)


def save(
    run: RunDirectory,
    kind: str,
    protocol: Mapping[str, Any],
    figures: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Write the result of a finished run, in one step.

    Args:
        run: The run.
        kind: :data:`PROBE` or :data:`ROBUSTNESS`.
        protocol: Everything except the weights that determines the figures, as plain data.
        figures: The measured values, as plain data without NaN.
        provenance: Code, versions and device that measured them.

    Raises:
        RecordError: It cannot be written, or the run has no record.
    """
    write_json(
        run.path / _file_name(kind, protocol),
        {
            "kind": kind,
            "run_id": run.path.name,
            "weights_sha256": _weights_sha256(run),
            "protocol": protocol,
            "figures": figures,
            "provenance": provenance,
        },
    )


def is_done(run: RunDirectory, kind: str, protocol: Mapping[str, Any]) -> bool:
    """Whether the run has a complete result of this protocol for its present weights.

    Args:
        run: The run.
        kind: As in :func:`save`.
        protocol: As in :func:`save`.

    Returns:
        False also where the file is damaged.

    Raises:
        RecordError: The run has no record.
    """
    evaluation = _read(run, _file_name(kind, protocol))
    return evaluation is not None and evaluation["weights_sha256"] == _weights_sha256(run)


def kinds(run: RunDirectory) -> set[str]:
    """The kinds of which a run has a result, be it a damaged one: one look, for 100,000 runs.

    Args:
        run: The run, which need not be there.

    Returns:
        Some of :data:`KINDS`.
    """
    try:
        names = os.listdir(run.path)  # noqa: PTH208
    except OSError:
        return set()
    return {kind for kind in KINDS if any(name.startswith(f"{kind}-") for name in names)}


def results(run: RunDirectory, kind: str) -> Iterator[dict[str, Any]]:
    """All results of a kind that a run has.

    Args:
        run: The run, which need not be there.
        kind: As in :func:`save`.

    Yields:
        What :func:`save` has written, with the protocol's ``id``; damaged results and those of
        other weights than the run has now are left out.
    """
    try:
        names = sorted(file.name for file in run.path.glob(f"{kind}-*.json"))
        weights = _weights_sha256(run) if names else None
    except (OSError, RecordError):
        return
    for name in names:
        evaluation = _read(run, name)
        if evaluation is not None and evaluation["weights_sha256"] == weights:
            yield {**evaluation, "id": name.removeprefix(f"{kind}-").removesuffix(".json")}


def _file_name(kind: str, protocol: Mapping[str, Any]) -> str:
    return f"{kind}-{run_id_of(protocol)}.json"


def _weights_sha256(run: RunDirectory) -> str:
    sha256 = (run.read_result() or {}).get("weights_sha256")
    if isinstance(sha256, str):
        return sha256
    raise RecordError(f"{run.result}: no weights_sha256; train the run to its end first")


def _read(run: RunDirectory, name: str) -> dict[str, Any] | None:
    """One result; None where it is missing or incomplete."""
    try:
        evaluation = read_object(run.path / name)
    except RecordError:
        return None
    if evaluation is None or "weights_sha256" not in evaluation:
        return None
    complete = all(isinstance(evaluation.get(part), dict) for part in ("protocol", "figures"))
    return evaluation if complete else None
