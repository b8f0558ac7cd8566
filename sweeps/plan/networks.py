"""What a run says of its networks: names, options, the weights they start from, their images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from suite import data
from suite.config import Normalisation, RunSpec
from suite.models.normalisation import of_pretrained
from suite.models.pretrained import has_classifier, pretrained_sha256
from suite.models.weights import read, weights_sha256
from suite.names import JOIN
from sweeps.plan.experiment import ModelEntry

Team = tuple[RunSpec | None, ...]
"""The runs that train a teacher: one, or one for each network of an ensemble; None where none does.
"""


def student(name: str, entry: ModelEntry, dataset: str) -> dict[str, Any]:
    """The network that a run trains. Raises :class:`UserError` when its weights cannot be read."""
    network = _network(name, entry, dataset)
    return {**network, "initial": initial(network["name"], entry)} if entry.fine_tune else network


def teacher(name: str, entry: ModelEntry, dataset: str, run: RunSpec | None) -> dict[str, Any]:
    """The network that teaches; ``run`` trains it, if one does."""
    network = _network(name, entry, dataset)
    if run is not None:
        return {**network, "run_id": run.run_id}
    if entry.pretrained and not has_classifier(network["name"]):
        network["options"] = {"num_classes": 0, **network["options"]}
    return {**network, "pretrained": entry.pretrained, "checkpoint": entry.checkpoint}


def ensemble(members: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several networks as one teacher, each as :func:`teacher` says."""
    return {"name": JOIN.join(member["name"] for member in members), "ensemble": members}


def descent(team: Team) -> dict[str, Any]:
    """What a run says of the runs that train its teacher."""
    trained = [spec for spec in team if spec is not None]
    if not trained:
        return {}
    above = dict.fromkeys(
        run_id for spec in trained for run_id in (*teachers_of(spec), *spec.ancestors)
    )
    return {"teacher_seed": trained[0].config.seed, "ancestors": tuple(above)}


def teachers_of(spec: RunSpec) -> tuple[str, ...]:
    """Ids of the runs that train a run's teacher."""
    return () if spec.config.teacher is None else spec.config.teacher.run_ids


def initial(network: str, entry: ModelEntry) -> dict[str, Any]:
    """The weights that fine-tuning starts from, identified by what they are."""
    if entry.checkpoint is None:
        return {"sha256": pretrained_sha256(network)}
    path = Path(entry.checkpoint)
    modified_ns = path.stat().st_mtime_ns if path.is_file() else 0
    return {"sha256": _sha256_of_file(path, modified_ns), "checkpoint": path}


@cache
def _sha256_of_file(path: Path, _modified_ns: int) -> str:  # part of the cache's key
    return weights_sha256(read(path))


def _network(name: str, entry: ModelEntry, dataset: str) -> dict[str, Any]:
    network = {"name": entry.name or name, "options": entry.options}
    own = _normalisation(network["name"], entry, dataset)
    return network if own is None else {**network, "normalisation": own}


def _normalisation(network: Any, entry: ModelEntry, dataset: str) -> Normalisation | None:
    """The network's normalisation; None where it is the data set's."""
    of_data, wanted = data.normalisation(dataset), entry.normalisation
    if wanted == "network" or (wanted is None and entry.from_elsewhere):
        wanted = of_pretrained(network, len(of_data.mean))
    return wanted if isinstance(wanted, Normalisation) and wanted != of_data else None
