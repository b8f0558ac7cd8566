"""Figures of other code bases, from a CSV, kept in the run store and shown as reported."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from suite.config import Closed, ConfigError, parse
from suite.interface.errors import UserError, listed
from suite.store.record import write_atomically

FILE = "reported.csv"
"""In the run store; ``analysis.runs.published`` reads it."""
MOST_BYTES = 10_000_000


class Reported(Closed):
    """One figure with the protocol that it was measured under."""

    dataset: str = Field(min_length=1)
    """As we call it: ``cifar100``."""
    teacher: str = Field(min_length=1)
    """As we call it, or as the literature does: ``cifar_wrn_40_2``, ``wrn_40_2``."""
    student: str = Field(min_length=1)
    """As the teacher."""
    method: str = Field(min_length=1)
    """The row of the table that it stands beside: ``kd``."""
    top1_percent: float = Field(ge=0, le=100)
    """Test accuracy, the mean where there are several seeds."""
    protocol: Literal["last", "best", ""] = ""
    """Which epoch: the last, or the best on the test images; empty: the source does not say."""
    source: str = Field(min_length=1)
    """Where it is printed: paper and table, or repository and commit."""
    epochs: int | None = Field(None, ge=1)
    """Passes over the training images."""
    seeds: int | None = Field(None, ge=1)
    """How many runs the figure is a mean of."""
    std_percent: float | None = Field(None, ge=0)
    """Their standard deviation."""


COLUMNS = tuple(Reported.model_fields)


def import_csv(file: Path, runs_root: Path) -> tuple[int, int]:
    """Add the rows of ``file`` to those of the run store, each once.

    Returns how many were added and how many there are. Raises :class:`UserError`, all faults.
    """
    added = _read(file)
    kept = runs_root / FILE
    before = _read(kept) if kept.is_file() else []
    rows = list(dict.fromkeys([*before, *added]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_text(getattr(row, name)) for name in COLUMNS] for row in rows)
    write_atomically(kept, text.getvalue().encode())
    return len(rows) - len(before), len(rows)


def _read(file: Path) -> list[Reported]:
    try:
        content = file.read_bytes()[: MOST_BYTES + 1]
        if len(content) > MOST_BYTES:
            raise UserError(f"{file}: more than {MOST_BYTES:,} bytes, the most that is read")
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig")), strict=True)
        rows: list[dict[str, Any]] = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    figures, faults = [], []
    for number, row in enumerate(rows, 2):
        values = {
            key or "(more columns)": cell for key, cell in row.items() if cell not in (None, "")
        }
        try:
            figures.append(parse(Reported, values, f"line {number}"))
        except ConfigError as error:
            faults.append(" ".join(str(error).split()))
    if faults:
        raise UserError(listed(str(file), faults))
    if not figures:
        raise UserError(f"{file}: no rows; columns: {', '.join(COLUMNS)}")
    return figures


def _text(value: object) -> str:
    return "" if value is None else str(value)
