"""An experiment becomes a list of runs: teachers, each once, then the students.

Later sources win: recipe, the model's own entry, the experiment, its ``teacher`` section (teachers
only), settings that a search chose, the options of a row, the command line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from pathlib import Path
from typing import Any

from suite import data, methods
from suite.config import ConfigError, RunSpec, Runtime, parse
from suite.interface.errors import UserError, brief, listed
from suite.methods.combine import LABEL_WEIGHT
from suite.models import check_name
from suite.names import TEACHERS
from suite.store.record import write_json
from sweeps.plan import files, overrides
from sweeps.plan.experiment import SECTIONS, Experiment, ModelEntry, Recipe, load_recipe
from sweeps.plan.manifest import manifest_path as manifest_path
from sweeps.plan.manifest import stem, tokens
from sweeps.plan.tuned import Tuned
from sweeps.plan.tuned import read as read_tuned

TEACHER_METHOD = "scratch"  # a teacher is trained with labels alone


@dataclass(frozen=True)
class Planned:
    """A run and the cell of the table it fills."""

    spec: RunSpec
    pair: str  # TEACHER/STUDENT as the experiment names them; "" for a teacher run
    tuned: dict[str, Any] | None = None  # how its settings were chosen, if by a search


@dataclass(frozen=True)
class Plan:
    """All runs of an experiment."""

    experiment: str
    settings: tuple[str, ...]  # overrides from the command line
    note: str  # the comment that opens the experiment's file
    cells: tuple[Planned, ...]

    @property
    def runs(self) -> tuple[RunSpec, ...]:
        """Every run once, teachers first."""
        unique = {(cell.spec.experiment, cell.spec.run_id): cell.spec for cell in self.cells}
        return tuple(sorted(unique.values(), key=lambda spec: spec.role != "teacher"))

    def manifest_path(self, runs_root: Path) -> Path:
        """``runs/<experiment>/manifest.json``, or ``manifest-<hash>.json`` with overrides."""
        return manifest_path(self.experiment, self.settings, runs_root)

    def write_manifest(self, runs_root: Path) -> Path:
        """Write the manifest, the list of runs the experiment expects; returns its path."""
        path = self.manifest_path(runs_root)
        quoted = f" SET='{' '.join(self.settings)}'" if self.settings else ""
        write_json(
            path,
            {
                "experiment": self.experiment,
                "command": f"make sweep EXP={self.experiment}{quoted}",
                "note": self.note,
                "dataset": self.cells[0].spec.config.data.name,
                "runs": [_manifest_row(cell) for cell in self.cells],
            },
        )
        return path


def expand(experiment: str, settings: Sequence[str] = (), runtime: Runtime | None = None) -> Plan:
    """The plan of an experiment (shipped name or path). Raises :class:`UserError`, all faults.

    ``runtime`` says where the data are: which images an image folder holds is part of its runs.
    Without it they are not looked at, and runs of image folders are incomplete.
    """
    changes, options = overrides.read(settings)
    content = files.merge(files.read("experiments", experiment), changes)
    return Plan(
        experiment=stem(experiment),
        settings=tuple(tokens(settings)),
        note=note_of(files.source("experiments", experiment).read_text()),
        cells=tuple(expand_content(content, stem(experiment), changes, options, runtime)),
    )


def expand_content(
    content: dict[str, Any],
    name: str,
    changes: dict[str, Any] | None = None,
    options: dict[str, dict[str, Any]] | None = None,
    runtime: Runtime | None = None,
) -> list[Planned]:
    """The cells of an experiment given as plain data. Raises :class:`UserError`, all faults.

    ``changes`` (part of ``content`` already) and ``options`` of methods win over everything else.
    ``runtime`` as in :func:`expand`.
    """
    wanted = parse(Experiment, content, f"experiment {name}")
    recipe = load_recipe(wanted.recipe)
    methods_ = [entry.name for entry in wanted.methods]
    tuned = {} if wanted.tuned is None else read_tuned(wanted.tuned, methods_)
    return _Expander(wanted, recipe, changes or {}, options or {}, name, tuned, runtime).cells()


@dataclass(frozen=True)
class _Expander:
    experiment: Experiment
    recipe: Recipe
    changes: dict[str, Any]  # from the command line, over everything else
    options: dict[str, dict[str, Any]]  # from the command line, method -> options
    name: str
    tuned: dict[str, Tuned]
    runtime: Runtime | None
    contents: dict[str, Any] = field(default_factory=dict)  # data set -> what its folder holds

    def cells(self) -> list[Planned]:
        """All cells; names are checked first so that every fault is told at once."""
        self._check_names()
        teachers = {pair: self._teacher(pair.split("/")[0]) for pair in self.experiment.pairs}
        once = {spec.run_id: spec for spec in teachers.values() if spec is not None}
        found = [Planned(spec, "") for spec in once.values()]
        for pair in self.experiment.pairs:
            for entry in self.experiment.methods:
                for seed in self.experiment.seeds:
                    spec = self._student(pair, entry.name, entry, seed, teachers[pair])
                    tuned = self.tuned.get(entry.name)
                    found.append(Planned(spec, pair, tuned.mark() if tuned else None))
        return found

    def _check_names(self) -> None:
        faults = []
        for check in self._checks():
            try:
                check()
            except UserError as fault:
                faults.append(str(fault))
        labels = [entry.label or entry.name for entry in self.experiment.methods]
        twice = [label for label, times in Counter(labels).items() if times > 1]
        faults += [f"methods: label {brief(label)} twice" for label in sorted(twice)]
        teachers = {pair.split("/")[0] for pair in self.experiment.pairs}
        faults += [
            f"models.{name}: pretrained and checkpoint are for teachers, and no pair has {name} as "
            "its teacher; a student starts from its seed's random weights"
            for name, entry in self.experiment.models.items()
            if (entry.checkpoint is not None or entry.pretrained) and name not in teachers
        ]
        stray = sorted(set(self.options) - {entry.name for entry in self.experiment.methods})
        faults += [f"{name}: options given, but it is not among the methods" for name in stray]
        if faults:
            raise ConfigError(listed(f"experiment {self.name}", faults))

    def _checks(self) -> list[Any]:
        models = [name for pair in self.experiment.pairs for name in pair.split("/")]
        dataset = self._layers(ModelEntry(), teacher=False)["data"].get("name")
        return [
            *(partial(methods.find, entry.name) for entry in self.experiment.methods),
            *(partial(check_name, self._entry(name).name or name) for name in models),
            partial(self._contents, dataset),
        ]

    def _contents(self, dataset: Any) -> Any:
        """What identifies the images of an image folder; None for other sets."""
        runtime = self.runtime
        if runtime is None:
            data.check_name(dataset)
            return None
        if dataset not in self.contents:
            found = data.identify(dataset, runtime.data_root, runtime.data_cache)
            self.contents[dataset] = found
        return self.contents[dataset]

    def _teacher(self, name: str) -> RunSpec | None:
        """The run that trains a teacher; None when its weights come from elsewhere."""
        entry = self._entry(name)
        if entry.pretrained or entry.checkpoint is not None:
            return None
        if all(not methods.find(m.name).uses_teacher for m in self.experiment.methods):
            return None
        config = {
            **self._sections(entry, teacher=True),
            "student": {"name": entry.name or name, "options": entry.options},
            "method": {"name": TEACHER_METHOD},
            "seed": self.experiment.teacher_seed,
        }
        values = {
            "config": config,
            "experiment": TEACHERS,
            "role": "teacher",
            "label": name,
            "recipe": self.experiment.recipe,
        }
        return parse(RunSpec, values, f"experiment {self.name}, teacher {name}")

    def _recipe_options(self, pair: str, method: str) -> dict[str, Any]:
        """What the recipe sets for a method; for a combination also what it sets for the parts."""
        own: dict[str, Any] = files.merge(
            self.recipe.methods.get(method, {}), self.recipe.pairs.get(pair, {}).get(method, {})
        )
        parts = methods.parts(method)
        if len(parts) == 1:
            return own
        inherited = {part: self._recipe_options(pair, part) for part in parts}
        for part in parts[1:]:  # the labels count once, see suite.methods.combine
            inherited[part].pop(LABEL_WEIGHT, None)
        combined: dict[str, Any] = files.merge(inherited, own)
        return combined

    def _student(
        self, pair: str, method: str, entry: Any, seed: int, teacher: RunSpec | None
    ) -> RunSpec:
        teacher_name, student_name = pair.split("/")
        student = self._entry(student_name)
        tuned = self.tuned.get(method)
        options = reduce(
            files.merge,
            [
                self._recipe_options(pair, method),
                tuned.options if tuned else {},
                entry.options,
                self.options.get(method, {}),
            ],
        )
        config = {
            **self._sections(student, teacher=False, tuned=tuned),
            "student": {"name": student.name or student_name, "options": student.options},
            "method": {"name": method, "options": options},
            "seed": seed,
        }
        if methods.find(method).uses_teacher:
            config["teacher"] = self._teacher_config(teacher_name, teacher)
        values = {
            "config": config,
            "experiment": self.name,
            "label": entry.label or method,
            "recipe": self.experiment.recipe,
        }
        where = f"experiment {self.name}, {entry.label or method} on {pair}"
        return parse(RunSpec, values, where)

    def _teacher_config(self, name: str, teacher: RunSpec | None) -> dict[str, Any]:
        entry = self._entry(name)
        model = {"name": entry.name or name, "options": entry.options}
        if teacher is not None:
            return {**model, "run_id": teacher.run_id}
        return {**model, "pretrained": entry.pretrained, "checkpoint": entry.checkpoint}

    def _entry(self, name: str) -> ModelEntry:
        models = {**self.recipe.models, **self.experiment.models}
        return models.get(name, ModelEntry())

    def _sections(
        self, entry: ModelEntry, *, teacher: bool, tuned: Tuned | None = None
    ) -> dict[str, Any]:
        """The sections of a run, with what its image folder holds."""
        found = self._layers(entry, teacher=teacher, tuned=tuned)
        if "contents" in found["data"]:
            raise ConfigError("data.contents: is found from the images; leave it out")
        contents = self._contents(found["data"].get("name"))
        return found if contents is None else files.merge(found, {"data": {"contents": contents}})

    def _layers(
        self, entry: ModelEntry, *, teacher: bool, tuned: Tuned | None = None
    ) -> dict[str, Any]:
        layers = [
            self.recipe.as_dict(),
            {section: getattr(entry, section) for section in SECTIONS},
            self.experiment.as_dict(),
            self.experiment.teacher.as_dict() if teacher else {},
            tuned.sections() if tuned else {},
            {} if teacher else {key: self.changes[key] for key in SECTIONS if key in self.changes},
            self._teacher_changes() if teacher else {},
        ]
        return dict(reduce(files.merge, layers))

    def _teacher_changes(self) -> dict[str, Any]:
        """Command-line changes act on teachers too, but ``teacher.train.epochs`` goes before."""
        general = {key: self.changes[key] for key in SECTIONS if key in self.changes}
        return dict(files.merge(general, self.changes.get("teacher", {})))


def _manifest_row(cell: Planned) -> dict[str, Any]:
    spec, config = cell.spec, cell.spec.config
    teacher, contents = config.teacher, config.data.contents
    return {
        "run_id": spec.run_id,
        "directory": f"{spec.experiment}/{spec.run_id}",
        "role": spec.role,
        "label": spec.label,
        "method": config.method.name,
        "teacher": teacher.name if teacher else None,
        "student": config.student.name,
        "pair": cell.pair,
        "recipe": spec.recipe,
        "seed": config.seed,
        "planned_epochs": config.train.epochs,
        "contents": None if contents is None else contents.sha256,
        "teacher_run_id": teacher.run_id if teacher else None,
        "tuned": cell.tuned,
    }


def note_of(text: str) -> str:
    """The comment lines at the top of the file; commands stay indented."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").removeprefix(" ").rstrip())
    return "\n".join(lines)
