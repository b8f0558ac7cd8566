"""What one run is: closed, frozen and hashed.

Everything in :class:`RunConfig` changes the numbers and is part of the run's id. What does not
(folders, devices, number of worker processes, logging) is in :class:`Runtime`.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from suite import methods
from suite.interface.errors import UserError, brief, listed, shortened
from suite.names import TEACHERS, experiment_name

Model = TypeVar("Model", bound=BaseModel)


class ConfigError(UserError):
    """Every fault of a configuration, one a line."""


class Closed(BaseModel):
    """Frozen, and unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class FolderContents(Closed):
    """Which images an image folder holds, see :mod:`suite.data.contents`."""

    sha256: str = Field(pattern="^[0-9a-f]{16}$")
    """First digits, over the names of classes, the names and sizes of files."""
    classes: int
    images: dict[str, int]
    """Split (the folder's: ``train``, ``val``, ``test``) -> number of images."""


class DataConfig(Closed):
    """Which images, split how, augmented how."""

    name: str
    """A set that the suite knows, or the name of an image folder under the data root."""
    contents: FolderContents | None = None
    """Of image folders, filled in when a run is planned: runs of other images have other ids. The
    other sets are fixed; their runs have no such field."""
    train_split: Literal["train", "trainval"] = "train"
    """``train`` keeps the validation images out of training; ``trainval`` trains on both, as the
    published numbers do, and then has no validation accuracy."""
    eval_splits: tuple[Literal["val", "test"], ...] = ("val", "test")
    """What is evaluated over training."""
    train_limit: int | None = Field(None, ge=2)
    """Train on this many images, a fixed stratified choice."""
    classes: int | None = Field(None, ge=2)
    """Only the images of the first so many classes, in all splits; for studies on a subset."""
    class_block: int | None = Field(None, ge=0)
    """With ``classes``: which block of so many classes, counted from 0. ``classes: 20`` and
    ``class_block: 3`` are classes 60 to 79, renumbered from 0; blocks share no image. Runs without
    it have no such field."""
    image_size: int | None = Field(None, ge=4, le=2048)
    """Side in pixels; None keeps the data set's own."""
    augment: Literal["standard", "none"] = "standard"
    """``standard``: random crop with zero padding and horizontal flip where the data set allows it;
    RandomResizedCrop and flip for image folders."""

    @model_validator(mode="after")
    def _block_of_a_size(self) -> Self:
        if self.class_block is not None and self.classes is None:
            raise ValueError(f"class_block {self.class_block}: needs classes, the size of a block")
        return self

    @model_serializer(mode="wrap")
    def _without_absent_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        for name in ("contents", "class_block"):  # younger than the first records and their ids
            if values.get(name, self) is None:
                del values[name]
        return values

    @property
    def first_class(self) -> int:
        """The data set's own number of the class that is called 0 here."""
        return (self.class_block or 0) * (self.classes or 0)


class ModelConfig(Closed):
    """A timm model by name."""

    name: str
    options: dict[str, Any] = {}
    """Further keyword arguments of ``timm.create_model``."""


class TeacherConfig(ModelConfig):
    """A frozen teacher and where its weights come from (exactly one source)."""

    run_id: str | None = None
    """The run of this suite that trained it."""
    checkpoint: Path | None = None
    """A file of weights (safetensors or a state_dict that loads with ``weights_only``)."""
    pretrained: bool = False
    """timm's own pretrained weights."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = [self.run_id is not None, self.checkpoint is not None, self.pretrained]
        if sum(sources) != 1:
            raise ValueError("give exactly one of run_id, checkpoint, pretrained")
        return self


class MethodSpec(Closed):
    """A method by name with all its options, defaults filled in."""

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        complete = methods.find(self.name).Config.model_validate(self.options)
        object.__setattr__(self, "options", complete.model_dump(mode="json"))
        return self


class OptimizerConfig(Closed):
    """timm's optimizer by name. In timm ``momentum`` is plain SGD, ``sgd`` is Nesterov's."""

    name: str = "momentum"
    """timm's name: ``momentum`` is plain SGD, ``sgd`` is Nesterov's, ``adamw`` ..."""
    lr: float = Field(gt=0)
    """Learning rate at the start, after warm-up."""
    lr_batch_size: int | None = Field(None, ge=1)
    """The batch size that ``lr`` is for: it is scaled in proportion to ``train.batch_size`` (the
    linear rule of Goyal et al. 2017, Sec. 2.1). None: ``lr`` as it is. The number of devices never
    changes it, since the batch size counts the images of all devices."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of optimizers that have one."""
    weight_decay: float = Field(0.0, ge=0)
    """As timm's optimizer applies it."""
    decay_norm_and_bias: bool = True
    """False: no weight decay on biases and normalisation layers."""
    clip_grad_norm: float | None = Field(None, gt=0)
    """Largest norm of the gradient of a step; None: not clipped."""

    def at(self, batch_size: int) -> OptimizerConfig:
        """The same with the learning rate for so many images a step, over all devices."""
        scale = 1.0 if self.lr_batch_size is None else batch_size / self.lr_batch_size
        return self.model_copy(update={"lr": scale * self.lr, "lr_batch_size": None})


class ScheduleConfig(Closed):
    """Learning rate over epochs."""

    name: Literal["multistep", "cosine", "constant"] = "cosine"
    """Its shape after warm-up."""
    milestones: tuple[int, ...] = ()
    """``multistep``: the last epoch (from 1) before each drop, as RepDistiller counts."""
    decay_rate: float = Field(0.1, gt=0, le=1)
    """``multistep``: the rate is multiplied by it at each milestone."""
    warmup_epochs: int = Field(0, ge=0)
    """Epochs in which the rate rises to its start."""
    warmup_lr: float = Field(1e-5, ge=0)
    """Where that rise begins."""
    min_lr: float = Field(0.0, ge=0)
    """``cosine``: where it ends."""


Precision = Literal["32-true", "tf32", "bf16-mixed", "16-mixed"]


class TrainConfig(Closed):
    """The loop."""

    epochs: int = Field(ge=1)
    """Passes over the training images."""
    batch_size: int = Field(64, ge=2)
    """Images per optimizer step over all devices."""
    eval_every: int = Field(1, ge=1)
    """Evaluate after every so many epochs; the last epoch always."""
    precision: Precision = "32-true"
    """``32-true`` is float32 on GPUs, too; ``tf32`` lets their tensor cores round the factors of
    products to 10 bits, as torch's default does in convolutions. ``bf16-mixed`` and ``16-mixed``
    compute the networks in half precision, on CPUs too; methods get float32 outputs and compute in
    it. ``16-mixed`` scales the loss, each run by itself, and leaves out steps that overflow."""
    channels_last: bool = False
    """Always; without it, where it pays (see ``Runtime.fast``)."""
    batch_norm: Literal["global", "local"] = "global"
    """With several devices: statistics over the images of all, so that their number changes no
    result, or of each device apart, which saves communication and depends on their number."""


class RunConfig(Closed):
    """One training run."""

    data: DataConfig
    student: ModelConfig
    teacher: TeacherConfig | None = None
    method: MethodSpec
    optimizer: OptimizerConfig
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig
    seed: int = Field(0, ge=0)

    @field_validator("method", mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _teacher_if_used(self) -> Self:
        uses_teacher = methods.find(self.method.name).uses_teacher
        if uses_teacher != (self.teacher is not None):
            verb = "needs a" if uses_teacher else "takes no"
            raise ValueError(f"method {self.method.name!r} {verb} teacher")
        return self

    @cached_property
    def run_id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the canonical JSON of this config."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class RunSpec(Closed):
    """A run and its place: what ``config.json`` in the run directory holds."""

    config: RunConfig
    experiment: str
    role: Literal["teacher", "student"] = "student"
    label: str
    """The row of the table: the method, with its variant if there are several."""
    recipe: str = "custom"

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


class Runtime(Closed):
    """How and where to run; nothing here changes a result beyond floating-point order."""

    runs_root: Path = Path("runs")
    data_root: Path = Path("data")
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = Field(1, ge=1)
    nodes: int = Field(1, ge=1)
    threads: int | None = Field(None, ge=1)
    """CPU threads of torch in one run. Their number changes the last bits of sums on a CPU, so None
    is one thread there, however a run is started and whatever else the machine trains; several
    runs train side by side instead. Beside a GPU None leaves torch's choice."""
    fast: bool = True
    """What changes no number beyond floating-point order: the frozen teacher's batch normalisation
    folded into its convolutions, channels_last where it pays, the optimizer in one kernel."""
    pack: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = "auto"
    """At most so many runs that share images, order and teacher train side by side in one process.
    ``auto``: 8 on a GPU, 4 on a CPU, fewer where that would leave workers idle; image folders 1."""
    graphs: bool = True
    """One GPU: whole steps are recorded and replayed as CUDA graphs, where the method allows it."""
    deterministic: bool = True
    """Deterministic kernels, so that a resumed run ends with the same bits: on a CPU always, on a
    GPU where every operation has one (the record says so, see ``docs/run_store.md``)."""
    workers: int = Field(4, ge=0)
    """Data-loading processes (image folders only)."""
    checkpoint_seconds: float = Field(60.0, ge=0)
    """Save at the end of the first step after so many seconds, and after the last epoch."""
    feature_epochs: int = Field(6, ge=0)
    """Keep the student's features after so many epochs before the last, for the plots of the gap
    over training (a run's files grow by 8 kB per feature and epoch); 0: only at the end."""
    tracker: Literal["wandb", "none"] = "wandb"

    @property
    def data_cache(self) -> Path:
        """What is known of large image folders; no experiment has a name with a dot before it."""
        return self.runs_root / ".data"


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
