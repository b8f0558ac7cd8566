"""TensorBoard: an event file for each run, in ``runs/<experiment>/tensorboard``.

``pip install 'dskd-bench[tensorboard]'``, then ``tensorboard --logdir runs/EXP/tensorboard``. A
file is written anew from the run's metrics when a run is opened, so that nothing is there twice.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from suite.store.record import RunDirectory
from suite.tracking.describe import describe, summary
from suite.tracking.tracker import Outcome, TrackerError

FOLDER = "tensorboard"


def tracker(environment: Mapping[str, str], seconds: float) -> TensorBoard:  # noqa: ARG001
    """TensorBoard. Raises :class:`TrackerError` where it is not installed."""
    try:
        import tensorboard.summary.writer.event_file_writer  # noqa: F401
    except ImportError as error:
        cure = "pip install 'dskd-bench[tensorboard]'"
        raise TrackerError(f"tracker tensorboard is not installed ({error}): {cure}") from None
    return TensorBoard()


class TensorBoard:
    """Event files on this disk, see :class:`suite.tracking.tracker.Tracker`."""

    name, title, disabled, is_live = "tensorboard", "TensorBoard", "", True

    def address(self) -> Mapping[str, Any]:
        """A folder beside the runs."""
        return {"folder": FOLDER}

    def holds(self, run: RunDirectory, sent_to: Mapping[str, Any]) -> bool:
        """As long as nobody has removed it."""
        return dict(sent_to) == self.address() and any(folder_of(run).glob("events.*"))

    @contextmanager
    def open(self, run: RunDirectory) -> Iterator[EventFile]:
        """Begin the run's file anew."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = folder_of(run)
        shutil.rmtree(folder, ignore_errors=True)
        writer = EventFileWriter(str(folder))
        try:
            yield EventFile(run, writer)
        finally:
            writer.close()

    def outcome(self, run: RunDirectory) -> Outcome:
        """It is on the disk."""
        return Outcome(run.path.name, "sent")

    def stop(self) -> None:
        """Nothing is left running."""


class EventFile:
    """One open event file."""

    def __init__(self, run: RunDirectory, writer: Any) -> None:
        self._run, self._writer = run, writer
        self._last_epoch = 0
        described = describe(run)
        self._text("config", json.dumps(described.config, indent=2))

    def update(self) -> None:
        """Append the rows that are not there; the step is the epoch."""
        for row in self._run.read_metrics():
            if row["epoch"] > self._last_epoch:
                self._last_epoch = row["epoch"]
                self._scalars({key: value for key, value in row.items() if key != "epoch"})
        self._writer.flush()

    def settle(self) -> str:
        """Append the rest and what the record says."""
        self.update()
        result = self._run.read_result()
        if result is not None:
            self._scalars({f"result/{key}": value for key, value in summary(result).items()})
            self._text("result", json.dumps(result, indent=2))
        self._writer.flush()
        return str(folder_of(self._run).name)

    def _scalars(self, values: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        numbers = {k: number for k, number in values.items() if isinstance(number, int | float)}
        shown = [Summary.Value(tag=k, simple_value=number) for k, number in numbers.items()]
        self._writer.add_event(Event(step=self._last_epoch, summary=Summary(value=shown)))

    def _text(self, tag: str, content: str) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.plugins.text.metadata import create_summary_metadata

        indented = "\n".join(f"    {line}" for line in content.splitlines())  # Markdown: as it is
        tensor = TensorProto(dtype="DT_STRING", string_val=[indented.encode()])
        metadata = create_summary_metadata(display_name=tag, description="")
        value = Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
        self._writer.add_event(Event(step=self._last_epoch, summary=Summary(value=[value])))


def folder_of(run: RunDirectory) -> Path:
    """Named as W&B names the run, ended by its id."""
    name = describe(run).name.replace("/", "-")
    return run.path.parent / FOLDER / f"{name} {run.path.name}"
