"""Chosen settings as files: ``tuned/<search>/<method>.yaml``, with how they were chosen.

A search writes them into the working folder, where they can be read, edited and committed; the
package itself may lie where its user cannot write. ``sweeps/tuned/`` holds what ships with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from suite.config import Closed, ConfigError, parse
from suite.interface.errors import UserError
from suite.store.record import write_atomically
from suite.yaml_input import load_mapping

TUNED_ROOT = Path("tuned")
"""Where a search writes, in the working folder."""
SHIPPED_ROOT = Path(__file__).resolve().parents[1] / "tuned"
HEAD = """\
# Written by `make search EXP={search}`; another search writes it anew.
# Use it in a sweep with `tuned: {search}`.
"""


class Chosen(Closed):
    """How settings were chosen, for the reader of a table."""

    search: str
    study: str
    study_sha256: str
    """Of all trials: numbers, states, parameters, values."""
    pair: str
    dataset: str
    split: str
    objective: str
    seeds: list[int]
    budget: dict[str, int | float]
    """``{trials: N}`` or ``{hours: N}``."""
    trials: dict[str, int]
    """State -> how many."""
    best_trial: int
    best_value: float
    default_value: float | None
    """Of the trial with the method's defaults, if there was one and it was finished."""


class Tuned(Closed):
    """The settings of one method."""

    method: str
    options: dict[str, Any] = {}
    optimizer: dict[str, Any] = {}
    schedule: dict[str, Any] = {}
    train: dict[str, Any] = {}
    chosen: Chosen

    def sections(self) -> dict[str, dict[str, Any]]:
        """Fields of the run, where some were searched."""
        sections = {"optimizer": self.optimizer, "schedule": self.schedule, "train": self.train}
        return {name: values for name, values in sections.items() if values}

    def mark(self) -> dict[str, Any]:
        """What a table says of a row with these settings."""
        chosen = self.chosen
        return {
            "search": chosen.search,
            "study": chosen.study,
            "study_sha256": chosen.study_sha256,
            "trials": sum(chosen.trials.values()),
            "budget": chosen.budget,
            "split": chosen.split,
            "pair": chosen.pair,
        }


def write(tuned: Tuned, root: Path) -> Path:
    """Write ``root/<search>/<method>.yaml``; returns its path."""
    path = root / tuned.chosen.search / f"{tuned.method}.yaml"
    content = tuned.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_atomically(path, (HEAD.format(search=tuned.chosen.search) + text).encode())
    return path


def read(search: str, methods: Sequence[str]) -> dict[str, Tuned]:
    """Method -> settings, of the methods that the search tuned.

    ``search`` is the path of a folder with such files or the name of a search: then they lie in
    :data:`TUNED_ROOT`, or else in :data:`SHIPPED_ROOT`. Raises :class:`UserError` when there are
    none for any of ``methods``, and for a damaged file.
    """
    folder = Path(search) if "/" in search else _folder(search)
    paths = {method: folder / f"{method}.yaml" for method in dict.fromkeys(methods)}
    existing = {method: path for method, path in paths.items() if path.is_file()}
    if not existing:
        raise UserError(
            f"tuned: no settings of {', '.join(paths)} in {folder}; "
            f"make search EXP={folder.name} writes them"
        )
    try:
        return {
            name: parse(Tuned, load_mapping(path), str(path)) for name, path in existing.items()
        }
    except ConfigError as error:
        raise ConfigError(f"{error}; make search EXP={folder.name} writes it anew") from None


def _folder(search: str) -> Path:
    shipped = SHIPPED_ROOT / search
    own = TUNED_ROOT / search
    return shipped if shipped.is_dir() and not own.is_dir() else own
