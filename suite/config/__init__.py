"""What one run is: closed, frozen and hashed.

Everything in :class:`RunConfig` changes the numbers and is part of the run's id. What does not
(folders, devices, number of worker processes, logging) is in :class:`Runtime`.
"""

from suite.config.data import Columns, DataConfig, FolderContents
from suite.config.networks import (
    InitialWeights,
    ModelConfig,
    Normalisation,
    StudentConfig,
    TeacherConfig,
)
from suite.config.run import SECTIONS, MethodSpec, RunConfig, RunSpec
from suite.config.runtime import Determinism, Runtime
from suite.config.training import DOT_NAME, OptimizerConfig, Precision, ScheduleConfig, TrainConfig
from suite.config_base import Closed, ConfigError, Named, parse

__all__ = [
    "DOT_NAME",
    "SECTIONS",
    "Closed",
    "Columns",
    "ConfigError",
    "DataConfig",
    "Determinism",
    "FolderContents",
    "InitialWeights",
    "MethodSpec",
    "ModelConfig",
    "Named",
    "Normalisation",
    "OptimizerConfig",
    "Precision",
    "RunConfig",
    "RunSpec",
    "Runtime",
    "ScheduleConfig",
    "StudentConfig",
    "TeacherConfig",
    "TrainConfig",
    "parse",
]
