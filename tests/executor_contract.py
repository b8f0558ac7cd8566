"""What every executor must do, for sweeps and for searches: real runs of a few seconds."""

import json
import time

import pytest

from suite.config import RunSpec, Runtime, parse
from suite.store.states import SETTLED, State, directory_of, state_of
from sweeps import executors
from sweeps.executors.base import ExecutorOptions
from sweeps.search.queue import Queue
from sweeps.search.queue_source import SearchWork
from sweeps.workers.source import RunList

EPOCHS = 25
CONFIG = {
    "data": {"name": "fake", "train_limit": 128, "eval_splits": ["val"]},
    "student": {"name": "cifar_resnet8"},
    "method": "scratch",
    "optimizer": {"lr": 0.1},
}


def spec(label, epochs=EPOCHS, **changes):
    config = {**CONFIG, "train": {"epochs": epochs, "batch_size": 32}, **changes}
    return parse(RunSpec, {"config": config, "experiment": "e", "label": label}, "contract")


def specs(epochs):
    """A teacher, a run without one, its student, and a run that cannot go well."""
    teacher = spec("teacher", epochs)
    teacher = teacher.model_copy(update={"experiment": "teachers", "role": "teacher"})
    by_teacher = {"name": "cifar_resnet8", "run_id": teacher.run_id}
    return {
        "teacher": teacher,
        "scratch": spec("scratch", epochs, seed=1),
        "kd": spec("kd", epochs, method="kd", teacher=by_teacher),
        "diverging": spec("diverging", epochs, seed=2, optimizer={"lr": 1e30}),
    }


def executor(name, root, cluster=None):
    runtime = Runtime(
        runs_root=root, accelerator="cpu", tracker="none", threads=1, checkpoint_seconds=0.5
    )
    return executors.find(runtime, ExecutorOptions(name, jobs=2, cluster=cluster))


def rows(root):
    """Epochs written so far, over all runs."""
    return sum(len(path.read_text().splitlines()) for path in root.rglob("metrics.jsonl"))


def hashes(root, runs):
    records = {label: directory_of(one, root).read_result() for label, one in runs.items()}
    return {label: it["weights_sha256"] for label, it in records.items() if it is not None}


def attend(workers, over, seconds=900):
    deadline = time.monotonic() + seconds
    while not over():
        assert time.monotonic() < deadline, "the executor does not get it done"
        workers.attend()


def check_runs(name, root, expected=None, cluster=None, epochs=EPOCHS):
    """Trains a list; interrupted in the middle, it goes on with the same bits; a failure is noted.

    Returns the weights, to be compared with those of another executor.
    """
    place, runs = executor(name, root, cluster), specs(epochs)
    assert place.parallel() >= 1
    assert place.outlook(list(runs.values())).count("\n") == 0

    def interrupt():
        if rows(root) >= 5:
            raise KeyboardInterrupt

    since = time.time() - 1
    workers = place.start(RunList.of("e", list(runs.values()), since), interrupt)
    with pytest.raises(KeyboardInterrupt):
        attend(workers, interrupt)
    workers.cancel()
    attend(workers, workers.done)
    assert not list(root.rglob("claim.json"))
    assert len(hashes(root, runs)) < 3
    since = time.time() - 1
    workers = place.start(RunList.of("e", list(runs.values()), since), lambda: None)

    def settled():
        return {state_of(one, root, since) for one in runs.values()} <= SETTLED

    attend(workers, lambda: settled() or workers.done())
    workers.close()
    attend(workers, workers.done)
    states = {label: state_of(one, root, since) for label, one in runs.items()}
    assert states.pop("diverging") is State.FAILED
    assert set(states.values()) == {State.FINISHED}
    failure = directory_of(runs["diverging"], root).read_failure()
    assert "the loss is not finite" in failure["error"]
    for label in states:
        lines = directory_of(runs[label], root).metrics.read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == list(range(1, epochs + 1))
    assert not list(root.rglob("claim.json"))
    assert expected is None or hashes(root, runs) == expected
    return hashes(root, runs)


def check_queue(name, root, cluster=None):
    """Trains what comes into a queue, and leaves when that is closed."""
    place, one = executor(name, root, cluster), spec("scratch", seed=3)
    queue = Queue(root, "s")
    queue.open()
    workers = place.start(SearchWork("s"), lambda: None)
    queue.put(one, "000000")
    attend(workers, directory_of(one, root).finished)
    queue.close()
    workers.close()
    deadline = time.monotonic() + 120
    while not workers.done():
        assert time.monotonic() < deadline, "workers stay after their queue was closed"
        time.sleep(0.1)
