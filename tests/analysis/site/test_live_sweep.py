"""The site of a sweep that really runs: served by the command, read over HTTP, writing nothing."""

import contextlib
import os
import re
import signal
import time
import urllib.error
import urllib.request

import pytest
from command_line import finish, start

EPOCHS = 60
SETTINGS = (
    "pairs=[cifar_resnet8/cifar_resnet8] data.name=fake train_limit=128 batch_size=32 seeds=[0] "
    f"epochs={EPOCHS} "
    "methods=[scratch,{name: kd,label: diverging,optimizer: {lr: 1e30,clip_grad_norm: null}}]"
)
LONGEST_SECONDS = 500  # of a sweep that takes 30 on two quiet cores


def get(address):
    with urllib.request.urlopen(address, timeout=120) as answer:
        return answer.read().decode()


def snapshot(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.name != ".lock"}


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """(run store, address, pages seen while the sweep ran); the sweep has ended."""
    root = tmp_path_factory.mktemp("live") / "runs"
    words = ("dskd_digits", "--set", SETTINGS, f"--runs-root={root}")
    sweep = start(
        *("sweep", *words, "--executor=local", "--jobs=1", "--threads=1", "--accelerator=cpu"),
        *("--tracker=none", "--no-report"),
    )
    began = time.monotonic()
    while not list(root.rglob("manifest*.json")):
        assert sweep.poll() is None, finish(sweep)
        time.sleep(0.2)
    server = start("serve", *words, "--port=0")
    try:
        address = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline()).group()
        pages = []
        while sweep.poll() is None and time.monotonic() - began < LONGEST_SECONDS:
            first = get(address)
            pages.append(first)
            names = re.findall(r'href="(runs/[0-9a-f]{16}\.html)"', get(f"{address}runs.html"))
            pages += [get(address + name) for name in names]
        status, out = finish(sweep)
        assert status == 1, out  # one run diverges
        yield root, address, pages
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGINT)
        assert server.wait(60) == 130


def test_progress_and_the_time_left_are_shown_while_runs_train(watched):
    pages = "\n".join(watched[2])
    assert re.search(r"3 runs: [^<]*1 running", pages)
    assert re.search(r"running: epoch \d+/60 ", pages)
    assert re.search(r"3 runs: [^<]*, about \d[^<]* left", pages)
    assert 'http-equiv="refresh"' in pages


def test_the_page_of_a_run_that_trains_has_its_curves_so_far(watched):
    epochs = [
        int(re.search(r"over (\d+) epochs", page).group(1))
        for page in watched[2]
        if re.search(r">unfinished</span>|>running</span>", page) and 'class="curve"' in page
    ]
    assert epochs
    assert max(epochs) <= EPOCHS
    assert len(set(epochs)) > 1  # made anew as they train


def test_a_failed_run_shows_its_traceback_and_log_beside_others_that_went_on(watched):
    _, address, _ = watched
    first = get(address)
    assert "<p>3 runs: 2 finished, 1 failed</p>" in first  # no time is left
    assert '<progress max="3" value="3"' in first
    place = re.search(r'href="(runs/[0-9a-f]{16}\.html)">diverging,[^:]*: failed, ([^<]*)', first)
    assert "the loss is not finite" in place.group(2)
    page = get(address + place.group(1))
    assert "Traceback" in page
    assert re.search(r'id="log">End of its log</h2>\n<pre>[^<]*torch \d', page)


def test_it_reads_and_answers_get_alone(watched):
    root, address, _ = watched
    before = snapshot(root)
    for page in ("", "runs.html", "runs.csv", "methods/scratch.html"):
        get(address + page)
    assert snapshot(root) == before
    assert not [path for path in before if path.name in ("report", ".cache", "index.html")]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address, data=b"x", timeout=60)
    assert refused.value.code == 501
