"""Names of folders in the run store: what an experiment may be called, and the id of a run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from suite.interface.errors import UserError, brief

LONGEST_NAME = 100
NAME = re.compile(r"\w(?:[\w .+=,@-]*[\w+=@])?")
TEACHERS = "teachers"
"""The experiment that holds the teachers of all experiments."""
JOIN = "+"
"""Between the names, and the ids of the runs, of the networks of an ensemble."""
RESERVED = (TEACHERS, "jobs", "source", "wandb", "bench", "aside")
"""Folders of the run store that hold something else."""


def experiment_name(name: str) -> str:
    """The name itself. Raises :class:`UserError` where it cannot be a folder of its own."""
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise UserError(
            f"experiment name {brief(name)}: allowed are 1 to {LONGEST_NAME} letters, digits, "
            "spaces and _ . + = , @ - (first a letter, digit or _; last no space, dot, comma or "
            "dash); rename the YAML file"
        )
    if name.casefold() in RESERVED:
        raise UserError(
            f"experiment name {brief(name)}: taken by the run store "
            f"({', '.join(RESERVED)}); rename the YAML file"
        )
    return name


def run_id_of(config: Mapping[str, Any]) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the canonical JSON of a resolved config.

    Where the file of initial weights lies is left out: their own hash says what they are.
    """
    student = config.get("student")
    if isinstance(student, dict) and isinstance(student.get("initial"), dict):
        weights = {key: it for key, it in student["initial"].items() if key != "checkpoint"}
        config = {**config, "student": {**student, "initial": weights}}
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
