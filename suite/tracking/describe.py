"""What a tracker shows of a run, from its directory. Pure: nothing is sent here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from suite.store.record import RunDirectory, read_json
from suite.tracking.tracker import TrackerError

TAG_LENGTH = 64  # wandb.Settings refuses longer tags
AS_TEXT = ("source_modules",)  # objects with a key for each module: one JSON text each
TOO_LONG = ("class_names",)
NAME_LENGTH = 128  # the server refuses longer names, groups and job types


@dataclass(frozen=True)
class Description:
    """The fixed part of a run."""

    run_id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]


def describe(run: RunDirectory) -> Description:
    """Group = experiment, job type = role, tags = label, data set, pair, recipe.

    A run of a search has its study and trial number in the name and the configuration.

    Raises :class:`TrackerError` without a config, ``RecordError`` for a damaged or edited one.
    """
    spec = run.read_config()
    if spec is None:
        raise TrackerError(f"{run.path} has no config.json: no run was started there")
    config = spec["config"]
    teacher, student = config.get("teacher"), config["student"]["name"]
    pair = student if teacher is None else f"{teacher['name']}/{student}"
    tags = (spec["label"], config["data"]["name"], pair, spec["recipe"])
    origin = {key: spec[key] for key in ("experiment", "role", "label", "recipe")}
    trial = read_json(run.trial)
    number = "" if trial is None else f" trial {trial['number']}"
    if trial is not None:
        origin |= {"trial": {"study": trial["study"], "number": trial["number"]}}
    return Description(
        run_id=run.path.name,
        name=f"{spec['label']}{number} {pair} seed {config['seed']}"[:NAME_LENGTH],
        group=spec["experiment"][:NAME_LENGTH],
        job_type=spec["role"],
        tags=tuple(dict.fromkeys(tag[:TAG_LENGTH] for tag in tags if tag)),
        config={"run_id": run.path.name, **origin, **config},
    )


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """Every number, text and truth value of ``result.json`` under its path, joined by "/".

    Not the names of the classes, of which there may be thousands.
    """
    return dict(_leaves(result, ""))


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if key in TOO_LONG:
            continue
        if key in AS_TEXT:
            yield f"{prefix}{key}", json.dumps(value)
        elif isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}/")
        elif value is not None:
            yield f"{prefix}{key}", value
