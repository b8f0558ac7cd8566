"""A search from its YAML to the chosen settings: one driver, its workers, and what they leave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial
from rich.console import Console

from suite.config import ConfigError, Runtime
from suite.device import limits
from suite.interface.errors import UserError, listed
from suite.names import TEACHERS
from suite.store.claims import Claim, ClaimLost, claim, holder
from suite.terminal import terminal
from sweeps.executors.local import workers_for
from sweeps.plan import tuned
from sweeps.search import export
from sweeps.search.driver import Driver
from sweeps.search.method_study import STATES, MethodStudy
from sweeps.search.outage import OUTAGE, StorageLost, wait_for
from sweeps.search.plan import SearchPlan, load
from sweeps.search.study import open_storage
from sweeps.search.workers import InProcess, LocalPool, SlurmPool, Workers
from sweeps.slurm.cluster import Cluster, Executor, choose, room


@dataclass(frozen=True)
class How:
    """Where a search runs and where it leaves what it finds."""

    executor: Executor = "auto"
    jobs: int | None = None
    """Workers; None: one per core or device, or the cluster's ``max_jobs``."""
    cluster: Path | None = None
    """YAML with what a SLURM job asks for."""
    storage: str | None = None
    """URL of a database for the study; None: a journal file in the search's folder."""
    tuned_root: Path = tuned.TUNED_ROOT
    """Where the chosen settings are written."""


@dataclass(frozen=True)
class Summary:
    """How a search ended."""

    record: Path
    """``search.json``"""
    chosen: tuple[Path, ...]
    """The files of chosen settings, one per method with a complete trial."""
    interrupted: bool = False

    @property
    def exit_status(self) -> int:
        """0 all went well, 130 interrupted, 1 no trial of any method was completed."""
        if self.interrupted:
            return 130
        return 0 if self.chosen else 1


def search(
    name: str,
    settings: Sequence[str],
    runtime: Runtime,
    how: How = How(),
    *,
    trials: int | None = None,
    console: Console | None = None,
) -> Summary:
    """Spend what is left of the search's budget and write the chosen settings.

    Raises :class:`UserError` before anything starts when the search is wrong, when somebody else
    drives it, and when it cannot go on.
    """
    console = console or terminal()
    plan = load(name, settings, trials, runtime)
    if plan.name == TEACHERS:
        raise ConfigError(f"search {plan.name}: the name is taken by the teachers of all sweeps")
    cluster = choose(how.executor, how.cluster, how.jobs)
    if cluster is None:
        limits.check(runtime, how.jobs)
    else:
        cluster.check(runtime)
    _check_pairs(plan, runtime, room(cluster, runtime))
    folder = runtime.runs_root / plan.name
    held = claim(folder)
    if held is None:
        other = holder(folder) or {}
        raise UserError(
            f"search {plan.name} is driven by process {other.get('pid')} on {other.get('host')}; "
            "one driver at a time"
        )
    with held:
        return _Search(plan, runtime, how, cluster, held, console).run()


def _check_pairs(plan: SearchPlan, runtime: Runtime, most: int | None) -> None:
    """Before training, refuse what cannot work on the pair or keeps over ``most`` bytes."""
    from suite.train.preflight import check

    faults = check([tuning.templates[0] for tuning in plan.tunings], runtime, most).faults
    if faults:
        lines = (f"{spec.label}: {fault}" for spec, fault in faults.items())
        raise ConfigError(listed(f"search {plan.name}", lines))


class _Search:
    def __init__(
        self,
        plan: SearchPlan,
        runtime: Runtime,
        how: How,
        cluster: Cluster | None,
        held: Claim,
        console: Console,
    ) -> None:
        self._plan, self._runtime, self._how, self._cluster = plan, runtime, how, cluster
        self._held, self._console = held, console
        self._lost = False  # the database, in the driver's last step
        self._current: Driver

    def run(self) -> Summary:
        runs_root = self._runtime.runs_root
        parallel = self._parallel()
        driver = self._driver()
        for study in driver.studies:
            counts = study.counts
            self._console.print(
                f"{study.study.study_name}: {counts.told} trials before, "
                f"{len(study.running)} under way",
                highlight=False,
            )
        try:
            driver, interrupted = self._drive(driver, parallel)
        except StorageLost:
            raise
        except BaseException:
            self._keep(driver)
            raise
        record = export.write(self._plan, driver.studies, runs_root)
        settings = [export.tuned_settings(self._plan, study) for study in driver.studies]
        chosen = [tuned.write(it, self._how.tuned_root) for it in settings if it is not None]
        return Summary(record, tuple(chosen), interrupted)

    def _driver(self) -> Driver:
        runs_root = self._runtime.runs_root
        storage = open_storage(runs_root / self._plan.name, self._how.storage)
        return Driver(self._plan, storage, runs_root, self._parallel(), self._show)

    def _keep(self, driver: Driver) -> None:
        """Write what the study holds, as far as it can be read, while another fault ends us."""
        with suppress(*OUTAGE):
            export.write(self._plan, driver.studies, self._runtime.runs_root)

    def _drive(self, driver: Driver, parallel: int) -> tuple[Driver, bool]:
        """Until the budget is spent; the driver at the end, and whether the user interrupted."""
        workers: Workers | None = None
        over, self._current = False, driver
        try:
            while not over:
                over = self._step(driver)
                if self._lost:  # as after a kill: a new driver finds all in study and run store
                    driver, self._lost, over = wait_for(self._driver, self._tell), False, False
                    self._current = driver
                    continue
                if over:
                    break
                self._held.check()
                if workers is None:
                    workers = self._workers(driver, parallel)
                workers.keep()
                time.sleep(workers.poll_seconds)
        except KeyboardInterrupt:
            self._console.print(workers.farewell if workers else "stopped")
            return driver, True
        except ClaimLost as lost:
            raise UserError(f"{lost}; this driver leaves the search to it") from None
        finally:
            if over:
                driver.queue.close()
            if workers is not None:
                workers.stop()
        return driver, False

    def _step(self, driver: Driver) -> bool:
        """True when nothing is left to do. After an outage the driver is not to be used again."""
        try:
            return not self._lost and driver.step()
        except OUTAGE:
            self._lost = True
            return False

    def _tell(self, line: str) -> None:
        self._console.print(line, highlight=False)

    def _workers(self, driver: Driver, parallel: int) -> Workers:
        name = self._plan.name
        if self._cluster is not None:
            pool = SlurmPool(name, self._runtime, self._cluster)
            self._console.print(f"SLURM: {pool.submitted} jobs submitted")
            return pool
        if self._how.executor == "debug":
            return InProcess(name, self._runtime, lambda: self._step(self._current))
        return LocalPool(name, self._runtime, parallel)

    def _parallel(self) -> int:
        if self._cluster is not None:
            return self._cluster.max_jobs
        if self._how.executor == "debug":
            return 1
        return workers_for(self._runtime, self._how.jobs)

    def _show(self, study: MethodStudy, trial: FrozenTrial) -> None:
        budget = study.tuning.settings.budget
        of = f" of {budget.trials}" if budget.trials is not None else ""
        found = ", ".join(f"{value:.4g}" for value in trial.values or ())
        reason = trial.user_attrs.get("failure", "")
        best = export.best_trial(study)
        so_far = f"; best {best.values[0]:.2f} % in trial {best.number}" if best else ""
        self._console.print(
            f"{study.tuning.method} trial {trial.number}: {STATES[trial.state]} {found}{reason}"
            f" ({study.counts.told}{of}{so_far})",
            highlight=False,
        )
