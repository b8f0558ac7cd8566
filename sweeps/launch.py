"""Trains what is missing of an experiment, through submitit, and says how it went."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from suite.config import RunSpec, Runtime
from suite.record import read_json
from sweeps.expand import Plan, expand
from sweeps.local import LocalWorkers
from sweeps.slurm import Cluster, SlurmWorkers, available
from sweeps.view import Board, View
from sweeps.worker import State, directory_of, mirror, state_of, work

POLL_SECONDS = 0.3

Executor = Literal["auto", "debug", "local", "slurm"]


@dataclass(frozen=True)
class Summary:
    """How a sweep ended."""

    manifest: Path
    finished: int
    problems: tuple[str, ...]  # one line per run that is not finished
    mendable: bool = False  # a run failed from something the user can mend
    interrupted: bool = False

    @property
    def exit_status(self) -> int:
        """0 all finished; 130 interrupted; 2 when the user can mend what failed; else 1."""
        if self.interrupted:
            return 130
        if self.mendable:
            return 2
        return 1 if self.problems else 0


def launch(
    experiment: str,
    settings: Sequence[str],
    runtime: Runtime,
    *,
    executor: Executor = "auto",
    jobs: int | None = None,
    cluster: Path | None = None,
    console: Console | None = None,
) -> Summary:
    """Train every run of the experiment that is not finished, teachers first.

    Raises :class:`suite.errors.UserError` before anything starts when the experiment is wrong.
    """
    console = console or Console()
    plan = expand(experiment, settings)
    manifest = plan.write_manifest(runtime.runs_root)
    since = time.time()
    missing = [s for s in plan.runs if not directory_of(s, runtime.runs_root).finished()]
    console.print(
        f"{plan.experiment}: {len(plan.runs)} runs, {len(plan.runs) - len(missing)} finished before"
    )
    possible = _without_unsupported(missing, runtime, console) if missing else []
    interrupted = False
    if possible:
        interrupted = _train(possible, runtime, since, executor, jobs, cluster, console)
    return _summary(plan, manifest, runtime, since, interrupted, console)


def _train(
    specs: Sequence[RunSpec],
    runtime: Runtime,
    since: float,
    executor: Executor,
    jobs: int | None,
    cluster: Path | None,
    console: Console,
) -> bool:
    """Train the runs; True when the user interrupted."""
    if executor == "debug":
        return _in_process(specs, runtime, since)
    workers: LocalWorkers | SlurmWorkers
    if executor == "slurm" or (executor == "auto" and available()):
        workers = SlurmWorkers.start(specs, runtime, since, jobs, Cluster.load(cluster))
    else:
        workers = LocalWorkers.start(specs, runtime, since, jobs)
    board = Board(specs, runtime.runs_root, since)
    with View(board, console) as view:
        try:
            while not workers.done() and not board.settled():
                time.sleep(POLL_SECONDS)
                view.update()
            view.update()
        except KeyboardInterrupt:
            console.print(workers.farewell)
            workers.stop()
            return True
    return False


def _in_process(specs: Sequence[RunSpec], runtime: Runtime, since: float) -> bool:
    from suite.run import run

    try:
        with mirror(runtime) as announce:
            work(specs, runtime, since, lambda: False, run, announce)
    except KeyboardInterrupt:
        return True
    return False


def _without_unsupported(
    specs: Sequence[RunSpec], runtime: Runtime, console: Console
) -> list[RunSpec]:
    """Leave out, with the reason, the runs whose method cannot work on their pair."""
    from suite.run import check

    reasons = check(specs, runtime)
    for label, reason in dict.fromkeys((spec.label, str(e)) for spec, e in reasons.items()):
        console.print(f"left out: {label}: {reason}", highlight=False)
    for spec, error in reasons.items():
        directory = directory_of(spec, runtime.runs_root)
        directory.start(spec.model_dump(mode="json"))
        directory.write_failure(error)
    return [spec for spec in specs if spec not in reasons]


def _summary(
    plan: Plan,
    manifest: Path,
    runtime: Runtime,
    since: float,
    interrupted: bool,
    console: Console,
) -> Summary:
    states = {spec: state_of(spec, runtime.runs_root, since) for spec in plan.runs}
    failures = {
        spec: read_json(directory_of(spec, runtime.runs_root).failure) or {}
        for spec, state in states.items()
        if state is State.FAILED
    }
    problems = [
        f"{spec.label} seed {spec.config.seed}: {_reason(state, failures.get(spec, {}))}"
        for spec, state in states.items()
        if state is not State.FINISHED
    ]
    finished = len(plan.runs) - len(problems)
    console.print(f"{finished} of {len(plan.runs)} runs finished")
    for problem in problems[:20]:
        console.print(f"  not finished: {problem}", highlight=False)
    if len(problems) > 20:
        console.print(f"  and {len(problems) - 20} more")
    mendable = any(failure.get("user_error") for failure in failures.values())
    return Summary(manifest, finished, tuple(problems), mendable, interrupted)


def _reason(state: State, failure: dict[str, Any]) -> str:
    if state is State.FAILED:
        return f"failed: {failure.get('error', 'unknown reason')}"
    if state is State.BLOCKED:
        return "not run: its teacher failed"
    return f"stopped ({state.value})"
