"""What a search may say, in ``sweeps/searches/*.yaml``; everything is checked, all faults told."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from suite.config import Closed, Named
from sweeps.plan.experiment import Sections
from sweeps.search.space import TUNABLE


class MethodSearch(Closed):
    """A method to tune: what varies, and what is fixed to something else than usual."""

    space: Any = TUNABLE
    """``tunable``, or field -> ``tunable``, ``{low, high, log, step}`` or a list of choices."""
    options: dict[str, Any] = {}


class Budget(Closed):
    """How much every method gets; the same for all of them."""

    trials: int | None = Field(None, ge=1)
    hours: float | None = Field(None, gt=0)
    """Of training, summed over all trials as their runs measured it: neither the number of workers
    nor an interruption changes it. Trials that are under way when it is spent are finished."""

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.trials is None) == (self.hours is None):
            raise ValueError("give trials or hours")
        return self


class Sampler(Closed):
    """Who proposes the parameters."""

    name: Literal["tpe", "gp", "cmaes", "qmc", "grid", "random"] = "tpe"
    seed: int = Field(0, ge=0)
    startup_trials: int = Field(10, ge=1)
    """Random trials first (tpe, gp, cmaes)."""
    defaults_first: bool = True
    """Trial 0 has the method's defaults, as far as they lie in the space (not grid)."""


class Pruner(Closed):
    """Who stops trials early. ``hyperband`` and ``median`` judge the curve of the first seed, and
    the other seeds train only if it survives; ``wilcoxon`` judges seed by seed."""

    name: Literal["hyperband", "median", "wilcoxon", "none"] = "hyperband"
    min_epochs: int = Field(1, ge=1)
    """No trial is stopped before."""
    reduction_factor: int = Field(3, ge=2)
    """hyperband: one of so many survives a rung."""
    startup_trials: int = Field(5, ge=0)
    """median: none is stopped before so many are complete."""
    p_threshold: float = Field(0.1, gt=0, lt=1)
    """wilcoxon: stop when worse than the best trial at this level."""


class Objective(Closed):
    """Validation accuracy in percent, mean over the seeds, to be as high as possible."""

    epoch: Literal["last", "best_val"] = "last"
    second: Literal["seconds_per_step"] | None = None
    """Something else to be as low as possible: the result is a Pareto front."""


def method_entries(value: Any) -> Any:
    """The long form of ``methods``; what is no form of it stays as it is."""
    if isinstance(value, list):
        value = dict.fromkeys(map(str, value), TUNABLE)
    if not isinstance(value, dict):
        return value
    return {k: {"space": v} if isinstance(v, str) else v for k, v in value.items()}


class Search(Sections):
    """One experiment, one pair, methods with their spaces, and how to search them."""

    experiment: str
    """The sweep whose recipe, models and overrides hold here too."""
    pair: str
    teacher: Sections = Sections()
    """Overrides for the teacher's run only."""
    methods: dict[str, MethodSearch] = Field(min_length=1)
    """In the file, ``[kd, dskd]`` and ``kd: tunable`` both mean all that the method declares."""
    seeds: list[int] = Field([1000], min_length=1)
    """Other seeds than the table's, so that the choice does not lean on its luck."""
    budget: Budget
    sampler: Named[Sampler] = Sampler()
    pruner: Named[Pruner] = Pruner()
    objective: Objective = Objective()

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError("a seed is given more than once")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = []
        if "eval_splits" in self.data:
            faults.append("data.eval_splits: a search evaluates on val alone; leave it out")
        if self.objective.second is not None:
            if self.pruner.name != "none":
                faults.append("pruner: with a second objective it must be 'none'")
            if self.sampler.name == "cmaes":
                faults.append("sampler: 'cmaes' knows one objective; tpe, gp, qmc, grid, random")
        least = self._seeds_for_wilcoxon()
        if self.pruner.name == "wilcoxon" and len(self.seeds) < least:
            faults.append(
                f"pruner: 'wilcoxon' at p_threshold {self.pruner.p_threshold} can stop nothing "
                f"with {len(self.seeds)} seed(s); give {least} or more"
            )
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _seeds_for_wilcoxon(self) -> int:
        """The smallest p of n pairs is 2^-n, and the last seed's verdict would save nothing."""
        pairs = 2
        while 0.5**pairs >= self.pruner.p_threshold:
            pairs += 1
        return pairs + 1
