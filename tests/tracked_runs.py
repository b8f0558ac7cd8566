"""Runs as a tracker meets them, what W&B has of them, and servers that do not answer."""

import json
import os
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from suite.names import run_id_of
from suite.store.record import RunDirectory, write_json
from suite.tracking import wandb_file
from suite.tracking.trackers.wandb import Wandb
from suite.tracking.wandb_destination import Destination

OFFLINE = Wandb(Destination("offline", base_url=None))
EPOCHS = 5
KEY = "0" * 40  # wandb takes a key of 40 characters; no server ever sees it


def a_run(root, seed=3, epochs=EPOCHS, finished=True, experiment="digits", teacher="f" * 16):
    config = {
        "data": {"name": "digits"},
        "student": {"name": "cifar_resnet8"},
        "teacher": {"name": "cifar_resnet20", "run_id": teacher},
        "method": {"name": "kd", "options": {"temperature": 4.0}},
        "seed": seed,
    }
    run = RunDirectory.of(root, experiment, run_id_of(config))
    spec = {"experiment": experiment, "role": "student", "label": "kd t4", "recipe": "small"}
    run.start({"config": config, **spec})
    for epoch in range(1, epochs + 1):
        run.append_metrics(a_row(epoch))
    if finished:
        finish(run, epochs)
    return run


def a_row(epoch):
    return {"epoch": epoch, "train/loss": 1 / epoch, "val/top1_percent": 50.0 + epoch}


def finish(run, epochs=EPOCHS):
    write_json(
        run.result,
        {
            "run_id": run.path.name,
            "label": "kd t4",
            "last": {"epoch": epochs, "test/top1_percent": 61.25},
            "best_val": None,
            "parameters": {"student": 78042},
            "provenance": {"finished": "2025-01-02T03:04:05+00:00"},
        },
    )


def a_trial(run, state, number=7):
    write_json(run.trial, {"study": "mine/kd@0", "number": number, "state": state})


def offline_folders(root, experiment="digits"):
    return sorted((root / experiment / "wandb").glob("offline-run-*"))


def content(folder):
    """What W&B's own records in the folder say: rows, run, summary, exit code."""
    (file,) = folder.glob("*.wandb")
    rows, last, run, code = [], {}, None, None
    for record in wandb_file.read(file):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            items = record.history.item
            rows.append({_key(item): json.loads(item.value_json) for item in items})
        elif kind == "summary":
            last |= {_key(item): json.loads(item.value_json) for item in record.summary.update}
        elif kind == "run":
            run = record.run
        elif kind == "exit":
            code = record.exit.exit_code
    return rows, last, run, code


def _key(item):
    return item.key or "/".join(item.nested_key)


def go_online(monkeypatch, url):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", url)


@contextmanager
def silent_port():
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def dripping_port():
    """A server that answers every connection with one byte a second; and how many it has sent."""
    count = [0]

    def drip(connection):
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{" + b" " * 1000
        with connection, suppress(OSError):
            for byte in answer:
                connection.sendall(bytes([byte]))
                count[0] += 1
                if over.wait(1.0):
                    return

    def serve(server):
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=drip, args=[connection], daemon=True).start()

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        threading.Thread(target=serve, args=[server], daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", lambda: count[0]
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)


@contextmanager
def closed_port():
    """An address where nobody listens (bound, so that nobody else will)."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def wait_for(happened, seconds=60.0, poll=0.02):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(poll)


def children_called(name):
    found = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True
    )
    pairs = [line.split() for line in found.stdout.decode().splitlines()]
    return [int(pid) for pid, command in pairs if command == name]


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # a zombie of a process whose parent does not collect it has ended
