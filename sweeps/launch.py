"""Trains what is missing of an experiment, through submitit, and says how it went."""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryFile
from typing import Any

from rich.console import Console

from suite.config import RunSpec, Runtime
from suite.device import limits
from suite.interface.errors import UserError
from suite.store.states import State, directory_of, state_of
from suite.terminal import terminal
from sweeps import preview
from sweeps.executors.local import LocalWorkers
from sweeps.executors.slurm import SlurmWorkers
from sweeps.plan import other_code
from sweeps.plan.again import set_aside
from sweeps.plan.expand import Plan, expand
from sweeps.plan.mend import forget_failures, mend
from sweeps.slurm.closing import Closing
from sweeps.slurm.cluster import Cluster, Executor, choose, room
from sweeps.watch.view import Board, View
from sweeps.workers.worker import Worker, mirror

MOST_PROBLEMS = 20  # lines about runs that are not finished
FULL_BYTES = 2**20  # with less than that free, a disk is called full


@dataclass(frozen=True)
class Summary:
    """How a sweep ended."""

    manifest: Path
    finished: int
    problems: tuple[str, ...]  # one line per run that is not finished
    mendable: bool = False  # a run failed from something the user can mend
    interrupted: bool = False
    on_slurm: bool = False
    detached: bool = False  # SLURM goes on alone

    @property
    def exit_status(self) -> int:
        """0 all finished; 130 interrupted; 2 when the user can mend what failed; else 1."""
        if self.interrupted:
            return 130
        if self.mendable:
            return 2
        return 1 if self.problems else 0


@dataclass(frozen=True)
class How:
    """How a sweep is to be trained."""

    executor: Executor = "auto"
    jobs: int | None = None
    """Runs (local) or jobs (SLURM) at a time; None: one per core or device, or the cluster's."""
    cluster: Path | None = None
    """YAML with what a SLURM job asks for."""
    detach: bool = False
    """Leave once SLURM has the jobs."""
    force: bool = False
    """Train again what is finished; the old records are set aside."""
    dry_run: bool = False
    """Only tell what would be trained."""
    closing: Closing | None = None
    """What a last SLURM job does after all others, so that the launcher need not stay."""


def launch(
    experiment: str,
    settings: Sequence[str],
    runtime: Runtime,
    how: How | None = None,
    console: Console | None = None,
) -> Summary:
    """Train every run of the experiment that is not finished, teachers first.

    Raises :class:`UserError` before anything starts when the experiment is wrong.
    """
    console, how = console or terminal(), how or How()
    cluster = choose(how.executor, how.cluster, how.jobs)
    if cluster is None:
        _check_slurm_is_not_needed(how, runtime)
        limits.check(runtime, how.jobs)
    else:
        cluster.check(runtime)
    plan = expand(experiment, settings, runtime)
    if how.dry_run:
        return _preview(plan, runtime, how, cluster, console)
    if how.force:
        moved = set_aside(plan.runs, runtime.runs_root)
        place = f", now in {moved[0].parent}" if moved else ""
        console.print(f"--force: {len(moved)} records set aside{place}", highlight=False)
    for line in mend(plan.runs, runtime.runs_root):
        console.print(line, highlight=False)
    manifest = plan.write_manifest(runtime.runs_root)
    since = manifest.stat().st_mtime  # by the clock of the files that failures leave
    forget_failures(plan.runs, runtime.runs_root, since)
    missing = [s for s in plan.runs if not directory_of(s, runtime.runs_root).finished()]
    console.print(
        f"{plan.experiment}: {len(plan.runs)} runs, {len(plan.runs) - len(missing)} finished before"
    )
    for line in _teachers_from_elsewhere(plan):
        console.print(line, highlight=False)
    waiting = set(missing)
    finished = [spec for spec in plan.runs if spec not in waiting]
    if changed := other_code.note(finished, runtime.runs_root):
        console.print(changed, highlight=False)
    sweep = _Sweep(plan, runtime, since, how, cluster, console)
    possible = sweep.without_unsupported(missing) if missing else []
    if possible:
        sweep.train(possible)
    return sweep.summary(manifest)


def _preview(
    plan: Plan, runtime: Runtime, how: How, cluster: Cluster | None, console: Console
) -> Summary:
    from suite.train.preflight import check

    again = {spec for spec in plan.runs if how.force and spec.role != "teacher"}
    missing = [
        spec
        for spec in plan.runs
        if spec in again or not directory_of(spec, runtime.runs_root).finished()
    ]
    finished = len(plan.runs) - len(missing)
    console.print(f"{plan.experiment}: {len(plan.runs)} runs, {finished} finished before")
    findings = check(missing, runtime, room(cluster, runtime))
    told = preview.lines(missing, findings, runtime, cluster, how.jobs)
    for line in [*_teachers_from_elsewhere(plan), *told]:
        console.print(line, highlight=False)
    return Summary(
        plan.manifest_path(runtime.runs_root), finished, (), mendable=bool(findings.faults)
    )


def _teachers_from_elsewhere(plan: Plan) -> list[str]:
    """A line for each teacher whose weights are not trained here."""
    lines = []
    for spec in plan.runs:
        teacher = spec.config.teacher
        if teacher is not None and teacher.run_id is None:
            weights = teacher.checkpoint or "timm's pretrained weights"
            lines.append(f"teacher {teacher.name}: {weights}, not trained here")
    return list(dict.fromkeys(lines))


def _check_slurm_is_not_needed(how: How, runtime: Runtime) -> None:
    why = f"needs SLURM: --executor is {how.executor} and here is none"
    if how.detach:
        raise UserError(f"--detach {why}")
    if runtime.nodes > 1:
        raise UserError(f"--nodes {runtime.nodes} {why}; allowed: 1")


@dataclass
class _Sweep:
    plan: Plan
    runtime: Runtime
    since: float
    how: How
    cluster: Cluster | None  # None: this machine trains
    console: Console
    interrupted: bool = False
    detached: bool = False
    fates: dict[RunSpec, str] = field(default_factory=dict)  # what became of runs' jobs

    def train(self, specs: Sequence[RunSpec]) -> None:
        """Train the runs until all are settled, nobody works on them or the user interrupts."""
        if self.how.executor == "debug":
            self._in_process(specs)
            return
        workers = self._start(specs)
        if self.how.detach:
            self.detached = True
            return
        board = Board(specs, self.runtime.runs_root, self.since)
        with View(board, self.console) as view:
            try:
                while not workers.done() and not board.settled():
                    time.sleep(workers.poll_seconds)
                    view.update()
                workers.close()
                view.update()
            except KeyboardInterrupt:
                self.console.print(workers.farewell)
                workers.stop()
                self.interrupted = True
        self.fates = workers.fates(specs)

    def _start(self, specs: Sequence[RunSpec]) -> LocalWorkers | SlurmWorkers:
        if self.cluster is None:
            return LocalWorkers.start(specs, self.runtime, self.since, self.how.jobs)
        workers = SlurmWorkers.start(
            self.plan.experiment, specs, self.runtime, self.cluster, self.how.closing
        )
        self.console.print(
            f"SLURM: {workers.submitted} jobs submitted, "
            f"{len(workers.jobs) - workers.submitted} were there before"
        )
        return workers

    def _in_process(self, specs: Sequence[RunSpec]) -> None:
        from suite.train.run import run, run_packed

        try:
            with mirror(self.runtime) as announce:
                worker = Worker(specs, self.runtime, self.since, lambda: False, run, announce)
                worker.run_packed = run_packed
                worker.work()
        except KeyboardInterrupt:
            self.interrupted = True

    def without_unsupported(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """Leave out, with the reason, the runs whose method cannot work on their pair."""
        from suite.train.preflight import check

        findings = check(specs, self.runtime, room(self.cluster, self.runtime))
        reasons = findings.faults
        for note in findings.notes:
            self.console.print(f"memory: {note}", highlight=False)
        for label, reason in dict.fromkeys((spec.label, str(e)) for spec, e in reasons.items()):
            self.console.print(f"left out: {label}: {reason}", highlight=False)
        for spec, error in reasons.items():
            directory = directory_of(spec, self.runtime.runs_root)
            directory.start(spec.model_dump(mode="json"))
            directory.write_failure(error)
        return [spec for spec in specs if spec not in reasons]

    def summary(self, manifest: Path) -> Summary:
        """Count, and print what is not finished and why."""
        runs_root = self.runtime.runs_root
        states = {spec: state_of(spec, runs_root, self.since) for spec in self.plan.runs}
        failures = {
            spec: directory_of(spec, runs_root).read_failure()
            for spec, state in states.items()
            if state is State.FAILED
        }
        problems = [
            f"{spec.label} seed {spec.config.seed}: {self._reason(spec, state, failures)}"
            for spec, state in states.items()
            if state is not State.FINISHED
        ]
        finished = len(self.plan.runs) - len(problems)
        self.console.print(f"{finished} of {len(self.plan.runs)} runs finished")
        if self.detached:
            self.console.print(f"detached; dskd-bench status {self.plan.experiment} tells how far")
            return Summary(manifest, finished, (), on_slurm=True, detached=True)
        for problem in problems[:MOST_PROBLEMS]:
            self.console.print(f"  not finished: {problem}", highlight=False)
        if len(problems) > MOST_PROBLEMS:
            self.console.print(f"  and {len(problems) - MOST_PROBLEMS} more")
        if problems and disk_usage(runs_root).free < FULL_BYTES:  # reasons could not be written
            self.console.print(f"  No space left on the disk of {runs_root}", highlight=False)
        if problems and _is_read_only(runs_root):
            self.console.print(f"  The file system of {runs_root} is read-only", highlight=False)
        mendable = any(failure.get("user_error") for failure in failures.values())
        on_slurm = self.cluster is not None
        return Summary(manifest, finished, tuple(problems), mendable, self.interrupted, on_slurm)

    def _reason(self, spec: RunSpec, state: State, failures: dict[RunSpec, Any]) -> str:
        if state is State.FAILED:
            return f"failed: {failures[spec].get('error', 'unknown reason')}"
        if state is State.BLOCKED:
            return "not run: its teacher failed"
        fate = self.fates.get(spec)
        return f"stopped ({state.value}{f'; {fate}' if fate else ''})"


def _is_read_only(folder: Path) -> bool:
    """Found by trying: after an error of the disk the mount's flags may still say writable."""
    try:
        with TemporaryFile(dir=folder):
            return False
    except OSError as error:
        return error.errno == errno.EROFS
