"""The student, its teacher, and where their weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from suite.config_base import Closed, Grown
from suite.names import JOIN


class Normalisation(Closed):
    """What is taken from pixel values in 0..1, and what they are divided by, for each channel."""

    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]

    @model_validator(mode="after")
    def _same_channels(self) -> Self:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"mean {self.mean}, std {self.std}: one number a channel in both")
        return self


class ModelConfig(Grown):
    """A timm model by name."""

    younger: ClassVar[tuple[str, ...]] = ("normalisation",)
    name: str
    options: dict[str, Any] = {}
    """Further keyword arguments of ``timm.create_model``."""
    normalisation: Normalisation | None = None
    """What the network wants its images normalised with; None: what the data set is."""


class InitialWeights(Closed):
    """Weights that training starts from. What they are is part of the run's id, not where."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of all tensors, those of the classifier included, used or not."""
    checkpoint: Path | None = None
    """The file; None: timm's pretrained weights of the network."""


class StudentConfig(ModelConfig):
    """The network that is trained, with random weights unless it says what it starts from."""

    younger: ClassVar[tuple[str, ...]] = ("normalisation", "initial")
    initial: InitialWeights | None = None


class TeacherConfig(ModelConfig):
    """A frozen teacher and where its weights come from (exactly one source), or an ensemble."""

    younger: ClassVar[tuple[str, ...]] = ("normalisation", "ensemble")
    run_id: str | None = None
    """The run of this suite that trained it."""
    checkpoint: Path | None = None
    """A file of weights (safetensors or a state_dict that loads with ``weights_only``)."""
    pretrained: bool = False
    """timm's own pretrained weights."""
    ensemble: tuple[TeacherConfig, ...] = ()
    """Several teachers as one, which gives the mean of their logits and no features. Each has its
    own source and normalisation; ``name`` is theirs, joined by ``+``."""

    @property
    def members(self) -> tuple[TeacherConfig, ...]:
        """Those of the ensemble; of a single network itself alone."""
        return self.ensemble or (self,)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs that train the members, as far as runs do."""
        return tuple(it.run_id for it in self.members if it.run_id is not None)

    @property
    def trained_by(self) -> str | None:
        """:attr:`run_ids` as one text, for records and tables; None for none."""
        return JOIN.join(self.run_ids) or None

    @property
    def gives_logits(self) -> bool:
        """False when the options say ``num_classes: 0``: no classifier, features alone."""
        return self.options.get("num_classes") != 0

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = [self.run_id is not None, self.checkpoint is not None, self.pretrained]
        if sum(sources) + bool(self.ensemble) != 1:
            raise ValueError("give exactly one of run_id, checkpoint, pretrained, ensemble")
        return self

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        if not self.ensemble:
            return self
        name = JOIN.join(member.name for member in self.ensemble)
        if len(self.ensemble) < 2 or self.options or self.normalisation or self.name != name:
            raise ValueError(
                f"ensemble: two or more teachers, with name {name!r} and without options and "
                "normalisation of its own"
            )
        if any(member.ensemble or not member.gives_logits for member in self.ensemble):
            raise ValueError("ensemble: of single networks that have a classifier")
        return self
