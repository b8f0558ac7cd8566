"""Several methods in one run: ``crd+kd`` trains on the sum of both methods' terms.

The first part is the method and brings its cross-entropy with the labels; in every further part
the option ``ce_weight`` defaults to 0, so that the labels count once, as in the field's "+KD"
rows. Options are those of the parts under their names: ``{"crd": {...}, "kd": {...}}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import create_model, field_validator
from torch import Tensor, nn

from suite.interface.distiller import (
    Batch,
    Distiller,
    MethodConfig,
    Progress,
    Reads,
    Setup,
    UnsupportedPair,
)
from suite.interface.taps import Outputs, TappedModel

LABEL_WEIGHT = "ce_weight"


class Combined(Distiller):
    """The sum of several methods; :func:`combine` makes one subclass for each combination."""

    parts: Mapping[str, type[Distiller]]
    paper = None
    """Each part has its own: :func:`suite.methods.papers`."""

    def __init__(self, config: Any, setup: Setup) -> None:
        super().__init__(config, setup)
        self.methods = nn.ModuleDict(
            {name: part(getattr(config, name), setup) for name, part in self.parts.items()}
        )
        plain = setup.student.model
        rebuild = [name for name, part in self._named() if part.deploy(setup.student) is not plain]
        if len(rebuild) > 1:
            raise UnsupportedPair(
                f"{' and '.join(rebuild)} each deploy a network of their own: only one of them "
                "can be part of a combination"
            )
        self._shipped = rebuild[0] if rebuild else next(iter(self.parts))

    @classmethod
    def memory(cls, config: Any, train_size: int) -> int:
        """That of all parts."""
        parts = cls.parts.items()
        return sum(part.memory(getattr(config, name), train_size) for name, part in parts)

    @classmethod
    def reads_with(cls, config: Any) -> Reads:
        """What any part reads."""
        reads = Reads(0)
        for name, part in cls.parts.items():
            reads |= part.reads_with(getattr(config, name)) if part.uses_teacher else Reads(0)
        return reads

    def _named(self) -> list[tuple[str, Distiller]]:
        return [(name, self.methods[name]) for name in self.parts]  # type: ignore[misc]

    def student_taps(self) -> tuple[str, ...]:
        """Those of all parts."""
        return _union(part.student_taps() for _, part in self._named())

    def teacher_taps(self) -> tuple[str, ...]:
        """Those of all parts."""
        return _union(part.teacher_taps() for _, part in self._named())

    def views(self) -> tuple[str, ...]:
        """Those of all parts."""
        return _union(part.views() for _, part in self._named())

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """The terms of all parts; terms of one name (``ce``) are added up."""
        terms: dict[str, Tensor] = {}
        for _, part in self._named():
            for name, term in part.losses(batch, student, teacher, progress).items():
                terms[name] = terms[name] + term if name in terms else term
        return terms

    def predict(self, student: Outputs) -> Tensor:
        """Of the part whose network is deployed."""
        logits: Tensor = self.methods[self._shipped].predict(student)  # type: ignore[operator]
        return logits

    def diagnostics(self) -> dict[str, Tensor]:
        """Of all parts; where two use one name, the later part's name is put before it."""
        return _without_clashes([(name, part.diagnostics()) for name, part in self._named()])

    def inspect(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        """Of all parts, named as in :meth:`diagnostics`."""
        values = [(name, part.inspect(batch, student, teacher)) for name, part in self._named()]
        return _without_clashes(values)

    def deploy(self, student: TappedModel) -> nn.Module:
        """Of the one part that deploys more than the plain student, if there is one."""
        network: nn.Module = self.methods[self._shipped].deploy(student)  # type: ignore[operator]
        return network


def combine(parts: Mapping[str, type[Distiller]]) -> type[Distiller]:
    """The method that optimises the terms of ``parts`` (at least two, the first one leads)."""
    first = next(iter(parts))
    fields: dict[str, Any] = {
        name: (part.Config, _config_of(part, {}, leads=name == first))
        for name, part in parts.items()
    }

    def labels_count_once(cls: Any, value: object, info: Any) -> object:  # noqa: ARG001
        if not isinstance(value, dict):
            return value
        name = info.field_name
        return _config_of(parts[name], value, leads=name == first)

    validator: Any = field_validator(*parts, mode="before")(labels_count_once)
    config = create_model(
        "CombinedConfig", __base__=MethodConfig, __validators__={"once": validator}, **fields
    )
    attributes = {
        "__doc__": f"{' + '.join(parts)}: the sum of their terms.",
        "parts": dict(parts),
        "task_terms": _union(part.task_terms for part in parts.values()),
        "uses_teacher": any(part.uses_teacher for part in parts.values()),
        "Config": config,
    }
    return type("Combined", (Combined,), attributes)


def _config_of(part: type[Distiller], options: dict[str, Any], *, leads: bool) -> MethodConfig:
    if not leads and LABEL_WEIGHT in part.Config.model_fields:
        options = {LABEL_WEIGHT: 0.0} | options
    return part.Config.model_validate(options)


def _union(groups: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))


def _without_clashes(by_part: list[tuple[str, dict[str, Tensor]]]) -> dict[str, torch.Tensor]:
    merged: dict[str, Tensor] = {}
    for part, values in by_part:
        merged |= {f"{part}_{k}" if k in merged else k: v for k, v in values.items()}
    return merged
