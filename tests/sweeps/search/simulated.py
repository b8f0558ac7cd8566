"""Training that takes no time: a run directory as a real run leaves it, from a formula."""

import multiprocessing
import time
from pathlib import Path

import yaml
from optuna.trial import TrialState

from suite.config import Runtime
from suite.store.lease import LeaseLost, acquire
from suite.store.record import write_json
from suite.store.states import directory_of
from suite.train.run import Interrupted
from sweeps.search.driver import Driver
from sweeps.search.plan import load
from sweeps.search.queue_source import SearchWork
from sweeps.search.study import open_storage
from sweeps.workers.worker import Worker

FORK = multiprocessing.get_context("fork")  # no second import of torch
CONTENT = {
    "experiment": "dskd_digits",
    "pair": "teacher/student",
    "methods": {
        "kd": {
            "space": {
                "temperature": "tunable",
                "kd_weight": {"low": 0.1, "high": 10.0, "log": True},
            }
        }
    },
    "budget": {"trials": 14},
    "pruner": {"name": "hyperband", "min_epochs": 2},
    "train": {"epochs": 6, "eval_every": 2},
}


def write_search(folder, name="quick", **changes):
    """A search of the test's own; returns the path of its YAML."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**CONTENT, **changes}))
    return str(path)


def quality(spec):
    """Accuracy in percent at the end: best at temperature 4 and weight 1."""
    options = spec.config.method.options
    if spec.config.method.name != "kd":
        return 90.0
    off = abs(options["temperature"] - 4.0) + abs(options["kd_weight"] - 1.0)
    return 95.0 - 2.0 * off - 0.01 * (spec.config.seed % 7)


def train(spec, runtime, should_stop, epoch_seconds=0.0):
    """Rows, then the result; goes on after the rows that are there, stops when asked to."""
    directory = directory_of(spec, runtime.runs_root)
    if directory.finished():
        return
    directory.start(spec.model_dump(mode="json"))
    epochs, every = spec.config.train.epochs, spec.config.train.eval_every
    done = directory.read_metrics()[-1]["epoch"] if directory.metrics.exists() else 0
    for epoch in range(done + every, epochs + 1, every):
        time.sleep(epoch_seconds)
        accuracy = quality(spec) * (1 - 0.5**epoch)
        row = {"epoch": epoch, "seconds": 0.1 * epoch, "val/top1_percent": accuracy}
        directory.append_metrics(row)
        if should_stop():
            raise Interrupted(f"stopped in epoch {epoch}")
    last = {"epoch": epochs, "val/top1_percent": quality(spec) * (1 - 0.5**epochs)}
    result = {"run_id": spec.run_id, "last": last, "best_val": last, "best_test": None}
    write_json(directory.result, {**result, "train_seconds": 0.1 * epochs, "steps": 7 * epochs})


def runtime_of(root):
    return Runtime(runs_root=root, tracker="none", accelerator="cpu")


def worker_of(name, root, run=train):
    """A worker of the search's queue in this process, which trains with ``run``."""

    def group(specs, runtime, should_stop):
        failures = {}
        for spec in specs:
            try:
                run(spec, runtime, should_stop)
            except (Interrupted, LeaseLost):
                raise
            except Exception as error:  # noqa: BLE001  (as run_packed gives them back)
                failures[spec] = error
        return failures

    source = SearchWork(name).open(runtime_of(root), None)
    return Worker(source, runtime_of(root), lambda: False, group, lambda _: None)


def drive_alone(path, root, url=None, trials=None, run=train):
    """Driver and its only worker in this process; returns the driver, the search is over."""
    plan = load(path, (), trials)
    driver = Driver(plan, open_storage(root / plan.name, url), root, parallel=1)
    worker = worker_of(plan.name, root, run)
    while not driver.step():
        worker.train_first(worker.source.ready(0.0) or ())
    return driver


def drive(path, root, parallel, url=None):
    """What a driver's process does; ends with the search."""
    plan = load(path)
    held = acquire(root / plan.name)
    assert held is not None, "two drivers"
    driver = Driver(plan, open_storage(root / plan.name, url), root, parallel)
    while not driver.step():
        time.sleep(0.005)
    driver.queue.close()
    held.release()


def serve(name, root, epoch_seconds=0.0):
    """What a worker's process does."""

    def run(spec, runtime, should_stop):
        train(spec, runtime, should_stop, epoch_seconds)

    worker_of(name, root, run).work()


def start(function, *arguments):
    process = FORK.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


def outcome(study):
    """All that must be the same twice: numbers, states, parameters, values, intermediates."""
    return [
        (it.number, it.state.name, it.params, it.values, dict(it.intermediate_values))
        for it in study.get_trials(deepcopy=False)
    ]


def check_consistent(path, root, trials, url=None):
    """No trial lost, told twice or left running; every verdict follows from the run store."""
    plan = load(path)
    storage = open_storage(root / plan.name, url)
    driver = Driver(plan, storage, root, parallel=1)
    assert driver.step(), "something is left to do"
    (study,) = driver.studies
    found = study.study.get_trials(deepcopy=False)
    assert [trial.number for trial in found] == list(range(trials))
    assert {trial.state for trial in found} <= {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in found:
        specs = study.tuning.specs(trial.params)
        assert trial.user_attrs["runs"] == [spec.run_id for spec in specs]
        runs = [directory_of(spec, root) for spec in specs]
        if trial.state is TrialState.COMPLETE:
            values = [run.read_result()["last"]["val/top1_percent"] for run in runs]
            assert trial.values == [sum(values) / len(values)]
        else:
            assert trial.intermediate_values
    assert not list((root / plan.name / "queue").glob("*.json"))
    return found


def told_once(root: Path, name: str):
    """From the journal itself: how many verdicts each trial got, at most."""
    import json
    from collections import Counter

    lines = (root / name / "study.journal").read_bytes().splitlines()
    ends = [json.loads(line) for line in lines]
    counts = Counter(e["trial_id"] for e in ends if e["op_code"] == 6 and e["state"] in (1, 2, 3))
    return max(counts.values(), default=0)
