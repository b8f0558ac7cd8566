"""What an experiment or a search may be called: its name is a folder of the run store."""

from __future__ import annotations

import re

from suite.interface.errors import UserError, brief

LONGEST_NAME = 100
NAME = re.compile(r"\w(?:[\w .+=,@-]*[\w+=@])?")
TEACHERS = "teachers"
"""The experiment that holds the teachers of all experiments."""
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
