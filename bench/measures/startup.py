"""Start: what a command and a worker take before they do what they are for.

Processes as the user and the launcher start them, start of Python included. A figure in CPU seconds
is what a machine with nothing else to do would take at least.
"""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import store
from bench.registry import Figure, Settings
from bench.timing import once, spread
from suite.config import Runtime
from suite.store.record import RunDirectory
from sweeps.plan.expand import expand
from sweeps.workers.job import Job
from sweeps.workers.source import RunList

EXPERIMENT, RUNS = "dskd_digits", 60
COMMAND_SECONDS, WORKER_SECONDS = 2.0, 4.0


def measure(settings: Settings) -> Iterator[Figure]:
    """Seconds of commands that answer at once, and of a worker until it has made a step."""
    yield from _figures("--help", _command("--help"), settings.rounds, COMMAND_SECONDS)
    yield from _figures(
        "report --help", _command("report", "--help"), settings.rounds, COMMAND_SECONDS
    )
    with TemporaryDirectory() as folder:
        runs_root = Path(folder)
        store.make(runs_root, RUNS)
        words = ["status", EXPERIMENT, f"--runs-root={runs_root}"]
        overrides = [word for it in store.settings_for(RUNS) for word in ("--set", it)]
        asked = _command(*words, *overrides)
        yield from _figures(f"status of {RUNS} runs", asked, settings.rounds, COMMAND_SECONDS)
        asked = _command(*words)
        yield from _figures(
            "status, nothing started", asked, settings.rounds, COMMAND_SECONDS, status=2
        )
    yield from _worker(settings)


def _worker(settings: Settings) -> Iterator[Figure]:
    loads = [sys.executable, "-c", "import suite.train.run"]
    yield from _figures("a worker's imports alone", loads, settings.rounds, None)
    with TemporaryDirectory() as folder:
        runs_root = Path(folder)
        runtime = Runtime(runs_root=runs_root, accelerator="cpu", tracker="none")
        teacher = expand(EXPERIMENT, runtime=runtime).runs[0]
        job = runs_root / "job.pkl"
        job.write_bytes(pickle.dumps(Job.of(RunList.of(EXPERIMENT, [teacher], 0.0), runtime)))
        words = [sys.executable, "-m", "bench.first_step", str(job)]
        yield from _figures("a worker to its first step", words, settings.rounds, WORKER_SECONDS)
        directory = RunDirectory.of(runs_root, teacher.experiment, teacher.run_id)
        if not directory.checkpoint.is_file():
            raise RuntimeError(f"the worker made no step: {directory.log.read_text()}")


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "suite.cli", *words]


def _figures(
    name: str, words: Sequence[str], rounds: int, at_most: float | None, *, status: int = 0
) -> Iterator[Figure]:
    """Seconds and CPU seconds of a process that ends with that status, after one not counted."""
    seconds, cpu = [], []
    for turn in range(rounds + 1):
        before = _cpu_of_children()
        taken = once(lambda: _run(words, status))
        if turn:
            seconds.append(taken)
            cpu.append(_cpu_of_children() - before)
    yield Figure(name, spread(seconds), "s", at_most=at_most)
    yield Figure(f"{name}: of CPU", spread(cpu), "s")


def _run(words: Sequence[str], status: int) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != status:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
