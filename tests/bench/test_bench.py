"""Benchmarks are found by name, compared in turns, and their figures kept."""

import json
from collections.abc import Iterator

import pytest
import torch
from rich.console import Console

from bench import registry, run, timing
from bench.measures.crd import Contrast
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
