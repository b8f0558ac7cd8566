"""Start the mirror's process and talk to it; neither ever holds up the caller."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from suite.store.record import read_json
from suite.tracking.target import TrackerError

ROOT = Path(__file__).resolve().parents[2]
"""Where the package ``suite`` lies."""
log = logging.getLogger(__name__)


class Follower:
    """One low-priority process that mirrors the runs of a worker while they train.

    Nothing here blocks or raises. When the caller is gone, by :meth:`close` or by ``kill -9``, the
    process sends what it has, with a bound on the time, and leaves by itself.
    """

    def __init__(self, log_file: Path, seconds: float = 30.0) -> None:
        """Warnings go to ``log_file``; ``seconds`` limits one call of wandb."""
        self._process: subprocess.Popen[bytes] | None = None
        try:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            with log_file.open("ab") as output:
                self._process, self._pipe = _start(["--live", f"--seconds={seconds}"], output)
            os.set_blocking(self._pipe, False)
        except OSError as error:
            log.warning("W&B: the mirror could not start (%s); dskd-bench sync sends later", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def follow(self, directory: Path) -> None:
        """Mirror this run directory from now until its run is over."""
        if self._process is None or self._process.poll() == 0:  # WANDB_MODE is disabled
            return
        try:
            os.write(self._pipe, _line(directory))
        except OSError as error:
            log.warning("W&B: the mirror is gone or full (%s); dskd-bench sync sends later", error)

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

    sent: int
    """W&B has them now."""
    kept: int
    """In offline folders, since WANDB_MODE is offline."""
    unsent: int
    """In offline folders, since no key is configured."""
    skipped: int
    failed: int
    reasons: tuple[str, ...]
    """One line per reason for which runs are not at W&B, with their number."""

    def __str__(self) -> str:
        offline = [f"{self.kept} kept offline"] if self.kept else []
        offline += [f"{self.unsent} NOT sent"] if self.unsent else []
        counts = ", ".join(
            [
                f"W&B: {self.sent} sent",
                *offline,
                f"{self.skipped} skipped",
                f"{self.failed} failed",
            ]
        )
        return "\n".join([counts, *(f"  {reason}" for reason in self.reasons)])


def sync(
    runs_root: Path,
    experiment: str,
    *,
    seconds: float = 30.0,
    progress: Callable[[str], None] | None = None,
) -> Summary:
    """Send to W&B whatever it lacks of an experiment and its teachers; can be repeated.

    Online with a key, else into offline folders under ``runs/<experiment>/wandb``. Once W&B does
    not answer three times in a row, the rest is left for the next call. ``progress`` gets a line
    per run. Raises :class:`TrackerError` for an unknown experiment or a wrong WANDB_MODE.
    """
    directories = directories_of(runs_root, experiment)
    log_file = runs_root / experiment / "wandb" / "follower.log"
    log_file.parent.mkdir(exist_ok=True)
    with log_file.open("ab") as errors:
        process, pipe = _start([f"--seconds={seconds}"], subprocess.PIPE, errors)
        outcomes = _exchange(process, pipe, directories, progress)
    if process.returncode != 0:
        text = outcomes[-1]["reason"] if outcomes else f"see {log_file}"
        raise TrackerError(f"W&B: {text}")
    counts = Counter(outcome["state"] for outcome in outcomes)
    reasons = Counter(f"{o['state']}: {o['reason']}" for o in outcomes if o["reason"])
    lines = tuple(f"{number} {reason}" for reason, number in reasons.most_common())
    states = ("sent", "kept", "unsent", "skipped", "failed")
    return Summary(**{state: counts[state] for state in states}, reasons=lines)


def directories_of(runs_root: Path, experiment: str) -> list[Path]:
    """The run directories of an experiment: those that its manifests list, and all that exist."""
    place = runs_root / experiment
    if not place.is_dir():
        raise TrackerError(f"experiment {experiment!r} has no runs in {runs_root}")
    found = {config.parent: None for config in sorted(place.glob("*/config.json"))}
    for manifest in sorted(place.glob("manifest*.json")):
        runs = (read_json(manifest) or {}).get("runs", [])
        found |= {runs_root / run["directory"]: None for run in runs}
    return [directory for directory in found if (directory / "config.json").is_file()]


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
