"""One run from config to result.json, or several side by side, in the order of the flow."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import torch

from suite import data
from suite.config import RunSpec, Runtime
from suite.device import determinism
from suite.interface.errors import UserError
from suite.store.provenance import code_of_run, device_name
from suite.store.record import RunDirectory, now
from suite.train.build import Ground, build_trainer, make_fabric
from suite.train.pack import Interrupted, Pack, shared
from suite.train.result import write_result
from suite.train.trainer import Trainer

__all__ = ["Interrupted", "run", "run_packed"]
log = logging.getLogger(__name__)


def run(spec: RunSpec, runtime: Runtime, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Train ``spec`` to its end and leave ``result.json``; a finished run is left alone.

    Raises :class:`Interrupted` after a checkpoint once ``should_stop()`` is true, and
    :class:`suite.interface.errors.UserError` for what the user can mend.
    """
    for failure in run_packed([spec], runtime, should_stop).values():
        raise failure


def run_packed(
    specs: Sequence[RunSpec], runtime: Runtime, should_stop: Callable[[], bool] = lambda: False
) -> dict[RunSpec, Exception]:
    """Train several runs side by side (see ``pack.py``); returns those that failed, and why.

    All must share what :func:`suite.train.pack.shared` says. Each ends with the bits it would have
    alone. Raises :class:`Interrupted` as :func:`run` does.
    """
    if len({shared(spec.config) for spec in specs}) > 1:
        raise ValueError("these runs share no data order, teacher or precision")
    directories = {
        spec: RunDirectory.of(runtime.runs_root, spec.experiment, spec.run_id) for spec in specs
    }
    missing = {spec: it for spec, it in directories.items() if not it.finished()}
    if not missing:
        return {}
    started = now()
    for spec in missing:
        # as it is now, whatever is edited while it trains
        code_of_run(spec.config.method.name, data.modules(spec.config.data.name))
    with ExitStack() as logs, determinism.watch():
        try:
            for spec, directory in missing.items():
                directory.start(spec.model_dump(mode="json"))
                logs.enter_context(_logging_to(directory))
            config = next(iter(missing)).config
            ground = Ground.of(config, runtime, make_fabric(config, runtime))
        except Exception as error:  # noqa: BLE001  (the caller gets it)
            _log_failure("failed", error)
            return dict.fromkeys(missing, error)
        try:
            return _train(missing, ground, runtime, should_stop, started)
        finally:
            ground.data.close()


def _train(
    directories: Mapping[RunSpec, RunDirectory],
    ground: Ground,
    runtime: Runtime,
    should_stop: Callable[[], bool],
    started: str,
) -> dict[RunSpec, Exception]:
    device, threads = device_name(ground.fabric.device), torch.get_num_threads()
    log.info("device %s, %d threads, %d runs side by side", device, threads, len(directories))
    failures: dict[RunSpec, Exception] = {}
    trainers: dict[Trainer, RunSpec] = {}
    for spec, directory in directories.items():
        log.info("run %s: %s, seed %d", spec.run_id, spec.label, spec.config.seed)
        try:
            trainers[build_trainer(spec.config, ground, runtime, directory)] = spec
        except Exception as error:  # noqa: BLE001  (the others can go on)
            failures[spec] = error

    def finish(trainer: Trainer) -> None:
        if not trainer.predictions:  # resumed after its end
            trainer.evaluate()
        if ground.fabric.is_global_zero:
            with trainer.average.shown():
                write_result(trainers[trainer], trainer, started, len(trainers))
        seconds = trainer.position.train_seconds
        log.info("run %s: finished, %.1f s of training", trainers[trainer].run_id, seconds)
        ground.fabric.barrier()

    pack = Pack(ground.fabric, list(trainers), ground.teacher, ground.layout, finish)
    try:
        pack.fit(should_stop, runtime.checkpoint_seconds)
    except Exception as stop:
        log.info("%s: %s", type(stop).__name__, stop)
        raise
    failures |= {trainers[trainer]: error for trainer, error in pack.failures.items()}
    for spec, failure in failures.items():
        _log_failure(f"run {spec.run_id} failed", failure)
    return failures


def _log_failure(what: str, failure: Exception) -> None:
    """One line for what the user can mend; anything else with its traceback."""
    trace = None if isinstance(failure, UserError) else failure
    log.error("%s: %s", what, failure, exc_info=trace)


class _RunLog(logging.FileHandler):
    """A log line that the disk has no room for stops nothing and is reported by nobody."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Nothing."""

    def close(self) -> None:
        """Close without complaint."""
        with suppress(OSError):
            super().close()


@contextmanager
def _logging_to(directory: RunDirectory) -> Iterator[None]:
    """Send the log of this run to its own ``log.txt``."""
    handler = _RunLog(directory.log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root, ours = logging.getLogger(), logging.getLogger("suite")
    before = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.INFO)  # whatever the process prints: a run's log is whole
    try:
        log.info("on %s, torch %s", platform.node(), torch.__version__)
        yield
    finally:
        ours.setLevel(before)
        root.removeHandler(handler)
        handler.close()
