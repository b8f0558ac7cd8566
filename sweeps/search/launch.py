"""A search from its YAML to the chosen settings: one driver, its workers, and what they leave."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial
from rich.console import Console

from suite.config import ConfigError, Runtime
from suite.interface.errors import UserError, listed
from suite.names import TEACHERS
from suite.store.lease import Lease, LeaseLost, acquire, holder
from suite.terminal import terminal
from sweeps import executors
from sweeps.executors.base import Executor, ExecutorOptions, Workers
from sweeps.plan import tuned
from sweeps.search import export
from sweeps.search.driver import Driver
from sweeps.search.method_study import STATES, MethodStudy
from sweeps.search.outage import OUTAGE, StorageLost, outlast, wait_for
from sweeps.search.plan import SearchPlan, load
from sweeps.search.queue_source import SearchWork
from sweeps.search.study import open_storage


@dataclass(frozen=True)
class SearchOptions(ExecutorOptions):
    """Where a search runs and where it leaves what it finds."""

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
    options: SearchOptions = SearchOptions(),
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
    executor = executors.find(runtime, options)
    _check_pairs(plan, runtime, executor.device_bytes())
    folder = runtime.runs_root / plan.name
    lease = acquire(folder)
    if lease is None:
        owner = holder(folder) or {}
        raise UserError(
            f"search {plan.name} is driven by process {owner.get('pid')} on {owner.get('host')}; "
            "one driver at a time"
        )
    with lease:
        return _Search(plan, runtime, options, executor, lease, console).run()


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
        options: SearchOptions,
        executor: Executor,
        held: Lease,
        console: Console,
    ) -> None:
        self._plan, self._runtime, self._options = plan, runtime, options
        self._executor, self._held, self._console = executor, held, console
        self._lost = False  # the database, in the driver's last step
        self._current: Driver

    def run(self) -> Summary:
        driver = outlast(self._driver, self._tell)
        for study in driver.studies:
            counts = study.counts
            self._console.print(
                f"{study.study.study_name}: {counts.told} trials before, "
                f"{len(study.running)} under way",
                highlight=False,
            )
        try:
            driver, interrupted = self._drive(driver)
        except StorageLost:
            raise
        except BaseException:
            self._keep(driver)
            raise

        def from_the_study() -> tuple[Path, tuple[Path, ...]]:
            again = self._driver()
            if not interrupted:
                again.queue.close()
            return self._leave(again)

        record, chosen = outlast(lambda: self._leave(driver), self._tell, from_the_study)
        return Summary(record, chosen, interrupted)

    def _leave(self, driver: Driver) -> tuple[Path, tuple[Path, ...]]:
        """Write ``search.json`` and the chosen settings; returns their paths."""
        record = export.write(self._plan, driver.studies, self._runtime.runs_root)
        settings = [export.tuned_settings(self._plan, study) for study in driver.studies]
        root = self._options.tuned_root
        chosen = [tuned.write(values, root) for values in settings if values is not None]
        return record, tuple(chosen)

    def _driver(self) -> Driver:
        runs_root = self._runtime.runs_root
        storage = open_storage(runs_root / self._plan.name, self._options.storage)
        return Driver(self._plan, storage, runs_root, self._executor.parallel(), self._show)

    def _keep(self, driver: Driver) -> None:
        """Write what can be read of the study while another error ends the search."""
        with suppress(*OUTAGE):
            export.write(self._plan, driver.studies, self._runtime.runs_root)

    def _drive(self, driver: Driver) -> tuple[Driver, bool]:
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
                    workers = self._start()
                workers.attend()
        except KeyboardInterrupt:
            self._console.print(workers.farewell if workers else "stopped")
            return driver, True
        except LeaseLost as lost:
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

    def _start(self) -> Workers:
        work = SearchWork(self._plan.name)
        workers = self._executor.start(work, lambda: self._step(self._current))
        if workers.started:
            self._tell(workers.started)
        return workers

    def _show(self, study: MethodStudy, trial: FrozenTrial) -> None:
        budget = study.tuning.settings.budget
        of_budget = f" of {budget.trials}" if budget.trials is not None else ""
        values = ", ".join(f"{value:.4g}" for value in trial.values or ())
        reason = trial.user_attrs.get("failure", "")
        best = export.best_trial(study)
        so_far = f"; best {best.values[0]:.2f} % in trial {best.number}" if best else ""
        self._console.print(
            f"{study.tuning.method} trial {trial.number}: {STATES[trial.state]} {values}{reason}"
            f" ({study.counts.told}{of_budget}{so_far})",
            highlight=False,
        )
