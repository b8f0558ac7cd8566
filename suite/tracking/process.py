"""Start the uploader's process and talk to it; neither ever holds up the caller."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from suite.store.record import RecordError, RunDirectory, read_object
from suite.store.states import teacher_run_ids
from suite.tracking.tracker import TrackerError

DEFAULT = "wandb"
ROOT = Path(__file__).resolve().parents[2]
"""Where the package ``suite`` lies."""
log = logging.getLogger(__name__)


class Uploader:
    """One low-priority process that sends the runs of a worker while they train.

    Nothing here blocks or raises. When the caller is gone, by :meth:`close` or by ``kill -9``, the
    process sends what it has, with a bound on the time, and leaves by itself.
    """

    def __init__(self, log_file: Path, tracker: str = DEFAULT, seconds: float = 30.0) -> None:
        """Warnings go to ``log_file``; ``seconds`` limits one call of the tracker's library."""
        self._tracker = tracker
        self._process: subprocess.Popen[bytes] | None = None
        try:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            with log_file.open("ab") as output:
                options = [f"--tracker={tracker}", "--live", f"--seconds={seconds}"]
                self._process, self._pipe = _start(options, output)
            os.set_blocking(self._pipe, False)
        except OSError as error:
            log.warning("%s could not start (%s); dskd-bench sync sends later", tracker, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def watch(self, directory: Path) -> None:
        """Send this run directory from now until its run is over."""
        if self._process is None or self._process.poll() == 0:  # the tracker is disabled
            return
        try:
            os.write(self._pipe, _line(directory))
        except OSError as error:
            log.warning("%s: gone or full (%s); dskd-bench sync sends later", self._tracker, error)

    def close(self, seconds: float = 3.0) -> bool:
        """No more runs will come. Wait ``seconds`` at most; True if everything is settled."""
        process, self._process = self._process, None
        if process is None:
            return True
        os.close(self._pipe)
        try:
            return process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            return False  # it goes on alone


@dataclass(frozen=True)
class Summary:
    """What a :func:`sync` did, in runs."""

    tracker: str
    sent: int
    """The tracker has them now."""
    kept: int
    """In local folders for it, as the user wants."""
    unsent: int
    """In such folders, since no key is configured."""
    skipped: int
    failed: int
    reasons: tuple[str, ...]
    """One line per reason for which runs are not at the tracker, with their number."""

    def __str__(self) -> str:
        offline = [f"{self.kept} kept offline"] if self.kept else []
        offline += [f"{self.unsent} NOT sent"] if self.unsent else []
        counts = ", ".join(
            [
                f"{self.tracker}: {self.sent} sent",
                *offline,
                f"{self.skipped} skipped",
                f"{self.failed} failed",
            ]
        )
        return "\n".join([counts, *(f"  {reason}" for reason in self.reasons)])


def sync(
    runs_root: Path,
    experiment: str,
    tracker: str = DEFAULT,
    *,
    seconds: float = 30.0,
    progress: Callable[[str], None] | None = None,
) -> Summary:
    """Send to a tracker whatever it lacks of an experiment and its teachers; can be repeated.

    W&B: online with a key, else into ``runs/<experiment>/wandb``. Once the tracker does not answer
    three times in a row, the rest is left for the next call. ``progress`` gets a line per run.
    Raises :class:`TrackerError` for an unknown experiment or tracker, or a wrong WANDB_MODE.
    """
    directories = directories_of(runs_root, experiment)
    log_file = runs_root / experiment / tracker / "uploader.log"
    log_file.parent.mkdir(exist_ok=True)
    with log_file.open("ab") as errors:
        process, pipe = _start(
            [f"--tracker={tracker}", f"--seconds={seconds}"], subprocess.PIPE, errors
        )
        outcomes = _exchange(process, pipe, directories, progress)
    if process.returncode != 0:
        text = outcomes[-1]["reason"] if outcomes else f"see {log_file}"
        raise TrackerError(f"{tracker}: {text}")
    counts = Counter(outcome["state"] for outcome in outcomes)
    reasons = Counter(f"{o['state']}: {o['reason']}" for o in outcomes if o["reason"])
    lines = tuple(f"{number} {reason}" for reason, number in reasons.most_common())
    counted = ("sent", "kept", "unsent", "skipped", "failed")
    return Summary(tracker, **{state: counts[state] for state in counted}, reasons=lines)


def directories_of(runs_root: Path, experiment: str) -> list[Path]:
    """The run directories of an experiment, and those of its teachers."""
    folder = runs_root / experiment
    if not folder.is_dir():
        raise TrackerError(f"experiment {experiment!r} has no runs in {runs_root}")
    runs = [RunDirectory(config.parent) for config in sorted(folder.glob("*/config.json"))]
    ids = dict.fromkeys(_teachers(runs))
    teachers = {RunDirectory.of_teacher(runs_root, run_id).path: None for run_id in ids}
    return [run.path for run in runs] + [path for path in teachers if path.is_dir()]


def _teachers(runs: Sequence[RunDirectory]) -> Iterator[str]:
    """Ids of the runs that trained teachers; a damaged config is told when its run is sent."""
    for run in runs:
        with suppress(RecordError):
            config = (read_object(run.config) or {}).get("config") or {}
            yield from teacher_run_ids(config)


def _exchange(
    process: subprocess.Popen[bytes],
    pipe: int,
    directories: Sequence[Path],
    progress: Callable[[str], None] | None,
) -> list[dict[str, Any]]:
    """Hand over all directories and collect an outcome for each."""
    outcomes: list[dict[str, Any]] = []
    try:
        with suppress(BrokenPipeError), os.fdopen(pipe, "wb") as inbox:
            inbox.writelines(_line(directory) for directory in directories)
        for line in process.stdout or ():
            outcomes.append(json.loads(line))
            if progress is not None:
                progress(" ".join(outcomes[-1].values()).strip())
        process.wait()
    finally:
        process.kill()
        process.wait()
    return outcomes


def _start(
    options: Sequence[str], output: IO[bytes] | int, errors: IO[bytes] | int = subprocess.STDOUT
) -> tuple[subprocess.Popen[bytes], int]:
    """The process and the pipe for its run directories; its end of file means: no more."""
    inbox, pipe = os.pipe()
    try:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "suite.tracking",
                f"--inbox={inbox}",
                f"--parent={os.getpid()}",
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            pass_fds=[inbox],
            cwd=ROOT,  # the same code as the caller's, even where it is not installed
            start_new_session=True,  # the terminal's Ctrl-C is not for it
        )
    except OSError:
        os.close(pipe)
        raise
    finally:
        os.close(inbox)
    return process, pipe


def _line(directory: Path) -> bytes:
    return f"{json.dumps(str(directory.resolve()))}\n".encode()
