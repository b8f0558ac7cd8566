"""What a recipe and an experiment may say: closed, so that a misspelt key is refused."""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import prod
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from suite.config import SECTIONS, Closed, ConfigError, Named, Normalisation, parse
from suite.interface.errors import brief, shortened
from sweeps.plan import files

Section = dict[str, Any]
Images = Literal["validation", "test", "published"]
MOST_RUNS = 10_000
"""Of one experiment: ten times the largest table that the field prints (13 pairs, 16 methods, 5
seeds); this many are laid out in half a minute."""


class TaughtBy(Closed):
    """A method by name, with options that differ from the recipe's."""

    name: str
    options: Section = {}


class ModelEntry(Closed):
    """A network under a short name, with what its training needs."""

    name: str | None = None
    """timm's name; None when the entry's own name is that."""
    options: Section = {}
    """Further arguments of ``timm.create_model`` (``img_size``, ``widths`` ...)."""
    pretrained: bool = False
    """As a teacher: take timm's pretrained weights instead of training."""
    checkpoint: str | None = None
    """As a teacher: take the weights in this file instead of training."""
    fine_tune: bool = False
    """Train it, as teacher or student, and start from those weights; with other classes than
    theirs it gets a new classifier."""
    ensemble: list[str] = []
    """Instead of all else: a teacher made of these, each another of ``models`` or a timm name. It
    gives the mean of their logits, for methods that read no features."""
    teacher: str | None = None
    """As a teacher: it is itself taught by this network, another of ``models`` or a timm name (a
    teacher assistant)."""
    method: Named[TaughtBy] = TaughtBy(name="kd")
    """With ``teacher``: how it is taught; a name, or a name with options."""
    normalisation: Literal["data", "network"] | Normalisation | None = None
    """What the network sees its images normalised with: as the data set is (``data``), as timm's
    weights of it were (``network``), or ``{mean: [...], std: [...]}``. None: ``network`` where its
    weights come from elsewhere and timm knows it, else ``data``."""
    data: Section = {}
    """Fields of the section for runs that train this network; so the three below."""
    optimizer: Section = {}
    """Fields of the section."""
    schedule: Section = {}
    """Fields of the section."""
    train: Section = {}
    """Fields of the section."""

    @model_validator(mode="after")
    def _ensemble_alone(self) -> Self:
        if not self.ensemble:
            return self
        if len(set(self.ensemble)) < max(2, len(self.ensemble)):
            raise ValueError(f"ensemble {self.ensemble}: needs two or more networks, each once")
        others = sorted(self.model_fields_set - {"ensemble"})
        if others:
            raise ValueError(f"ensemble: goes with no other field (given: {', '.join(others)})")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.teacher is not None and self.frozen:
            raise ValueError(
                "teacher: a network with weights of its own is not taught, unless it has "
                "fine_tune: true"
            )
        if self.pretrained and self.checkpoint is not None:
            raise ValueError("pretrained, checkpoint: give one of them")
        if self.fine_tune and not self.from_elsewhere:
            raise ValueError("fine_tune: needs pretrained: true or checkpoint: FILE to start from")
        return self

    @property
    def from_elsewhere(self) -> bool:
        """Whether it has weights before anything is trained."""
        return self.pretrained or self.checkpoint is not None

    @property
    def frozen(self) -> bool:
        """Whether it teaches with these weights as they are."""
        return self.from_elsewhere and not self.fine_tune


class Sections(Closed):
    """Overrides of the sections of a run."""

    data: Section = {}
    """Fields of the section; so the three below."""
    optimizer: Section = {}
    """Fields of the section."""
    schedule: Section = {}
    """Fields of the section."""
    train: Section = {}
    """Fields of the section."""

    def as_dict(self) -> dict[str, Section]:
        """The sections alone."""
        return {name: getattr(self, name) for name in SECTIONS}


class Recipe(Sections):
    """How networks are trained: shared by experiments."""

    extends: str | None = None
    """Another recipe, by name or path, that this one changes."""
    models: dict[str, ModelEntry] = {}
    """Name -> network and what its training needs."""
    methods: dict[str, Section] = {}
    """Method -> options that differ from the method's own defaults."""
    pairs: dict[str, dict[str, Section]] = {}
    """TEACHER/STUDENT -> method -> options."""
    chosen_on: dict[str, Images] = {}
    """Method -> on which images its settings were chosen by hand: ``validation``, ``test``, or
    ``published`` for those of its authors. Stands below the tables; changes no run."""

    @field_validator("models", mode="before")
    @classmethod
    def _empty_entries(cls, value: Any) -> Any:
        return {k: v or {} for k, v in value.items()} if isinstance(value, dict) else value


class MethodEntry(Sections):
    """One row of the table: a method, possibly with other options and a label of its own. Its
    sections are for this row alone: ``{name: dkd, label: dkd+dot, optimizer: {name: dot, delta:
    0.075}}``. Rows with another ``data`` section are not paired image by image."""

    name: str
    """A method, or several joined by ``+``."""
    label: str | None = None
    """Of the row; None: the method's name. Each label once."""
    options: Section = {}
    """The method's options (``dskd-bench methods`` lists them). Instead of one value, ``grid``
    beside ``name`` gives lists: ``{name: kd, grid: {temperature: [2, 4]}}`` is a row for each
    point."""


def _rows_of(item: Any) -> list[Any]:
    if isinstance(item, str):
        return [{"name": item}]
    if not isinstance(item, dict) or "grid" not in item:
        return [item]
    axes = item["grid"]
    if not isinstance(axes, dict) or not all(isinstance(v, list) and v for v in axes.values()):
        raise ValueError(f"grid: must be OPTION: [VALUE, ...] (given: {brief(axes)})")
    size = prod(map(len, axes.values()))
    if size > MOST_RUNS:
        raise ValueError(f"grid: {size:,} points; at most {MOST_RUNS:,}")
    row = {key: value for key, value in item.items() if key != "grid"}
    points = (dict(zip(axes, values, strict=True)) for values in product(*axes.values()))
    head = str(item.get("label") or item.get("name"))
    return [
        {
            **row,
            "label": " ".join([head, *(f"{key}={value}" for key, value in point.items())]),
            "options": {**item.get("options", {}), **point},
        }
        for point in points
    ]


class Experiment(Sections):
    """Recipe x pairs x methods x seeds."""

    recipe: str
    """How networks are trained: a recipe that ships, or a path to your own."""
    pairs: list[str] = Field(min_length=1)
    """``TEACHER/STUDENT``: timm names or names of the recipe's or experiment's models."""
    methods: list[MethodEntry] = Field(min_length=1)
    """The rows of the table; a name alone is a row with the recipe's options."""
    seeds: list[int] = Field(min_length=1)
    """Every row is trained once with each."""
    teacher_seed: int = Field(0, ge=0)
    """One teacher for all seeds of the students, as the field does it."""
    teacher_seeds: list[int] | None = Field(None, min_length=1)
    """Instead of ``teacher_seed``: several teachers of each architecture. Every row that has a
    teacher is trained with each of them and each of ``seeds``."""
    teacher: Sections = Sections()
    """Overrides for teacher runs only."""
    models: dict[str, ModelEntry] = {}
    """Networks beside the recipe's, or in place of them, under a short name for ``pairs``."""
    chosen_on: dict[str, Images] = {}
    """As the recipe's, over it."""
    tuned: str | None = None
    """Settings of the methods that this search tuned (``tuned/<search>``, or a folder's
    path); a row's own options win."""

    @field_validator("methods", mode="before")
    @classmethod
    def _rows(cls, value: Any) -> Any:
        """A name alone is a row; a ``grid`` is a row for each of its points."""
        if not isinstance(value, list):
            return value
        return [row for item in value for row in _rows_of(item)]

    @field_validator("pairs")
    @classmethod
    def _two_names(cls, value: list[str]) -> list[str]:
        for pair in value:
            if pair.count("/") != 1 or not all(pair.split("/")):
                raise ValueError(f"{brief(pair)}: a pair is written TEACHER/STUDENT")
        return value

    @field_validator("pairs", "seeds", "teacher_seeds")
    @classmethod
    def _each_once(cls, value: list[Any] | None) -> list[Any] | None:
        twice = [str(item) for item, times in sorted(Counter(value or ()).items()) if times > 1]
        if twice:
            raise ValueError(f"{shortened(', '.join(twice))}: given more than once")
        return value

    @model_validator(mode="after")
    def _one_way_to_say_teacher_seeds(self) -> Self:
        if self.teacher_seeds is not None and "teacher_seed" in self.model_fields_set:
            raise ValueError("teacher_seed, teacher_seeds: give one of them")
        return self

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        counts = {"pairs": len(self.pairs), "methods": len(self.methods), "seeds": len(self.seeds)}
        if self.teacher_seeds is not None:
            counts["teacher_seeds"] = len(self.teacher_seeds)
        runs = prod(counts.values())
        if runs > MOST_RUNS:
            sizes = " x ".join(f"{count:,} {what}" for what, count in counts.items())
            raise ValueError(f"{sizes} are {runs:,} runs; at most {MOST_RUNS:,}")
        return self

    @property
    def seeds_of_teachers(self) -> list[int]:
        """Of ``teacher_seeds`` or ``teacher_seed``, whichever was given."""
        return [self.teacher_seed] if self.teacher_seeds is None else self.teacher_seeds


def load_recipe(name: str) -> Recipe:
    """A recipe with everything it extends. Raises :class:`suite.interface.errors.UserError`."""
    content, chain = files.read("recipes", name), [name]
    while content.get("extends") is not None:
        parent = str(content.pop("extends"))
        if parent in chain:
            raise ConfigError(f"recipe {name}: extends itself ({' -> '.join([*chain, parent])})")
        chain.append(parent)
        content = files.merge(files.read("recipes", parent), content)
    return parse(Recipe, content, f"recipe {name}")
