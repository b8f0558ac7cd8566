"""Finding methods: by file, by entry point, and with a hint when there is none."""

import importlib.metadata
import os
import subprocess
import sys

import pytest

from suite import methods
from suite.interface.distiller import Distiller
from suite.interface.method_bench import Bench
from suite.methods import UnknownMethod


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


HIDDEN = """
import sys
from suite import methods
from suite.interface.errors import UserError

assert "kd" in methods.names()
print(methods.find("kd").__module__, sys.modules["baselines"].__path__[0])
for name in [name for name in sys.modules if name.split(".")[0] == "baselines"]:
    del sys.modules[name]
import baselines

print(baselines.__file__)
try:
    methods.names()
except UserError as error:
    print(error)
"""


def test_a_package_called_baselines_in_a_users_project_does_not_hide_ours(tmp_path):
    theirs = tmp_path / "baselines"
    theirs.mkdir()
    (theirs / "__init__.py").write_text("")
    (theirs / "mine.py").write_text("")
    places = [str(tmp_path), str(methods.FOLDER.parent)]
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        check=True,
    )
    ours, imported, refused = done.stdout.splitlines()
    assert ours == f"baselines.kd {methods.FOLDER}"
    assert imported == str(theirs / "__init__.py")  # theirs is first on the path
    assert refused.startswith(f"the Python package baselines is imported from {theirs}")


def test_who_looks_for_a_method_of_their_own_is_told_where_it_goes():
    with pytest.raises(UnknownMethod, match=r"a file in .*baselines or an entry point"):
        methods.find("mine")


def offer(monkeypatch, target):
    point = importlib.metadata.EntryPoint("theirs", target, methods.ENTRY_POINT_GROUP)
    monkeypatch.setattr(methods, "_third_party", lambda: {point.name: point})


def test_installed_packages_add_methods(monkeypatch):
    offer(monkeypatch, "baselines.kd:KD")
    assert "theirs" in methods.names()
    assert issubclass(methods.find("theirs"), Distiller)
    assert methods.parts("theirs+kd") == ("theirs", "kd")


def test_an_entry_point_that_is_no_method_is_refused(monkeypatch):
    offer(monkeypatch, "suite.interface.method_bench:Bench")
    with pytest.raises(UnknownMethod, match="entry point 'theirs' is no Distiller"):
        methods.find("theirs")
    assert Bench.__module__ == "suite.interface.method_bench"


def test_a_file_with_two_methods_is_refused(tmp_path, monkeypatch):
    import baselines

    source = "from baselines._template import Template as A\n"
    twice = "class B(A):\n    pass\n\n\nclass C(A):\n    pass\n"
    (tmp_path / "twofold.py").write_text(source + twice)
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    with pytest.raises(UnknownMethod, match="exactly one Distiller, has B, C"):
        methods.find("twofold")
