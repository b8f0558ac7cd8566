"""The site of results: written once, or served while a sweep trains."""

import os
import re
import threading
import urllib.error
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from urllib.parse import unquote, urldefrag

import pandas as pd
import pytest
from synthetic_store import digits

from analysis.runs.collect import collect
from analysis.site import build, live, workers
from analysis.site.build import publish
from analysis.site.pages import Site
from analysis.site.templates import inline_code
from suite.cli.site import describe

FOREIGN = re.compile(r'(?:src|href)="(?!data:)([^"]*)"')


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two pairs, a method that is not installed here, and a failed run with a log."""
    store = digits(tmp_path_factory.mktemp("site") / "runs", ("scratch", "kd"), (0, 1))
    store.finish(store.add("kd", 0, "big/small"), features=False)
    store.finish(store.add("made<up", 0, "big/small"), features=False)
    failed = store.add("kd", 1, "big/small")
    store.fail(failed, "no <memory> left")
    (store.path(failed) / "log.txt").write_text("first line\nlast <line>\n")
    store.write_manifest()
    return store


@pytest.fixture(scope="module")
def site(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("published")
    (out / ".cache").mkdir()
    (out / ".cache" / "records.json").write_text("{}")  # as earlier versions left it
    made = publish(store.root, [store.manifest], out, describe)
    assert made.faults == ()
    return made


def test_every_link_of_every_page_leads_to_a_file_of_the_site_or_a_place_of_the_page(site):
    folder = site.index.parent
    pages = sorted(folder.rglob("*.html"))
    assert len(pages) == site.pages == 1 + 2 + 3 + 1 + 8  # overview, pairs, methods, runs, each run
    for page in pages:
        text = page.read_text()
        places = set(re.findall(r'\bid="([^"]*)"', text))
        for address in FOREIGN.findall(text):
            path, place = urldefrag(unquote(address))
            assert (page.parent / path).exists(), (page, address)
            assert path or place in places, (page, address)
        assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", text)


def test_processes_write_what_one_process_writes_and_measure_nothing_anew(
    site, store, tmp_path, monkeypatch
):
    known = store.manifest.parent / "report" / ".cache"
    before = {path.name: path.stat().st_mtime_ns for path in known.iterdir()}
    assert {"records.json", "gaps.json"} <= set(before)
    monkeypatch.setattr(workers, "FEW_RUNS", 7)  # the store has eight
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert isinstance(workers.workers(8, 2), ProcessPoolExecutor)
    publish(store.root, [store.manifest], tmp_path, describe)
    assert {path.name: path.stat().st_mtime_ns for path in known.iterdir()} == before
    contents = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (site.index.parent, tmp_path)
    ]
    assert len(contents[0]) > 60
    assert contents[0] == contents[1]


def test_what_is_known_of_runs_is_not_in_the_site(site, store):
    """Nor what an earlier version left there, nor when the site takes the report's place."""
    folder = site.index.parent
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
    with build._cache_folder([store.manifest], store.manifest.parent) as cache:
        assert cache.is_dir()
        assert not cache.is_relative_to(store.root)


def test_the_first_view_is_small_and_ranks_all_pairs(site):
    folder = site.index.parent
    first_view = sum(
        (folder / name).stat().st_size for name in ("index.html", "style.css", "page.js")
    )
    assert first_view < 100_000
    text = site.index.read_text()
    assert "net_teacher → net_student" in text
    assert 'id="table-accuracy"' in text
    assert "7 finished" in text
    assert "OutOfMemoryError: no &lt;memory&gt; left" in text


def test_the_page_of_a_run_has_settings_curves_provenance_and_the_way_to_repeat_it(site, store):
    entry = next(it for it in store.entries if it["label"] == "kd")
    text = (site.index.parent / "runs" / f"{entry['run_id']}.html").read_text()
    assert f"dskd-bench repeat runs {entry['run_id']}" in text
    assert "&#34;batch_size&#34;: 64" in text
    assert "test/top1_percent over 30 epochs" in text
    assert "cpu (made up)" in text


def test_the_page_of_a_failed_run_shows_why_and_the_end_of_its_log(site, store):
    text = (site.index.parent / "runs" / f"{store.entries[-1]['run_id']}.html").read_text()
    assert "OutOfMemoryError: no &lt;memory&gt; left" in text
    assert "last &lt;line&gt;" in text


def test_the_page_of_a_method_has_formula_paper_options_and_results(site):
    folder = site.index.parent / "methods"
    text = (folder / "kd.html").read_text()
    assert "Hinton" in text
    assert "temperature" in text
    assert text.count("index.html") >= 4  # both pairs, in menu and results
    assert "<h2>kd</h2>" not in text  # the title says it
    assert "This method is not installed here." in (folder / "made-up.html").read_text()


def test_code_in_a_docstring_is_code_on_the_page():
    assert inline_code("``a < b``, then ``c``") == "<code>a &lt; b</code>, then <code>c</code>"
    assert inline_code("``never & closed") == "``never &amp; closed"


@pytest.mark.parametrize(
    ("value", "text"), [(5.0, "5"), (0.25, "0.25"), (True, "true"), ("unit", "unit")]
)
def test_settings_are_printed_as_they_are_written(store, value, text):
    collected = collect(store.root, store.manifest)
    collected.runs["options/made"] = pd.Series([value] * len(collected.runs), dtype=object).values
    page = Site(collected, describe).method("kd")
    assert f"<dt>made</dt><dd>{text}</dd>" in page


@pytest.fixture
def served(store):
    """The address of the site of the store, live."""
    address, known = [], threading.Event()

    def ready(server):
        address.append(server)
        known.set()

    thread = threading.Thread(
        target=live.serve,
        args=(store.root, [store.manifest], describe),
        kwargs={"ready": ready},
        daemon=True,
    )
    thread.start()
    assert known.wait(60)
    return address[0]


def get(address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read().decode()


def test_the_live_site_shows_progress_and_failures_as_they_are_and_writes_nothing(served, store):
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    assert served.startswith("http://127.0.0.1:")
    text = get(served)
    assert "8 runs: 7 finished, 1 failed" in text
    assert '<progress max="8" value="8"' in text
    assert 'http-equiv="refresh"' in text
    assert "no &lt;memory&gt; left" in text
    assert {path: path.read_bytes() for path in before} == before
    assert len(before) == sum(path.is_file() for path in store.root.rglob("*"))
    extra = store.path(store.add("dkd", 0))
    store.write_manifest()
    assert "1 missing" in get(served)
    store.metrics(store.entries[-1], 4)
    assert "epoch 4 of 30" in get(f"{served}runs/{extra.name}.html")
    store.entries.pop()
    store.write_manifest()


def test_the_live_site_gives_no_file_from_outside(served):
    for path in (
        "../runs/made_up/manifest.json",
        "%2e%2e/x",
        ".cache/records.json",
        "nothing.html",
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(served + path)
        assert refused.value.code == 404
