"""The copy of the code that jobs run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite.provenance import code_of_run, git_state
from sweeps import snapshot

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path):
    """A working tree of its own."""
    for package in snapshot.PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / "tree" / package, ignore=ignored)
    return tmp_path / "tree"


def test_the_same_content_is_copied_once_and_a_change_makes_another(tree, tmp_path):
    first = snapshot.take(tmp_path / "runs" / "experiment", tree)
    assert snapshot.take(tmp_path / "runs" / "experiment", tree) == first
    (tree / "sweeps" / "notes.yaml").write_text("a: 1\n")
    second = snapshot.take(tmp_path / "runs" / "experiment", tree)
    assert second != first
    assert not (first / "sweeps" / "notes.yaml").exists()
    assert (second / "sweeps" / "notes.yaml").read_text() == "a: 1\n"
    assert not list(first.parent.glob(".*"))  # nothing half copied


def test_names_count_as_content(tree):
    before = snapshot.content_hash(tree)
    (tree / "suite" / "select.py").rename(tree / "suite" / "selection.py")
    assert snapshot.content_hash(tree) != before


def test_python_imports_the_copy_from_any_folder_and_knows_the_commit_it_came_from(tmp_path):
    place = snapshot.take(tmp_path / "experiment")
    show = (
        "import json, suite, suite.provenance as p; "
        "print(json.dumps([suite.__file__, p.code_of_run('kd'), p.git_state()]))"
    )
    script = " && ".join([*snapshot.shell_setup(place), f'{sys.executable} -c "{show}"'])
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, shell=True, cwd=ROOT, env=env, capture_output=True, check=True)
    file, source, git = json.loads(done.stdout)
    assert file == str(place / "suite" / "__init__.py")
    assert source == code_of_run("kd")
    assert git == git_state()
