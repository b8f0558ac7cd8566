"""Finding methods: by file, by entry point, and with a hint when there is none."""

import importlib.metadata

import pytest

from suite import methods
from suite.distiller import Distiller
from suite.methods import UnknownMethod
from suite.testing import Bench


def test_every_file_without_an_underscore_is_a_method_of_that_name():
    assert {"scratch", "kd", "fitnet", "crd", "dkd", "dskd"} < set(methods.names())
    assert {"at", "sp", "rkd", "vid", "pkt", "dist", "simkd", "reviewkd", "ofa"} < set(
        methods.names()
    )
    assert not [name for name in methods.names() if name.startswith("_")]
    for name in methods.names():
        assert methods.find(name).__module__ == f"baselines.{name}"


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownMethod, match=r"unknown method 'dskdd' \(did you mean dskd\?\)"):
        methods.find("dskdd")


def offer(monkeypatch, target):
    point = importlib.metadata.EntryPoint("theirs", target, methods.ENTRY_POINT_GROUP)
    monkeypatch.setattr(methods, "_third_party", lambda: {point.name: point})


def test_installed_packages_add_methods(monkeypatch):
    offer(monkeypatch, "baselines.kd:KD")
    assert "theirs" in methods.names()
    assert issubclass(methods.find("theirs"), Distiller)
    assert methods.parts("theirs+kd") == ("theirs", "kd")


def test_an_entry_point_that_is_no_method_is_refused(monkeypatch):
    offer(monkeypatch, "suite.testing:Bench")
    with pytest.raises(UnknownMethod, match="entry point 'theirs' is no Distiller"):
        methods.find("theirs")
    assert Bench.__module__ == "suite.testing"


def test_a_file_with_two_methods_is_refused(tmp_path, monkeypatch):
    import baselines

    source = "from baselines._template import Template as A\n"
    twice = "class B(A):\n    pass\n\n\nclass C(A):\n    pass\n"
    (tmp_path / "twofold.py").write_text(source + twice)
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    with pytest.raises(UnknownMethod, match="exactly one Distiller, has B, C"):
        methods.find("twofold")
