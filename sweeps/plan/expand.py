"""An experiment becomes a list of runs: teachers, each once, then the students.

Later sources win: recipe, the model's own entry, the experiment, its ``teacher`` section (teachers
only), settings that a search chose, what a row says, the command line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import chain
from typing import Any

from suite import data, methods
from suite.config import SECTIONS, Columns, ConfigError, RunSpec, Runtime, parse
from suite.interface.errors import UserError, brief, listed
from suite.methods.combine import LABEL_WEIGHT
from suite.models import check_name
from suite.names import TEACHERS
from sweeps.plan import files, networks, overrides
from sweeps.plan.experiment import Experiment, MethodEntry, ModelEntry, Recipe, load_recipe
from sweeps.plan.manifest import stem, tokens
from sweeps.plan.networks import Team
from sweeps.plan.runs import Plan, Planned
from sweeps.plan.tuned import Tuned
from sweeps.plan.tuned import read as read_tuned

TEACHER_METHOD = "scratch"  # a teacher is trained with labels alone


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
    contents: dict[Any, Any] = field(default_factory=dict)  # data set, columns -> its images
    trained: dict[str, RunSpec] = field(default_factory=dict)  # run id -> the teacher's run

    def cells(self) -> list[Planned]:
        """All cells; names are checked first so that every fault is told at once."""
        self._check_names()
        names = dict.fromkeys(pair.split("/")[0] for pair in self.experiment.pairs)
        teachers = {name: self._teachers(name) for name in names}
        trained = [spec for teams in teachers.values() for team in teams for spec in team if spec]
        above = [self.trained[run_id] for spec in trained for run_id in reversed(spec.ancestors)]
        own = [self.trained[run_id] for spec in trained for run_id in networks.teachers_of(spec)]
        once = {spec.run_id: spec for spec in [*above, *own, *trained]}
        planned = [Planned(spec, "") for spec in once.values()]
        chosen_on = {**self.recipe.chosen_on, **self.experiment.chosen_on}
        for pair in self.experiment.pairs:
            for entry in self.experiment.methods:
                taught = methods.find(entry.name).uses_teacher
                tuned = self.tuned.get(entry.name)
                mark = tuned.mark() if tuned else None
                for team in teachers[pair.split("/")[0]] if taught else [()]:
                    planned += [
                        Planned(
                            self._student(pair, entry, seed, team),
                            pair,
                            mark,
                            chosen_on.get(entry.name),
                        )
                        for seed in self.experiment.seeds
                    ]
        return planned

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
        firsts, lasts = zip(*(pair.split("/") for pair in self.experiment.pairs), strict=True)
        teachers = {above for name in firsts for above in (name, *self._above(name))}
        faults += [
            f"pairs: {name} is an ensemble, which teaches and is not trained"
            for name in dict.fromkeys(lasts)
            if self._entry(name).ensemble
        ]
        faults += [
            f"models.{name}: pretrained and checkpoint are for teachers, and no pair has {name} as "
            "its teacher; fine_tune: true starts a student from them, else it starts from its "
            "seed's random weights"
            for name, entry in self.experiment.models.items()
            if entry.frozen and name not in teachers
        ]
        stray = sorted(set(self.options) - {entry.name for entry in self.experiment.methods})
        faults += [f"{name}: options given, but it is not among the methods" for name in stray]
        if faults:
            raise ConfigError(listed(f"experiment {self.name}", faults))

    def _checks(self) -> list[Any]:
        models = [name for pair in self.experiment.pairs for name in pair.split("/")]
        teachers = [pair.split("/")[0] for pair in self.experiment.pairs]
        models += [name for teacher in teachers for name in self._above(teacher)]
        single = [name for name in models if not self._entry(name).ensemble]
        images = self._layers(ModelEntry(), teacher=False)["data"]
        return [
            *(partial(methods.find, entry.name) for entry in self.experiment.methods),
            *(partial(self._taught, name) for name in dict.fromkeys(models)),
            *(partial(check_name, self._entry(name).name or name) for name in single),
            *(partial(self._initial, name) for name in dict.fromkeys(models)),
            partial(self._contents, images),
        ]

    def _above(self, name: str) -> list[str]:
        """All networks that it learns from or consists of; itself too where it teaches itself."""
        above, waiting = [], [name]
        while waiting:
            entry = self._entry(waiting.pop(0))
            teachers = [*entry.ensemble, *filter(None, [entry.teacher])]
            unseen = [name for name in teachers if name not in above]
            above += unseen
            waiting += unseen
        return above

    def _taught(self, name: str) -> None:
        """Raise :class:`ConfigError` for a network that cannot be taught as its entry says."""
        entry, above = self._entry(name), self._above(name)
        if name in above:
            raise ConfigError(f"models.{name}: teaches itself ({' <- '.join([name, *above])})")
        nested = [member for member in entry.ensemble if self._entry(member).ensemble]
        if nested:
            raise ConfigError(f"models.{name}.ensemble: {nested[0]} is itself an ensemble")
        if entry.teacher is None:
            return
        if not methods.find(entry.method.name).uses_teacher:
            raise ConfigError(f"models.{name}.method {entry.method.name}: takes no teacher")

    def _initial(self, name: str) -> None:
        entry = self._entry(name)
        if entry.fine_tune:
            networks.initial(entry.name or name, entry)

    def _contents(self, section: dict[str, Any]) -> Any:
        """What identifies the images of an image folder; None for other sets."""
        runtime = self.runtime
        dataset: Any = section.get("name")
        if runtime is None:
            data.check_name(dataset)
            return None
        key = (dataset, Columns.of(section))
        if key not in self.contents:
            places = (runtime.data_root, runtime.data_cache)
            self.contents[key] = data.identify(dataset, *places, key[1])
        return self.contents[key]

    def _teachers(self, name: str) -> list[Team]:
        """The runs that train a teacher, one team a seed, one in all where no run trains it.

        Empty when no method has a teacher.
        """
        if all(not methods.find(m.name).uses_teacher for m in self.experiment.methods):
            return []
        entry = self._entry(name)
        if entry.frozen:
            return [(None,)]
        if entry.ensemble:
            teams = [self._teachers(member) for member in entry.ensemble]
            most = max(map(len, teams))
            per_seed = [team if len(team) == most else team * most for team in teams]
            return [tuple(chain(*members)) for members in zip(*per_seed, strict=True)]
        seeds = self.experiment.seeds_of_teachers
        uppers = [()] if entry.teacher is None else self._teachers(entry.teacher)
        uppers = uppers if len(uppers) == len(seeds) else uppers * len(seeds)
        return [
            (self._teacher(name, entry, seed, upper),)
            for seed, upper in zip(seeds, uppers, strict=True)
        ]

    def _teacher(self, name: str, entry: ModelEntry, seed: int, upper: Team) -> RunSpec:
        """The run that trains a teacher, by labels alone or taught by ``upper``."""
        sections = self._sections(entry, teacher=True)
        dataset = sections["data"]["name"]
        config = {
            **sections,
            "student": networks.student(name, entry, dataset),
            "method": {"name": TEACHER_METHOD},
            "seed": seed,
        }
        if entry.teacher is not None:
            method = entry.method.name
            options = self._recipe_options(f"{entry.teacher}/{name}", method)
            options = files.merge(options, entry.method.options)
            config["method"] = {"name": method, "options": options}
            config["teacher"] = self._taught_by(entry.teacher, dataset, upper)
        values = {
            "config": config,
            "experiment": TEACHERS,
            "role": "teacher",
            "label": name,
            "recipe": self.experiment.recipe,
            **networks.descent(upper),
        }
        spec = parse(RunSpec, values, f"experiment {self.name}, teacher {name}")
        return self.trained.setdefault(spec.run_id, spec)

    def _taught_by(self, name: str, dataset: str, team: Team) -> dict[str, Any]:
        """What a run says of its teacher, which the runs of the team train."""
        members = self._entry(name).ensemble or [name]
        each = [
            networks.teacher(member, self._entry(member), dataset, run)
            for member, run in zip(members, team, strict=True)
        ]
        return networks.ensemble(each) if len(each) > 1 else each[0]

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

    def _student(self, pair: str, entry: MethodEntry, seed: int, team: Team) -> RunSpec:
        method = entry.name
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
        of_row = tuned.sections() if tuned else {}, entry.as_dict()
        sections = self._sections(student, *of_row, teacher=False)
        dataset = sections["data"]["name"]
        config = {
            **sections,
            "student": networks.student(student_name, student, dataset),
            "method": {"name": method, "options": options},
            "seed": seed,
        }
        if methods.find(method).uses_teacher:
            config["teacher"] = self._taught_by(teacher_name, dataset, team)
        values = {
            "config": config,
            "experiment": self.name,
            "label": entry.label or method,
            "recipe": self.experiment.recipe,
            **networks.descent(team),
        }
        where = f"experiment {self.name}, {entry.label or method} on {pair}"
        return parse(RunSpec, values, where)

    def _entry(self, name: str) -> ModelEntry:
        models = {**self.recipe.models, **self.experiment.models}
        return models.get(name, ModelEntry())

    def _sections(self, entry: ModelEntry, *own: dict[str, Any], teacher: bool) -> dict[str, Any]:
        """The sections of a run, with its row's ``own`` and what its image folder holds."""
        sections = self._layers(entry, *own, teacher=teacher)
        if "contents" in sections["data"]:
            raise ConfigError("data.contents: is found from the images; leave it out")
        contents = self._contents(sections["data"])
        if contents is None:
            return sections
        return dict(files.merge(sections, {"data": {"contents": contents}}))

    def _layers(self, entry: ModelEntry, *own: dict[str, Any], teacher: bool) -> dict[str, Any]:
        layers = [
            self.recipe.as_dict(),
            {section: getattr(entry, section) for section in SECTIONS},
            self.experiment.as_dict(),
            self.experiment.teacher.as_dict() if teacher else {},
            *own,
            {} if teacher else {key: self.changes[key] for key in SECTIONS if key in self.changes},
            self._teacher_changes() if teacher else {},
        ]
        return dict(reduce(files.merge, layers))

    def _teacher_changes(self) -> dict[str, Any]:
        """Command-line changes act on teachers too, but ``teacher.train.epochs`` goes before."""
        general = {key: self.changes[key] for key in SECTIONS if key in self.changes}
        return dict(files.merge(general, self.changes.get("teacher", {})))


def note_of(text: str) -> str:
    """The comment lines at the top of the file; commands stay indented."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").removeprefix(" ").rstrip())
    return "\n".join(lines)
