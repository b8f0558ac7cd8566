"""Overrides from the command line: ``seeds=[0,1] epochs=5 dskd.hash_bits=512``.

A key is a key of the experiment (``seeds``), a field of a run's section by its full name
(``train.epochs``) or its unique short name (``epochs``), or a method's option (``dkd.beta``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from suite import methods
from suite.config import SECTIONS, ConfigError
from suite.interface.errors import brief, listed, shortened, unknown
from suite.yaml_input import load
from sweeps.plan.experiment import Experiment
from sweeps.plan.files import merge
from sweeps.plan.manifest import tokens

FIELDS = {section: set(model.model_fields) for section, model in SECTIONS.items()}


def read(settings: Sequence[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """(changes to the experiment, method -> options). Raises :class:`ConfigError`, all faults."""
    changes: dict[str, Any] = {}
    options: dict[str, dict[str, Any]] = {}
    faults = []
    for token in tokens(settings):
        key, equals, text = token.partition("=")
        try:
            if not equals or not re.fullmatch(r"[\w.+-]+", key):
                raise ConfigError(f"{brief(token)}: write KEY=VALUE")
            path = _path(key)
            value = _value(key, text)
        except ConfigError as fault:
            faults.append(str(fault))
            continue
        nested: Any = value
        for part in reversed(path[1:]):
            nested = {part: nested}
        if _is_method(path[0]):
            options = merge(options, {path[0]: nested})
        else:
            changes = merge(changes, {path[0]: nested})
    if faults:
        raise ConfigError(listed("overrides", faults))
    return changes, options


def _path(key: str) -> tuple[str, ...]:
    first, *rest = key.split(".")
    if _is_method(first) and rest:
        config = methods.find(first).Config
        if len(methods.parts(first)) > 1 and len(rest) > 1:  # crd+kd.kd.temperature
            part = _known(rest.pop(0), set(config.model_fields), key)
            options = methods.find(part).Config.model_fields
            return first, part, _known(".".join(rest), set(options), key)
        return first, _known(".".join(rest), set(config.model_fields), key)
    if first in FIELDS and len(rest) == 1:
        return first, _known(rest[0], FIELDS[first], key)
    if first == "teacher" and len(rest) == 2 and rest[0] in FIELDS:
        return first, rest[0], _known(rest[1], FIELDS[rest[0]], key)
    if not rest and key in Experiment.model_fields and key not in (*FIELDS, "teacher", "models"):
        return (key,)
    sections = [section for section, fields in FIELDS.items() if key in fields]
    if len(sections) == 1:
        return sections[0], key
    if sections:
        raise ConfigError(f"{key}: say which: {', '.join(f'{s}.{key}' for s in sections)}")
    raise ConfigError(unknown("key", key, _all_keys()))


def _is_method(name: str) -> bool:
    return set(methods.parts(name)) <= set(methods.names())


def _known(field: str, fields: set[str], key: str) -> str:
    if field not in fields:
        raise ConfigError(unknown(f"key {key!r}, field", field, fields))
    return field


def _all_keys() -> set[str]:
    own = set(Experiment.model_fields) - {*FIELDS, "teacher", "models"}
    return own | {f"{s}.{name}" for s, fields in FIELDS.items() for name in fields}


def _value(key: str, text: str) -> Any:
    return load(_with_decimal_points(text), shortened(f"{key}={text}"))


def _with_decimal_points(text: str) -> str:
    """``1e-3`` is a number to everybody but YAML 1.1, which wants ``1.0e-3``."""
    return re.sub(r"(?<![\w.])(\d+)[eE]([-+]?\d+)(?![\w.])", r"\1.0e\2", text)
