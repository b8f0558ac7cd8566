"""A search becomes, for every method, a space and the runs that a trial needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

from optuna.distributions import CategoricalDistribution

from suite import methods
from suite.config import ConfigError, RunSpec, Runtime, parse
from suite.interface.errors import UserError, listed
from sweeps.plan import files, overrides
from sweeps.plan.expand import expand_content, note_of
from sweeps.plan.manifest import stem, tokens
from sweeps.search import space as spaces
from sweeps.search.experiment import Search, method_entries
from sweeps.search.space import Space

VALIDATION_ONLY = {"eval_splits": ["val"]}


@dataclass(frozen=True)
class Tuning:
    """The search of one method."""

    search: str
    settings: Search
    method: str
    space: Space
    templates: tuple[RunSpec, ...]  # one per seed and teacher, with the usual options

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that makes trials comparable: another one is another study."""
        content = {
            "space": spaces.fingerprint(self.space),
            "runs": [spec.run_id for spec in self.templates],
            "sampler": self.settings.sampler.model_dump(mode="json"),
            "pruner": self.settings.pruner.model_dump(mode="json"),
            "objective": self.settings.objective.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def study_name(self) -> str:
        """``<search>/<method>@<fingerprint>``."""
        return f"{self.search}/{self.method}@{self.fingerprint}"

    @property
    def epochs(self) -> int:
        """Of a trial that is not pruned."""
        return self.templates[0].config.train.epochs

    def specs(self, params: Mapping[str, Any]) -> tuple[RunSpec, ...]:
        """The runs of a trial, one per seed. Raises ``ConfigError`` if the values clash."""
        sections = spaces.fields(params)
        fields = {"method": {"options": sections.pop("options")}, **sections}
        specs = []
        for template in self.templates:
            values = files.merge(template.model_dump(mode="json"), {"config": fields})
            specs.append(parse(RunSpec, values, f"{self.search}, {self.method}"))
        return tuple(specs)

    def defaults(self) -> dict[str, Any]:
        """The usual values of what is searched, without those outside their range."""
        config = self.templates[0].config.model_dump(mode="json")
        usual = config | {"options": config["method"]["options"]}
        defaults = {}
        for name, distribution in self.space.items():
            value = reduce(lambda inside, key: inside[key], spaces.place(name), usual)
            if spaces.contains(distribution, value):
                defaults[name] = value
        return defaults


@dataclass(frozen=True)
class SearchPlan:
    """All of a search."""

    name: str
    source: str
    note: str
    settings: Search
    arguments: tuple[str, ...]  # overrides from the command line
    tunings: tuple[Tuning, ...]
    teachers: tuple[RunSpec, ...]


def load(
    name: str,
    arguments: Sequence[str] = (),
    trials: int | None = None,
    runtime: Runtime | None = None,
) -> SearchPlan:
    """The search called ``name`` (shipped, or a path); ``trials`` replaces its budget.

    ``runtime`` says where the data are, as for :func:`sweeps.plan.expand.expand`.
    Raises :class:`ConfigError` with every fault of it.
    """
    changes, options = overrides.read(arguments)
    if trials is not None:
        changes = {**changes, "budget": {"trials": trials}}
    content = files.read("searches", name)
    if trials is not None:
        content.pop("budget", None)
    content = _with_options(files.merge(content, changes), options)
    faults: list[str] = []
    settings = _settings(content, name, faults)
    spaces_of = _spaces(content.get("methods"), faults)
    cells: Any = ()
    if settings is not None:
        faults += _unsuited(settings, spaces_of)
        cells = _cells(settings, stem(name), set(spaces_of), faults, runtime)
    if faults or settings is None:
        raise ConfigError(listed(f"search {name}", faults))
    return SearchPlan(
        name=stem(name),
        source=name,
        note=note_of(files.source("searches", name).read_text()),
        settings=settings,
        arguments=tuple(tokens(arguments)),
        tunings=tuple(
            Tuning(
                stem(name),
                settings,
                method,
                space,
                tuple(c.spec for c in cells if c.spec.label == method and c.pair),
            )
            for method, space in spaces_of.items()
        ),
        teachers=tuple(cell.spec for cell in cells if not cell.pair),
    )


def _with_options(content: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The long form of all methods; their options from the command line are fixed."""
    entries = method_entries(content.get("methods"))
    fixed = {method: {"options": values} for method, values in options.items()}
    return {**content, "methods": files.merge(entries, fixed)} if entries else content


def _settings(content: dict[str, Any], name: str, faults: list[str]) -> Search | None:
    try:
        return parse(Search, content, name)
    except ConfigError as error:
        faults += [line.strip() for line in str(error).splitlines()[1:]]
        return None


def _spaces(entries: Any, faults: list[str]) -> dict[str, Space]:
    """Also of a search that has other faults, so that all are told at once."""
    by_method: dict[str, Space] = {}
    for method, entry in entries.items() if isinstance(entries, dict) else ():
        try:
            methods.find(str(method))
        except UserError as error:
            faults.append(f"methods: {error}")
            continue
        if not isinstance(entry, dict):
            continue
        space = spaces.read(str(method), entry.get("space", spaces.TUNABLE), faults)
        both = sorted(name for name in space if _is_fixed(entry.get("options"), name))
        faults += [f"{method}.{name}: is searched and fixed at the same time" for name in both]
        by_method[str(method)] = space
    return by_method


def _is_fixed(options: Any, name: str) -> bool:
    """Whether ``options`` has a value for a parameter of the method."""
    section, *path = spaces.place(name)
    for key in path:
        if section != "options" or not isinstance(options, dict) or key not in options:
            return False
        options = options[key]
    return True


def _unsuited(settings: Search, spaces_of: Mapping[str, Space]) -> list[str]:
    """Spaces that the sampler cannot search."""
    faults, sampler = [], settings.sampler.name
    for method, space in spaces_of.items():
        chosen = [k for k, v in space.items() if isinstance(v, CategoricalDistribution)]
        if sampler == "grid":
            try:
                spaces.grid(space)
            except UserError as error:
                faults.append(f"{method}.{error}")
        if sampler in ("cmaes", "qmc") and chosen:
            names = ", ".join(chosen)
            faults.append(f"{method}: sampler {sampler!r} has no use for choices ({names})")
        if sampler == "cmaes" and len(space) == 1:
            faults.append(f"{method}: sampler 'cmaes' needs two parameters or more")
    return faults


def _cells(
    settings: Search, name: str, known: set[str], faults: list[str], runtime: Runtime | None
) -> Sequence[Any]:
    """The planned runs with usual options, teachers among them."""
    entries = [
        {"name": method, "options": entry.options}
        for method, entry in settings.methods.items()
        if method in known
    ]
    if not entries:
        return ()
    own = {
        **settings.as_dict(),
        "teacher": settings.teacher.as_dict(),
        "pairs": [settings.pair],
        "methods": entries,
        "seeds": settings.seeds,
    }
    try:
        base = _without_rows(settings.experiment)
        content = reduce(files.merge, [base, own, {"data": VALIDATION_ONLY}])
        cells = expand_content(content, name, runtime=runtime)
    except UserError as error:
        faults += [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        return ()
    if any(cell.spec.config.data.train_split != "train" for cell in cells):
        faults.append("data.train_split: must be 'train', so that validation images are held out")
    return cells


def _without_rows(experiment: str) -> dict[str, Any]:
    content = files.read("experiments", experiment)
    return {key: value for key, value in content.items() if key not in ("methods", "tuned")}
