"""Benchmarks are found by name, compared in turns, and their figures kept."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import torch
from PIL import Image
from rich.console import Console

from analysis.runs.collect import collect
from bench import registry, run, store, timing
from bench.measures import input as images
from bench.measures.crd import Contrast
from bench.memory import peak_of
from bench.registry import Figure, Settings, Spread
from suite.interface.errors import UserError

SETTINGS = Settings(device="cpu", threads=1, rounds=2, steps=1)


def test_every_benchmark_has_a_title_and_a_measure():
    assert {"step", "crd", "methods", "packing", "collect", "search", "sweeps"} <= set(
        registry.names()
    )
    for name in registry.names():
        assert len(registry.title(name)) > 20
        assert callable(registry.find(name).measure)


def test_a_wrong_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"unknown benchmark 'stepp' \(did you mean step\?\)"):
        registry.find("stepp")


def test_the_loaders_that_are_compared_give_the_same_photographs(tmp_path):
    """64 files of 500x375 pixels: every loader gives each once, as normalised crops."""
    images.write_photographs(tmp_path / "photographs" / "train", 64)
    sizes = {Image.open(file).size for file in tmp_path.rglob("*.jpg")}
    assert sizes == {(images.WIDTH, images.HEIGHT)}
    stack = ExitStack()  # of processes, and there are none
    for name, epoch in images.loaders(tmp_path, 0, stack, ahead=False).items():
        batches = [(it.image, it.label) if name.startswith("suite") else it for it in epoch()]
        assert [len(image) for image, _ in batches] == [32, 32]
        assert sorted(torch.cat([label for _, label in batches]).tolist()) == [0] * 32 + [1] * 32
        pixels = torch.cat([image for image, _ in batches])
        assert pixels.shape[1:] == (3, images.SIDE, images.SIDE)
        assert 0.5 < float(pixels.std()) < 1.6


def test_turns_alternate_and_warm_up_does_not_count():
    calls = []
    actions = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = timing.in_turns(actions, rounds=3, warm_up=1)
    assert calls == ["a", "b"] * 4
    assert [len(taken) for taken in seconds.values()] == [3, 3]


def test_ratios_are_formed_round_by_round():
    """The second round was ten times slower for both: the ratio does not see it."""
    assert timing.ratios([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == Spread(2.0, 2.0, 2.0, 3)


@pytest.mark.parametrize(
    ("limits", "met"),
    [({}, None), ({"at_least": 1.5}, True), ({"at_least": 2.5}, False), ({"at_most": 1.9}, False)],
)
def test_a_target_is_met_by_the_median(limits, met):
    figure = Figure("ratio", Spread(2.0, 1.0, 3.0, 5), "x", **limits)
    assert figure.meets_target is met


def test_figures_are_printed_and_kept_with_device_versions_and_command(tmp_path, monkeypatch):
    def figures(_: str, settings: Settings) -> Iterator[Figure]:
        return [Figure("speed", Spread(2.0, 1.0, 3.0, settings.rounds), "x", at_least=1.5)]

    monkeypatch.setattr(run, "_in_fresh_process", figures)
    console = Console(record=True, width=120)
    assert run.run(["step"], SETTINGS, tmp_path, "dskd-bench bench --only step", console)
    assert "met" in console.export_text()
    record = json.loads((tmp_path / "step-cpu.json").read_text())
    assert record["command"] == "dskd-bench bench --only step"
    assert record["provenance"]["versions"]["torch"] in torch.__version__
    assert record["figures"][0]["value"]["median"] == 2.0
    assert record["figures"][0]["meets_target"] is True


def test_a_benchmark_that_fails_is_said_and_the_others_go_on(tmp_path, monkeypatch):
    def figures(name, _):
        if name == "crd":
            raise RuntimeError("out of memory")
        return [Figure("speed", 1.0, "x")]

    monkeypatch.setattr(run, "_in_fresh_process", figures)
    console = Console(record=True, width=120)
    assert not run.run(["crd", "step"], SETTINGS, tmp_path, "command", console)
    assert "crd: failed: out of memory" in console.export_text()
    assert (tmp_path / "step-cpu.json").exists()
    assert not (tmp_path / "crd-cpu.json").exists()


def test_both_forms_of_the_contrast_see_the_same_positive_and_move_the_banks(monkeypatch):
    for name, value in {"IMAGES": 500, "NEGATIVES": 64, "BATCH": 8, "CLASSES": 5}.items():
        monkeypatch.setattr(f"bench.measures.crd.{name}", value)
    for form in ("ours", "gathered"):
        work = Contrast(torch.device("cpu"))
        before = [bank.clone() for bank in work.banks]
        getattr(work, form)()
        for bank, old, anchor in zip(work.banks, before, work.anchors, strict=True):
            changed = (bank != old).any(1).nonzero().flatten()
            assert set(changed.tolist()) == set(work.index.tolist())
            moved = torch.nn.functional.normalize((old[work.index] + anchor.detach()) / 2, dim=1)
            torch.testing.assert_close(bank[work.index], moved)


def test_more_threads_than_cores_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"--threads 2000: this machine has \d+ cores?"):
        run.main([], "cpu", 2000, {}, tmp_path, "dskd-bench bench", Console())


def test_a_store_may_have_more_runs_than_one_experiment(tmp_path, monkeypatch):
    """Six methods, at most 14 runs an experiment: 2 seeds each, so 30 students are 3 sweeps."""
    monkeypatch.setattr(store, "MOST_RUNS", 14)
    manifests = store.make_many(tmp_path, 30)
    found = collect(tmp_path, manifests)
    assert len(manifests) == 3
    assert sorted(found.students()["seed"].unique()) == [0, 1, 2, 3, 4]
    assert len(found.students()) == 30
    assert set(found.runs["state"]) == {"finished"}


def test_memory_is_that_of_a_process_and_its_children():
    """The child holds 64 MB more than nothing, its parent only waits for it."""
    child = "import time; held = bytearray(b'1' * 64_000_000); time.sleep(3)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent]) as process, peak_of(process.pid) as peak:
        process.wait()
    assert 64e6 < peak.bytes < 200e6
