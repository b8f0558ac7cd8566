"""Bring W&B up to date with one run directory. Main thread of the mirror's own process only."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Self

from suite.store.record import RunDirectory, read_json
from suite.tracking import datastore, ledger
from suite.tracking.describe import Description, describe, summary
from suite.tracking.target import Target, TrackerError

CONFIRM_SECONDS = 10.0
"""How long to wait until the server's answer, or the offline file, shows the last row."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    run_id: str
    state: Literal["sent", "kept", "unsent", "skipped", "failed"]
    """``sent``: W&B has it. ``kept``: in an offline folder, as WANDB_MODE wants. ``unsent``: in an
    offline folder since there is no key."""
    reason: str = ""


def mirror(path: Path, target: Target) -> Outcome:
    """Send what W&B lacks of a run that is over; calling it again changes nothing.

    Raises :class:`TrackerError`, ``RecordError``, OSError, or what wandb raises (``wandb.Error``,
    TimeoutError).
    """
    run = RunDirectory(path)
    if target.mode == "disabled":
        return Outcome(path.name, "skipped", "WANDB_MODE is disabled")
    if not ledger.is_over(run, target):
        return Outcome(path.name, "skipped", "not finished")
    if ledger.is_recorded(run, target):
        if target.mode == "offline" and ledger.offline_folder(run).is_dir():
            return _kept(run, target)
        return Outcome(path.name, "skipped", "already sent")
    try:
        with Mirror(run, target) as opened:
            opened.settle()
    except ledger.Busy as error:
        return Outcome(path.name, "skipped", str(error))
    return _kept(run, target) if target.mode == "offline" else Outcome(path.name, "sent")


def _kept(run: RunDirectory, target: Target) -> Outcome:
    if target.has_key:
        return Outcome(run.path.name, "kept", "an offline folder holds it: WANDB_MODE is offline")
    cure = "wandb login, or set WANDB_API_KEY, then sync again"
    return Outcome(run.path.name, "unsent", f"no key of W&B is configured: {cure}")


class Mirror:
    """One open W&B run that follows a run directory; a context manager.

    Raises :class:`suite.tracking.ledger.Busy` when another process has the run open.
    """

    def __init__(self, run: RunDirectory, target: Target) -> None:
        self.run, self.target = run, target
        with ExitStack() as stack:
            stack.enter_context(ledger.locked(run))
            self._scratch = stack.enter_context(ledger.scratch(run))
            with time_limit(target.seconds, "wandb.init"):
                self._wandb: Any = _init(describe(run), target, self._scratch)
            self._next_epoch: int = self._wandb.starting_step  # 0, or what the server lacks
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the run to the next mirror."""
        self._stack.close()

    def update(self) -> None:
        """Send the rows that W&B lacks; the step is the epoch."""
        with time_limit(self.target.seconds, "Run.log"):
            for row in self.run.read_metrics():
                if row["epoch"] >= self._next_epoch:
                    self._wandb.log(row, step=row["epoch"], commit=True)
                    self._next_epoch = row["epoch"] + 1

    def settle(self) -> None:
        """Send the rest, check that W&B has it and, if the run is over, note that."""
        over, mark = ledger.is_over(self.run, self.target), ledger.fingerprint(self.run)
        self.update()
        self._finish()
        place = self._confirm_online() if self.target.mode == "online" else self._move_offline()
        if over:
            ledger.record(self.run, self.target, place, mark)

    def _finish(self) -> None:
        result = self.run.read_result()
        with time_limit(self.target.seconds + 5, "Run.finish"):  # beyond wandb's own limit
            pruned = ledger.is_pruned(self.run)
            trial = read_json(self.run.trial)
            if trial is not None:
                self._wandb.summary.update(summary({"trial": trial}))
            if result is not None:
                self._wandb.summary.update(summary(result))
            elif not pruned and not self.run.failure.is_file():
                self._wandb.mark_preempting()  # the next attempt goes on with this W&B run
            self._wandb.finish(exit_code=0 if pruned or result is not None else 1)

    def _confirm_online(self) -> str:
        """The run's URL, once the server answers with the last row that was sent."""
        import wandb

        last, end = self._next_epoch - 1, time.monotonic() + CONFIRM_SECONDS
        with time_limit(self.target.seconds, "wandb.Api"):
            run = wandb.Api(timeout=math.ceil(self.target.seconds)).run(self._wandb.path)
            while (held := run.lastHistoryStep) < last and time.monotonic() < end:
                time.sleep(1)
        if held < last:
            raise TrackerError(f"W&B holds epochs up to {held}, sent were {last}")
        ledger.remove_offline_folders(self.run)
        return str(run.url)

    def _move_offline(self) -> str:
        """Read the folder back and give it its name in one step."""
        (file,) = self._scratch.glob("wandb/offline-run-*/*.wandb")
        epochs = [row["epoch"] for row in self.run.read_metrics()]
        end = time.monotonic() + CONFIRM_SECONDS
        while (held := datastore.history(file)) != (epochs, True):  # finish() returns early
            if time.monotonic() > end:
                rows = f"{len(held[0])} of {len(epochs)} rows"
                raise TrackerError(f"the offline folder holds {rows}: is the disk full?")
            time.sleep(0.01)
        with file.open("rb") as written:
            os.fsync(written.fileno())
        shutil.rmtree(file.parent / "logs", ignore_errors=True)
        ledger.remove_offline_folders(self.run)
        file.parent.rename(folder := ledger.offline_folder(self.run))
        return folder.name


def _init(it: Description, target: Target, scratch: Path) -> Any:
    import wandb

    wanted: dict[str, Any] = {
        "console": "off",
        "silent": True,
        "reinit": "create_new",  # several runs at a time in one process
        "init_timeout": target.seconds,
        "finish_timeout": target.seconds,
        "finish_timeout_raises": True,
        "stop_fn": _keep_going,
        "sagemaker_disable": True,
        "disable_git": True,  # config.json and result.json say it of the trainer; these would
        "disable_code": True,  # describe the mirror's process
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
    }
    return wandb.init(
        mode=target.mode,
        project=target.project,
        entity=target.entity,
        id=it.run_id,
        name=it.name,
        group=it.group,
        job_type=it.job_type,
        tags=it.tags,
        config=it.config,
        dir=scratch,
        resume="allow" if target.mode == "online" else None,
        settings=wandb.Settings(**wanted),
    )


def _keep_going() -> None:
    """A stop asked for on W&B's page would interrupt the mirror, not the training."""


def stop_wandb() -> None:
    """End wandb's service if it runs; the next run starts a new one. Raises nothing."""
    if "wandb" not in sys.modules:
        return
    import wandb

    with suppress(Exception), time_limit(5, "wandb.teardown"):
        wandb.teardown()


@contextmanager
def time_limit(seconds: float, call: str) -> Iterator[None]:
    """Raise TimeoutError in the main thread when the body takes longer than ``seconds``."""

    def expire(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"{call} took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
