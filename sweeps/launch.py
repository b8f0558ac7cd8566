"""Trains what is missing of an experiment, through submitit, and says how it went."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from submitit import LocalExecutor

from suite.config import RunSpec, Runtime
from suite.record import read_json
from sweeps.expand import Plan, expand
from sweeps.view import Board, View
from sweeps.worker import Job, State, directory_of, mirror, state_of, this_process, work

POLL_SECONDS = 0.3
LOCAL_MINUTES = 60 * 24 * 365  # submitit wants a limit; local workers have none
STOP_SECONDS = 60.0  # for a worker to save and leave

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
    interrupted = False
    if missing:
        missing = _without_unsupported(missing, runtime, console)
        interrupted = _train(missing, runtime, since, executor, jobs, console)
    return _summary(plan, manifest, runtime, since, interrupted, console)


def _train(
    specs: Sequence[RunSpec],
    runtime: Runtime,
    since: float,
    executor: Executor,
    jobs: int | None,
    console: Console,
) -> bool:
    """Train the runs; True when the user interrupted."""
    if executor == "debug":
        return _in_process(specs, runtime, since)
    workers = min(jobs or _default_jobs(runtime), len(specs))
    if runtime.threads is None and runtime.accelerator != "cuda":
        cores = len(os.sched_getaffinity(0))
        runtime = runtime.model_copy(update={"threads": max(1, cores // workers)})
    started = _start_local(specs, runtime, since, workers)
    board = Board(specs, runtime.runs_root, since)
    with View(board, console) as view:
        try:
            while any(not job.done() for job in started):
                time.sleep(POLL_SECONDS)
                view.update()
            view.update()
        except KeyboardInterrupt:
            console.print("stopping: the runs save and leave; the same command goes on from there")
            _stop(started)
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


def _start_local(
    specs: Sequence[RunSpec], runtime: Runtime, since: float, workers: int
) -> list[Any]:
    """Worker processes that share one list of runs through claims, and stop with this process.

    They ignore the terminal's interrupt (it would hit them in the middle of a step): the launcher
    catches it and asks them to save and leave.
    """
    pool = LocalExecutor(folder=runtime.runs_root / "jobs" / "%j")
    gpus = _gpus(runtime)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        jobs = []
        for number in range(workers):
            visible = [gpus[number % len(gpus)]] if gpus else []
            pool.update_parameters(
                timeout_min=LOCAL_MINUTES, gpus_per_node=len(visible), visible_gpus=visible
            )
            job = Job(
                specs=[spec.model_dump_json() for spec in specs],
                runtime=runtime.model_dump_json(),
                since=since,
                launcher=this_process(),
            )
            jobs.append(pool.submit(job))
    finally:
        signal.signal(signal.SIGINT, before)
    return jobs


def _stop(jobs: Sequence[Any]) -> None:
    """Ask the workers to save and leave, and wait for them."""
    for job in jobs:
        if not job.done():
            job._process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while any(not job.done() for job in jobs) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


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


def _default_jobs(runtime: Runtime) -> int:
    gpus = _gpus(runtime)
    return max(1, len(gpus) // runtime.devices) if gpus else len(os.sched_getaffinity(0))


def _gpus(runtime: Runtime) -> list[int]:
    import torch

    if runtime.accelerator == "cpu":
        return []
    return list(range(torch.cuda.device_count()))
