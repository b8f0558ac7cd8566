"""The tables of ``docs/experiments.md``, from what experiments and recipes may say.

``python -m sweeps.plan.reference`` writes them anew; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from suite.config import SECTIONS
from sweeps.plan.experiment import Experiment, MethodEntry, ModelEntry, Recipe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "experiments.md"
MARK = "<!-- The tables below are made by `python -m sweeps.plan.reference`. -->\n"
MODELS: dict[str, type[BaseModel]] = {
    "An experiment": Experiment,
    "An entry of `methods`": MethodEntry,
    "An entry of `models`": ModelEntry,
    "A recipe": Recipe,
    **{f"Section `{name}`": model for name, model in SECTIONS.items()},
}


def tables() -> str:
    """A heading and a table for each of :data:`MODELS`."""
    return "\n".join(_table(title, model) for title, model in MODELS.items())


def _table(title: str, model: type[BaseModel]) -> str:
    rows = [_row(name, field) for name, field in model.model_fields.items()]
    about = " ".join((model.__doc__ or "").replace("``", "`").split())
    head = ["| key | value | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {title}\n", f"{about}\n", *head, *rows, ""])


def _row(name: str, field: FieldInfo) -> str:
    meaning = " ".join((field.description or "").replace("``", "`").split())
    meaning = re.sub(r":\w+:`(\S+?)`", r"`\1`", meaning)
    cells = [f"`{name}`", _kind(field), _default(field), meaning]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _kind(field: FieldInfo) -> str:
    bounds = [str(limit) for limit in field.metadata if "Discriminator" not in str(limit)]
    limits = re.findall(r"(ge|gt|le|lt|min_length)=([\d.e-]+)", " ".join(bounds))
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "at least"}
    text = ", ".join(f"{signs[name]} {value}" for name, value in limits)
    return f"{_name(field.annotation)}{f' ({text})' if text else ''}"


def _name(kind: Any) -> str:
    """``list[str]``, ``a or b`` for a union, the values of a choice; no modules' names."""
    if kind is type(None):
        return "null"
    arguments = get_args(kind)
    if "Literal" in repr(kind).split("[")[0]:
        return ", ".join(f"`{value}`" for value in arguments)
    if not arguments:
        return "anything" if kind is Any else str(getattr(kind, "__name__", kind))
    if "|" in repr(kind) or "Union" in repr(kind).split("[")[0]:
        return " or ".join(_name(each) for each in arguments)
    inner = ", ".join("..." if each is Ellipsis else _name(each) for each in arguments)
    return f"{kind.__origin__.__name__}[{inner}]"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "must be given"
    if field.default is None:
        return "null"
    if isinstance(field.default, BaseModel):
        return "nothing"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def written() -> str:
    """The page as it is, with the tables of now."""
    head, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    return f"{head}{mark}\n{tables()}"


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
