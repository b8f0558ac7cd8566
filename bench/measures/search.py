"""Search: what the driver itself costs per trial, everything but the training."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.registry import Figure, Settings
from suite.config import RunSpec
from suite.store.record import write_json
from suite.store.states import directory_of
from sweeps.search.driver import Driver
from sweeps.search.plan import load
from sweeps.search.study import open_storage

TRIALS = (40, 200)


def measure(settings: Settings) -> Iterator[Figure]:  # noqa: ARG001
    """Asking, reporting, pruning, telling; with TPE the cost grows with the number of trials."""
    for trials in TRIALS:
        seconds = driver_seconds_per_trial(trials)
        note = "dskd_digits_search, journal file, one worker"
        yield Figure(f"driver, mean over {trials} trials", 1000 * seconds, "ms/trial", note=note)


def driver_seconds_per_trial(trials: int = 200, search: str = "dskd_digits_search") -> float:
    """Mean seconds of asking, reporting, pruning and telling per trial, over ``trials`` trials.

    The runs are written, not trained: their accuracies follow from the run ids alone. With TPE the
    cost grows with the number of trials that are there; the first 10 are drawn at random.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        plan = load(search, trials=trials)
        driver = Driver(plan, open_storage(root / plan.name, None), root, parallel=1)
        spent, over = 0.0, False
        while not over:
            for spec, _ in driver.queue.runs():
                _write(spec, root)
            started = time.perf_counter()
            over = driver.step()
            spent += time.perf_counter() - started
        return spent / (trials * len(plan.tunings))


def _write(spec: RunSpec, root: Path) -> None:
    """A finished run directory."""
    directory, train = directory_of(spec, root), spec.config.train
    if directory.finished():
        return
    directory.start(spec.model_dump(mode="json"))
    last = 60.0 + int(spec.run_id[:4], 16) % 3000 / 100
    for epoch in range(train.eval_every, train.epochs + 1, train.eval_every):
        accuracy = last * epoch / train.epochs
        directory.append_metrics({"epoch": epoch, "seconds": 0.1, "val/top1_percent": accuracy})
    figures = {"epoch": train.epochs, "val/top1_percent": last}
    write_json(directory.result, {"last": figures, "train_seconds": 0.1, "steps": train.epochs})
