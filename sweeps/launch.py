"""Trains what is missing of an experiment, and says how it went."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryFile
from typing import Any

from rich.console import Console

from suite.config import RunSpec, Runtime
from suite.store.states import State, directory_of, state_of
from suite.terminal import terminal
from sweeps import executors, preview
from sweeps.executors.base import Executor, ExecutorOptions, Workers
from sweeps.plan import other_code
from sweeps.plan.damaged_files import forget_failures, mend
from sweeps.plan.expand import expand
from sweeps.plan.retrain import set_aside
from sweeps.plan.runs import Plan
from sweeps.slurm import jobs
from sweeps.watch.board import Board
from sweeps.watch.view import View
from sweeps.workers.source import RunList

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
    remote: bool = False  # machines without a network may have trained
    detached: bool = False  # the workers go on alone

    @property
    def exit_status(self) -> int:
        """0 all finished; 130 interrupted; 2 when the user can mend what failed; else 1."""
        if self.interrupted:
            return 130
        if self.mendable:
            return 2
        return 1 if self.problems else 0


@dataclass(frozen=True)
class LaunchOptions(ExecutorOptions):
    """How a sweep is to be trained."""

    force: bool = False
    """Train again what is finished; the old records are set aside."""
    dry_run: bool = False
    """Only tell what would be trained."""


def launch(
    experiment: str,
    settings: Sequence[str],
    runtime: Runtime,
    options: LaunchOptions = LaunchOptions(),
    console: Console | None = None,
) -> Summary:
    """Train every run of the experiment that is not finished, teachers first.

    Raises :class:`UserError` before anything starts when the experiment is wrong.
    """
    console = console or terminal()
    executor = executors.find(runtime, options)
    plan = expand(experiment, settings, runtime)
    if options.dry_run:
        return _preview(plan, runtime, executor, options, console)
    if options.force:
        moved = set_aside(plan.runs, runtime.runs_root)
        folder = f", now in {moved[0].parent}" if moved else ""
        console.print(f"--force: {len(moved)} records set aside{folder}", highlight=False)
    job_faults = jobs.faults(runtime.runs_root, plan.experiment)
    for line in chain(job_faults, mend(plan.runs, runtime.runs_root)):
        console.print(line, highlight=False)
    manifest = plan.write_manifest(runtime.runs_root)
    since = manifest.stat().st_mtime  # by the clock of the files that failures leave
    forget_failures(plan.runs, runtime.runs_root, since)
    missing = [s for s in plan.runs if not directory_of(s, runtime.runs_root).finished()]
    _print_finished(plan, missing, runtime, console)
    sweep = _Sweep(plan, manifest, runtime, since, executor, options, console)
    possible = sweep.without_unsupported(missing) if missing else []
    if possible:
        sweep.train(possible, detach=options.detach)
    return sweep.summary()


def _print_finished(
    plan: Plan, missing: Sequence[RunSpec], runtime: Runtime, console: Console
) -> None:
    waiting = set(missing)
    finished = [spec for spec in plan.runs if spec not in waiting]
    console.print(f"{plan.experiment}: {len(plan.runs)} runs, {len(finished)} finished before")
    for line in _teachers_from_elsewhere(plan):
        console.print(line, highlight=False)
    if changed := other_code.note(finished, runtime.runs_root):
        console.print(changed, highlight=False)


def _preview(
    plan: Plan, runtime: Runtime, executor: Executor, options: LaunchOptions, console: Console
) -> Summary:
    from suite.train.preflight import check
    from sweeps.executors.room import within_memory

    again = {spec for spec in plan.runs if options.force and spec.role != "teacher"}
    missing = [
        spec
        for spec in plan.runs
        if spec in again or not directory_of(spec, runtime.runs_root).finished()
    ]
    finished = len(plan.runs) - len(missing)
    console.print(f"{plan.experiment}: {len(plan.runs)} runs, {finished} finished before")
    findings = check(missing, runtime, executor.device_bytes())
    executor, findings = within_memory(executor, runtime, options, findings)
    for line in [*_teachers_from_elsewhere(plan), *preview.lines(missing, findings, executor)]:
        console.print(line, highlight=False)
    return Summary(
        plan.manifest_path(runtime.runs_root), finished, (), mendable=bool(findings.faults)
    )


def _teachers_from_elsewhere(plan: Plan) -> list[str]:
    """A line for each teacher whose weights are not trained here."""
    lines = []
    for spec in plan.runs:
        for teacher in () if spec.config.teacher is None else spec.config.teacher.members:
            if teacher.run_id is None:
                weights = teacher.checkpoint or "timm's pretrained weights"
                lines.append(f"teacher {teacher.name}: {weights}, not trained here")
    return list(dict.fromkeys(lines))


@dataclass
class _Sweep:
    plan: Plan
    manifest: Path
    runtime: Runtime
    since: float
    executor: Executor
    options: ExecutorOptions
    console: Console
    interrupted: bool = False
    detached: bool = False
    outcomes: Mapping[str, str] = field(default_factory=dict)  # of runs' jobs

    def train(self, specs: Sequence[RunSpec], *, detach: bool) -> None:
        """Train the runs until all are settled, nobody works on them or the user interrupts."""
        board = Board(self.manifest, self.since)
        view = View(board, self.console)
        work = RunList.of(self.plan.experiment, specs, self.since)
        workers = self.executor.start(work, view.update)
        if workers.started:
            self.console.print(workers.started)
        if detach:
            self.detached = True
            return
        try:
            with view:
                self._watch(board, view, workers)
        except KeyboardInterrupt:
            self.console.print(workers.farewell)
            workers.stop()
            self.interrupted = True
        self.outcomes = workers.outcomes()

    def _watch(self, board: Board, view: View, workers: Workers) -> None:
        while not workers.done() and not board.settled():
            workers.attend()
            view.update()
            if error := board.hopeless():
                self.console.print(
                    f"stopped: the first runs all died of one error: {error}", highlight=False
                )
                workers.cancel()
                return
        workers.close()
        view.update()

    def without_unsupported(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """Leave out, with the reason, the runs whose method cannot work on their pair."""
        from suite.train.preflight import check
        from sweeps.executors.room import within_memory

        findings = check(specs, self.runtime, self.executor.device_bytes())
        self.executor, findings = within_memory(self.executor, self.runtime, self.options, findings)
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

    def summary(self) -> Summary:
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
            return Summary(self.manifest, finished, (), remote=True, detached=True)
        for problem in problems[:MOST_PROBLEMS]:
            self.console.print(f"  not finished: {problem}", highlight=False)
        if len(problems) > MOST_PROBLEMS:
            self.console.print(f"  and {len(problems) - MOST_PROBLEMS} more")
        if problems and disk_usage(runs_root).free < FULL_BYTES:  # reasons could not be written
            self.console.print(f"  No space left on the disk of {runs_root}", highlight=False)
        if problems and _is_read_only(runs_root):
            self.console.print(f"  The file system of {runs_root} is read-only", highlight=False)
        mendable = any(failure.get("user_error") for failure in failures.values())
        remote = self.executor.detaches
        return Summary(self.manifest, finished, tuple(problems), mendable, self.interrupted, remote)

    def _reason(self, spec: RunSpec, state: State, failures: dict[RunSpec, Any]) -> str:
        if state is State.FAILED:
            return f"failed: {failures[spec].get('error', 'unknown reason')}"
        if state is State.BLOCKED:
            return "not run: its teacher failed"
        outcome = self.outcomes.get(f"{spec.experiment}/{spec.run_id}")
        return f"{state}{f'; {outcome}' if outcome else ''}"


def _is_read_only(folder: Path) -> bool:
    """Tried out: after a disk error the mount's flags may still say writable."""
    try:
        with TemporaryFile(dir=folder):
            return False
    except OSError as error:
        return error.errno == errno.EROFS
