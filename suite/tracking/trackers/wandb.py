"""W&B: one run there for each run here, online or in offline folders for ``wandb sync``."""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from suite.store.record import RunDirectory, read_json
from suite.tracking import sync_state, wandb_file
from suite.tracking.describe import Description, describe, summary
from suite.tracking.tracker import Outcome, TrackerError, time_limit
from suite.tracking.wandb_destination import Destination

CONFIRM_SECONDS = 10.0
"""How long to wait until the server's answer, or the offline file, shows the last row."""


def tracker(environment: Mapping[str, str], seconds: float) -> Wandb:
    """W&B as the environment says. Raises :class:`TrackerError` for a mode that does not exist."""
    return Wandb(Destination.from_environment(environment, seconds))


class Wandb:
    """W&B, see :class:`suite.tracking.tracker.Tracker`."""

    name, title = "wandb", "W&B"

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.disabled = "WANDB_MODE is disabled" if destination.mode == "disabled" else ""
        self.is_live = destination.mode == "online"

    def address(self) -> Mapping[str, Any]:
        """Mode, project, entity and server."""
        return self.destination.address()

    def holds(self, run: RunDirectory, sent_to: Mapping[str, Any]) -> bool:
        """A run that is online needs no offline folder."""
        if self.is_live:
            return dict(sent_to) == self.address()
        return sent_to.get("mode") == "online" or offline_folder(run).is_dir()

    @contextmanager
    def open(self, run: RunDirectory) -> Iterator[WandbRun]:
        """Begin the W&B run with this run's id, or resume it where the server left off."""
        with _scratch(run) as folder:
            yield WandbRun(run, self.destination, folder)

    def outcome(self, run: RunDirectory) -> Outcome:
        """Sent, or kept offline: as the user wants, or since there is no key."""
        if self.is_live or not offline_folder(run).is_dir():
            return Outcome(run.path.name, "sent")
        if self.destination.has_key:
            reason = "an offline folder holds it: WANDB_MODE is offline"
            return Outcome(run.path.name, "kept", reason)
        cure = "wandb login, or set WANDB_API_KEY, then sync again"
        return Outcome(run.path.name, "unsent", f"no key of W&B is configured: {cure}")

    def stop(self) -> None:
        """End wandb's service if it runs; the next run starts a new one."""
        if "wandb" not in sys.modules:
            return
        import wandb

        with suppress(Exception), time_limit(5, "wandb.teardown"):
            wandb.teardown()


class WandbRun:
    """One open W&B run."""

    def __init__(self, run: RunDirectory, destination: Destination, scratch: Path) -> None:
        self._run, self._destination, self._scratch = run, destination, scratch
        with time_limit(destination.seconds, "wandb.init"):
            self._wandb: Any = _init(describe(run), destination, scratch)
        self._next_epoch: int = self._wandb.starting_step  # 0, or what the server lacks

    def update(self) -> None:
        """Send the rows that W&B lacks; the step is the epoch."""
        with time_limit(self._destination.seconds, "Run.log"):
            for row in self._run.read_metrics():
                if row["epoch"] >= self._next_epoch:
                    self._wandb.log(row, step=row["epoch"], commit=True)
                    self._next_epoch = row["epoch"] + 1

    def settle(self) -> str:
        """Send the rest and check that W&B, or the offline folder, has it."""
        self.update()
        self._finish()
        online = self._destination.mode == "online"
        return self._confirm_online() if online else self._move_offline()

    def _finish(self) -> None:
        result = self._run.read_result()
        with time_limit(self._destination.seconds + 5, "Run.finish"):  # beyond wandb's own limit
            pruned = sync_state.is_pruned(self._run)
            trial = read_json(self._run.trial)
            if trial is not None:
                self._wandb.summary.update(summary({"trial": trial}))
            if result is not None:
                self._wandb.summary.update(summary(result))
            elif not pruned and not self._run.failure.is_file():
                self._wandb.mark_preempting()  # the next attempt goes on with this W&B run
            self._wandb.finish(exit_code=0 if pruned or result is not None else 1)

    def _confirm_online(self) -> str:
        """The run's URL, once the server answers with the last row that was sent."""
        import wandb

        last, end = self._next_epoch - 1, time.monotonic() + CONFIRM_SECONDS
        with time_limit(self._destination.seconds, "wandb.Api"):
            run = wandb.Api(timeout=math.ceil(self._destination.seconds)).run(self._wandb.path)
            while (held := run.lastHistoryStep) < last and time.monotonic() < end:
                time.sleep(1)
        if held < last:
            raise TrackerError(f"W&B holds epochs up to {held}, sent were {last}")
        _remove_offline_folders(self._run)
        return str(run.url)

    def _move_offline(self) -> str:
        """Read the folder back and give it its name in one step."""
        (file,) = self._scratch.glob("wandb/offline-run-*/*.wandb")
        epochs = [row["epoch"] for row in self._run.read_metrics()]
        end = time.monotonic() + CONFIRM_SECONDS
        while (held := wandb_file.history(file)) != (epochs, True):  # finish() returns early
            if time.monotonic() > end:
                rows = f"{len(held[0])} of {len(epochs)} rows"
                raise TrackerError(f"the offline folder holds {rows}: is the disk full?")
            time.sleep(0.01)
        with file.open("rb") as written:
            os.fsync(written.fileno())
        shutil.rmtree(file.parent / "logs", ignore_errors=True)
        _remove_offline_folders(self._run)
        file.parent.rename(folder := offline_folder(self._run))
        return folder.name


def offline_folder(run: RunDirectory) -> Path:
    """``offline-run-<end of the run>-<run id>``, the kind of name that ``wandb sync`` looks for."""
    result = run.read_result() or {}
    finished = result.get("provenance", {}).get("finished", "1970-01-01T00:00:00")
    stamp = finished[:19].replace("-", "").replace(":", "").replace("T", "_")
    return _shelf(run) / f"offline-run-{stamp}-{run.path.name}"


def _remove_offline_folders(run: RunDirectory) -> None:
    """Forget what an earlier result of the run, or an earlier destination, left."""
    for folder in _shelf(run).glob(f"offline-run-*-{run.path.name}"):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _scratch(run: RunDirectory) -> Iterator[Path]:
    """A hidden, empty folder for wandb, removed at the end, as is what a killed uploader left."""
    _shelf(run).mkdir(exist_ok=True)
    for leftover in _shelf(run).glob(f".partial-{run.path.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".partial-{run.path.name}-", dir=_shelf(run)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _shelf(run: RunDirectory) -> Path:
    return run.path.parent / "wandb"


def _init(description: Description, destination: Destination, scratch: Path) -> Any:
    import wandb

    settings: dict[str, Any] = {
        "console": "off",
        "silent": True,
        "reinit": "create_new",  # several runs at a time in one process
        "init_timeout": destination.seconds,
        "finish_timeout": destination.seconds,
        "finish_timeout_raises": True,
        "stop_fn": _keep_going,
        "sagemaker_disable": True,
        "disable_git": True,  # config.json and result.json say it of the trainer; these would
        "disable_code": True,  # describe the uploader's process
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
    }
    return wandb.init(
        mode=destination.mode,
        project=destination.project,
        entity=destination.entity,
        id=description.run_id,
        name=description.name,
        group=description.group,
        job_type=description.job_type,
        tags=description.tags,
        config=description.config,
        dir=scratch,
        resume="allow" if destination.mode == "online" else None,
        settings=wandb.Settings(**settings),
    )


def _keep_going() -> None:
    """Ignores the stop button of W&B's page, which would stop the uploader, not the training."""
