"""What every configuration is: closed, frozen, and read with all its faults at once."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from suite.interface.errors import UserError, brief, listed, shortened

Model = TypeVar("Model", bound=BaseModel)


class ConfigError(UserError):
    """Every fault of a configuration, one a line."""


class Closed(BaseModel):
    """Frozen, and unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Grown(Closed):
    """Has fields that are younger than the first records: while they have their defaults, they are
    left out of what is written and hashed, so that ids stay as they were."""

    younger: ClassVar[tuple[str, ...]]

    @model_serializer(mode="wrap")
    def _without_absent_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        absent = [name for name in self.younger if getattr(self, name) == fields[name].default]
        return {name: value for name, value in values.items() if name not in absent}


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Named = Annotated[Model, BeforeValidator(_named)]
"""What may be given by its name alone."""


def parse(model: type[Model], values: Any, where: str) -> Model:
    """Validate ``values`` as ``model``. Raises :class:`ConfigError` listing every fault."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(listed(where, map(_fault, error.errors()))) from None


def _fault(fault: Any) -> str:
    field = ".".join(str(part) for part in fault["loc"]) or "(whole)"
    message = fault["msg"].removeprefix("Value error, ")
    silent = fault["type"] in {"missing", "value_error"}
    given = "" if silent else f" (given: {brief(fault['input'])})"
    return f"{shortened(field)}: {message}{given}"
