"""What a search varies: ranges and choices of a method's options and of fields of the run.

A range is written ``{low, high, log, step}``, choices as a list, and ``tunable`` takes what the
method declares beside its default. ``optimizer.lr`` and the like are fields of the run,
``kd.temperature`` is an option of a part of ``crd+kd``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import reduce
from typing import Annotated, Any, get_args

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from suite import methods
from suite.config import SECTIONS
from suite.interface.errors import UserError, brief, unknown
from suite.methods.combine import LABEL_WEIGHT

TUNABLE = "tunable"
SEARCHED = {section: model for section, model in SECTIONS.items() if section != "data"}
FIXED = {"train.epochs", "train.eval_every"}
"""A trial's length is the search's own business: pruning compares trials epoch by epoch."""
RANGE_KEYS = {"low", "high", "log", "step"}
MOST_CHOICES = 1000

Space = Mapping[str, BaseDistribution]


def declared(method: str) -> dict[str, Any]:
    """Option -> range or choices, as the method declares them; of all parts of a combined one."""
    parts = method.split("+")
    if len(parts) > 1:
        of_parts = {f"{part}.{name}": it for part in parts for name, it in declared(part).items()}
        once = {f"{part}.{LABEL_WEIGHT}" for part in parts[1:]}  # the labels count in the first
        return {name: values for name, values in of_parts.items() if name not in once}
    return {
        name: extra[TUNABLE]
        for name, field in methods.find(method).Config.model_fields.items()
        if isinstance(extra := field.json_schema_extra, dict) and TUNABLE in extra
    }


def fields(params: Mapping[str, Any]) -> dict[str, Any]:
    """Values of parameters where they belong: ``options`` of the method, ``optimizer`` ..."""
    made: dict[str, Any] = {"options": {}}
    for name, value in params.items():
        *path, last = place(name)
        inner = reduce(lambda below, key: below.setdefault(key, {}), path, made)
        inner[last] = value
    return made


def place(name: str) -> tuple[str, ...]:
    """The keys that lead to a parameter, as :func:`fields` nests it."""
    path = tuple(name.split(".", 1))
    return path if len(path) == 2 and path[0] in SEARCHED else ("options", *path)


def read(method: str, wanted: Any, faults: list[str]) -> Space:
    """The space of a method; every fault is appended to ``faults`` as one line."""
    own = declared(method)
    if wanted == TUNABLE:
        wanted = dict.fromkeys(own, TUNABLE)
        if not own:
            faults.append(f"{method}: declares no range; give a space")
    if not isinstance(wanted, dict) or (not wanted and own):
        faults.append(
            f"{method}: space must be {TUNABLE!r} or FIELD: RANGE (given: {brief(wanted)})"
        )
        return {}
    space = {}
    for name, text in wanted.items():
        try:
            space[str(name)] = _distribution(_field(method, str(name)), _chosen(text, name, own))
        except SpaceFaults as error:
            faults.extend(f"{method}.{name}: {fault}" for fault in error.faults)
    return space


def fingerprint(space: Space) -> dict[str, Any]:
    """The space as plain data, for hashes and records."""
    return {name: json.loads(distribution_to_json(values)) for name, values in space.items()}


def grid(space: Space) -> dict[str, list[Any]]:
    """All values of each parameter. Raises :class:`UserError` for one that has no finite list."""
    values = {}
    for name, distribution in space.items():
        if isinstance(distribution, CategoricalDistribution):
            values[name] = list(distribution.choices)
        elif isinstance(distribution, IntDistribution) and not distribution.log:
            values[name] = list(range(distribution.low, distribution.high + 1, distribution.step))
        else:
            raise UserError(f"{name}: sampler 'grid' needs choices, or whole numbers with a step")
    return values


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether the search can propose this value."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if not isinstance(distribution, IntDistribution | FloatDistribution):
        return False
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and distribution.low <= value <= distribution.high


class SpaceFaults(UserError):
    """What is wrong with one parameter."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def _field(method: str, name: str) -> FieldInfo:
    """The option of the method, or the field of the run, called ``name``."""
    section, dot, key = name.partition(".")
    parts = method.split("+")
    if dot and section in SEARCHED and name not in FIXED:
        options, kind = SEARCHED[section].model_fields, f"field of {section}"
    elif dot and len(parts) > 1 and section in parts:
        options, kind = methods.find(section).Config.model_fields, f"option of {section}"
    elif dot:
        raise SpaceFaults(f"only {', '.join(SEARCHED)} can be searched, without {_listed(FIXED)}")
    elif len(parts) > 1:
        raise SpaceFaults(f"name the part: {', '.join(f'{part}.{name}' for part in parts)}")
    else:
        options, kind, key = methods.find(method).Config.model_fields, "option", name
    if key not in options:
        raise SpaceFaults(unknown(kind, key, options))
    return options[key]


def _chosen(wanted: Any, name: str, own: Mapping[str, Any]) -> Any:
    if wanted != TUNABLE:
        return wanted
    if name not in own:
        raise SpaceFaults(f"declares no range of its own; those that do: {_listed(own)}")
    return own[name].get("choices", own[name])


def _distribution(field: FieldInfo, wanted: Any) -> BaseDistribution:
    accepts: TypeAdapter[Any] = TypeAdapter(
        Annotated[field.annotation, field]  # type: ignore[arg-type]
    )
    if isinstance(wanted, list):
        return _choices(accepts, wanted)
    if isinstance(wanted, dict):
        return _range(accepts, wanted, fractional=_is_fractional(field))
    raise SpaceFaults(
        f"write {TUNABLE!r}, {{low, high, log, step}} or [choices] (given: {brief(wanted)})"
    )


def _choices(accepts: TypeAdapter[Any], values: list[Any]) -> BaseDistribution:
    if not values:
        raise SpaceFaults("no choices given")
    if len(values) > MOST_CHOICES:
        raise SpaceFaults(f"{len(values):,} choices, at most {MOST_CHOICES}")
    faults = [fault for value in values for fault in _refused(accepts, value, "choice")]
    faults += [f"{brief(value)} twice" for i, value in enumerate(values) if value in values[:i]]
    if faults:
        raise SpaceFaults(*faults)
    return CategoricalDistribution(values)


def _is_fractional(field: FieldInfo) -> bool:
    return float in (field.annotation, *get_args(field.annotation))


def _range(
    accepts: TypeAdapter[Any], wanted: dict[str, Any], *, fractional: bool
) -> BaseDistribution:
    faults = [unknown("key", key, RANGE_KEYS) for key in sorted(set(wanted) - RANGE_KEYS, key=str)]
    faults += [f"{key} is missing" for key in ("low", "high") if wanted.get(key) is None]
    low: Any = wanted.get("low")
    high: Any = wanted.get("high")
    log, step = wanted.get("log", False), wanted.get("step")
    for key in ("low", "high"):
        if wanted.get(key) is not None:
            faults += _number_fault(wanted[key], key) or _refused(accepts, wanted[key], key)
    if not isinstance(log, bool):
        faults.append(f"log must be true or false (given: {brief(log)})")
    if step is not None and (_number_fault(step, "step") or step <= 0):
        faults.append(f"step must be a number above 0 (given: {brief(step)})")
    if not faults:
        faults += _order_faults(low, high, log, step)
    if not fractional and isinstance(step, float):
        faults.append(f"step must be a whole number (given: {brief(step)})")
    if faults:
        raise SpaceFaults(*faults)
    if fractional:
        return FloatDistribution(float(low), float(high), log=log, step=step)
    return IntDistribution(low, high, log=log, step=step or 1)


def _order_faults(low: Any, high: Any, log: bool, step: Any) -> list[str]:
    faults = []
    if low > high:
        faults.append(f"low {low} is above high {high}")
    if log and low <= 0:
        faults.append(f"a log scale cannot begin at {low}: low must be above 0")
    if log and step is not None:
        faults.append("a log scale takes no step")
    return faults


def _number_fault(value: Any, key: str) -> list[str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return []
    hint = ""
    if isinstance(value, str):
        try:
            hint = f"; in YAML write {float(value)!r}" if "." not in value else ""
        except ValueError:
            hint = ""
    return [f"{key} must be a number (given: {brief(value)}{hint})"]


def _refused(accepts: TypeAdapter[Any], value: Any, key: str) -> list[str]:
    """Why the field does not take this value."""
    try:
        accepts.validate_python(value, strict=True)
    except ValidationError as error:
        reason = error.errors()[-1]["msg"]
        return [f"{key} {brief(value)} is refused: {reason}"]
    return []


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))
