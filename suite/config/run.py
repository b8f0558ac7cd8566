"""One run, from its parts: what its id is made of, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from suite import methods
from suite.config.data import DataConfig
from suite.config.networks import StudentConfig, TeacherConfig
from suite.config.training import DOT_NAME, OptimizerConfig, ScheduleConfig, TrainConfig
from suite.config_base import Closed, Named
from suite.names import TEACHERS, experiment_name, run_id_of

SECTIONS: Mapping[str, type[Closed]] = {
    "data": DataConfig,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "train": TrainConfig,
}
"""Of a run: what recipes set."""


class MethodSpec(Closed):
    """A method by name with all its options, defaults filled in."""

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        complete = methods.find(self.name).Config.model_validate(self.options)
        object.__setattr__(self, "options", complete.model_dump(mode="json"))
        return self


class RunConfig(Closed):
    """One training run."""

    data: DataConfig
    student: StudentConfig
    teacher: TeacherConfig | None = None
    method: Named[MethodSpec]
    optimizer: OptimizerConfig
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _teacher_if_used(self) -> Self:
        uses_teacher = methods.find(self.method.name).uses_teacher
        if uses_teacher != (self.teacher is not None):
            verb = "needs a" if uses_teacher else "takes no"
            raise ValueError(f"method {self.method.name!r} {verb} teacher")
        return self

    @model_validator(mode="after")
    def _two_parts_for_dot(self) -> Self:
        method = methods.find(self.method.name)
        if self.optimizer.name == DOT_NAME and not (method.uses_teacher and method.task_terms):
            lacking = "loss of the labels" if method.uses_teacher else "distillation"
            raise ValueError(
                f"optimizer.name 'dot': method {self.method.name!r} has no {lacking}; it needs both"
            )
        return self

    @cached_property
    def run_id(self) -> str:
        """See :func:`suite.names.run_id_of`."""
        return run_id_of(self.model_dump(mode="json"))


class RunSpec(Closed):
    """A run and its place: what ``config.json`` in the run directory holds."""

    config: RunConfig
    experiment: str
    role: Literal["teacher", "student"] = "student"
    label: str
    """The row of the table: the method, with its variant if there are several."""
    recipe: str = "custom"
    teacher_seed: int | None = None
    """Seed of the run that trained the teacher (its id is part of ``config``); None without such a
    run, and in specifications older than the field."""
    ancestors: tuple[str, ...] = ()
    """Ids of the runs that train the teacher's own teacher, that one's, and so on."""

    @model_validator(mode="after")
    def _within_the_store(self) -> Self:
        if self.role != "teacher" or self.experiment != TEACHERS:
            experiment_name(self.experiment)
        return self

    @property
    def run_id(self) -> str:
        """See :attr:`RunConfig.run_id`."""
        return self.config.run_id

    def __hash__(self) -> int:
        return hash((self.experiment, self.run_id))
