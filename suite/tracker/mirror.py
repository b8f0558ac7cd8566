"""Bring W&B up to date with one run directory. Main thread of the mirror's own process only."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Self

from suite.record import RecordError, RunDirectory, now, read_json, write_json
from suite.tracker import datastore
from suite.tracker.describe import Description, describe, summary
from suite.tracker.target import Target, TrackerError

CONFIRM_SECONDS = 10.0
"""How long to wait until the server's answer shows the last row."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    run_id: str
    state: Literal["sent", "skipped", "failed"]
    reason: str = ""


class Busy(TrackerError):
    """Another process mirrors this run now."""


def mirror(path: Path, target: Target) -> Outcome:
    """Send what W&B lacks of a run that is over; calling it again changes nothing.

    Online a run is over when it is finished or has failed; offline when it is finished, because
    an offline folder cannot be continued. Raises :class:`TrackerError`, ``RecordError`` or
    whatever wandb raises (``wandb.Error``, TimeoutError).
    """
    run = RunDirectory(path)
    if target.mode == "disabled":
        return Outcome(path.name, "skipped", "WANDB_MODE is disabled")
    if not is_over(run, target):
        return Outcome(path.name, "skipped", "not finished")
    if is_recorded(run, target):
        return Outcome(path.name, "skipped", "already sent")
    try:
        with Mirror(run, target) as opened:
            opened.settle()
    except Busy as error:
        return Outcome(path.name, "skipped", str(error))
    return Outcome(path.name, "sent")


def is_over(run: RunDirectory, target: Target) -> bool:
    """Whether nothing more will come from the present attempt."""
    return run.finished() or (target.mode == "online" and run.failure.is_file())


def is_recorded(run: RunDirectory, target: Target) -> bool:
    """Whether W&B holds the run as it is now, at this target. A run that is online needs no
    offline folder."""
    with suppress(RecordError):  # a damaged note means only that the run is mirrored again
        note = read_json(run.path / "wandb.json")
        if note is not None and note["fingerprint"] == fingerprint(run):
            if target.mode == "online":
                return bool(note["target"] == target.address())
            return note["target"]["mode"] == "online" or _offline_folder(run).is_dir()
    return False


def fingerprint(run: RunDirectory) -> str:
    """SHA-256 of what ends the run: its result, else its failure and metrics."""
    files = [run.result] if run.finished() else [run.failure, run.metrics]
    digest = hashlib.sha256()
    for file in files:
        with suppress(FileNotFoundError):
            digest.update(file.read_bytes())
    return digest.hexdigest()


class Mirror:
    """One open W&B run that follows a run directory; use it as a context manager.

    Raises :class:`Busy` when another process has the run open.
    """

    def __init__(self, run: RunDirectory, target: Target) -> None:
        self.run, self.target = run, target
        self._lock = _lock(run)
        try:
            self._scratch = _scratch(run)
            self._wandb: Any = None
            if target.mode == "online" or not _offline_folder(run).is_dir():
                with time_limit(target.seconds, "wandb.init"):
                    self._wandb = _init(describe(run), target, self._scratch)
                self._next_epoch: int = self._wandb.starting_step
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def update(self) -> None:
        """Send the rows that W&B lacks; the step is the epoch."""
        with time_limit(self.target.seconds, "Run.log"):
            for row in self.run.read_metrics():
                if row["epoch"] >= self._next_epoch:
                    self._wandb.log(row, step=row["epoch"], commit=True)
                    self._next_epoch = row["epoch"] + 1

    def settle(self) -> None:
        """Send the rest, check that W&B has it, and note that in ``wandb.json``."""
        mark, place = fingerprint(self.run), str(_offline_folder(self.run))
        if self._wandb is not None:
            self.update()
            self._finish()
            place = self._confirm_online() if self.target.mode == "online" else self._move_offline()
        if not is_over(self.run, self.target):
            return  # interrupted: the next attempt goes on with this W&B run
        if self.target.mode == "online":
            _remove_offline_folders(self.run)
        note = {"target": self.target.address(), "place": place, "fingerprint": mark, "time": now()}
        write_json(self.run.path / "wandb.json", note)

    def _finish(self) -> None:
        result = self.run.read_result()
        with time_limit(self.target.seconds + 5, "Run.finish"):  # after wandb's own limit
            if result is not None:
                self._wandb.summary.update(summary(result))
            elif not self.run.failure.is_file():
                self._wandb.mark_preempting()
            self._wandb.finish(exit_code=0 if result is not None else 1)

    def _confirm_online(self) -> str:
        """The run's URL once the server answers with the last row that was sent."""
        import wandb

        last, end = self._next_epoch - 1, time.monotonic() + CONFIRM_SECONDS
        with time_limit(self.target.seconds, "wandb.Api"):
            while True:
                run = wandb.Api(timeout=int(self.target.seconds)).run(self._wandb.path)
                held = run.lastHistoryStep
                if held >= last or time.monotonic() > end:
                    break
                time.sleep(1)
        if held < last:
            raise TrackerError(f"W&B holds epochs up to {held}, sent were {last}")
        return str(run.url)

    def _move_offline(self) -> str:
        """Check the folder and give it its name in one step."""
        (file,) = self._scratch.glob("wandb/offline-run-*/*.wandb")
        epochs = [row["epoch"] for row in self.run.read_metrics()]
        steps, exited = datastore.history(file)
        if steps != epochs or not exited:
            raise TrackerError(
                f"the offline folder holds {len(steps)} of {len(epochs)} rows: is the disk full?"
            )
        with file.open("rb") as written:
            os.fsync(written.fileno())
        shutil.rmtree(file.parent / "logs", ignore_errors=True)
        folder = _offline_folder(self.run)
        _remove_offline_folders(self.run)
        file.parent.rename(folder)
        return str(folder)

    def _release(self) -> None:
        if hasattr(self, "_scratch"):
            shutil.rmtree(self._scratch, ignore_errors=True)
        os.close(self._lock)


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
        "disable_git": True,
        "disable_code": True,
        "x_disable_stats": True,  # they would be those of this process, not of the trainer
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


def _lock(run: RunDirectory) -> int:
    handle = os.open(run.path / "wandb.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Busy("another process mirrors it now") from None
    except OSError:
        os.close(handle)
        raise
    return handle


def _scratch(run: RunDirectory) -> Path:
    """An empty folder for wandb; what a killed mirror of this run left is removed."""
    shelf = run.path.parent / "wandb"
    shelf.mkdir(exist_ok=True)
    for leftover in shelf.glob(f".partial-{run.path.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f".partial-{run.path.name}-", dir=shelf))


def _offline_folder(run: RunDirectory) -> Path:
    """``offline-run-<end of the run>-<run id>``, as ``wandb sync`` expects the name."""
    result = run.read_result() or {}
    finished = result.get("provenance", {}).get("finished", "1970-01-01T00:00:00")
    stamp = finished[:19].replace("-", "").replace(":", "").replace("T", "_")
    return run.path.parent / "wandb" / f"offline-run-{stamp}-{run.path.name}"


def _remove_offline_folders(run: RunDirectory) -> None:
    for folder in (run.path.parent / "wandb").glob(f"offline-run-*-{run.path.name}"):
        shutil.rmtree(folder, ignore_errors=True)


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
