"""The copy of the code that jobs run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite.store.provenance import code_of_run, git_state
from sweeps.slurm import snapshot

ROOT = Path(__file__).parents[3]


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
    (tree / "suite" / "store" / "select.py").rename(tree / "suite" / "store" / "selection.py")
    assert snapshot.content_hash(tree) != before


def test_python_imports_the_copy_from_any_folder_and_knows_the_commit_it_came_from(tmp_path):
    place = snapshot.take(tmp_path / "experiment")
    show = (
        "import json, suite, suite.store.provenance as p; "
        "print(json.dumps([suite.__file__, p.code_of_run('kd'), p.git_state()]))"
    )
    script = " && ".join([*snapshot.shell_setup(place), f'{sys.executable} -c "{show}"'])
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, shell=True, cwd=ROOT, env=env, capture_output=True, check=True)
    file, source, git = json.loads(done.stdout)
    assert file == str(place / "suite" / "__init__.py")
    assert source == code_of_run("kd")
    assert git == git_state()


def test_a_copy_that_was_changed_is_left_alone_and_made_anew_beside(tree, tmp_path):
    first = snapshot.take(tmp_path / "runs" / "experiment", tree)
    (first / "suite" / "interface" / "rng.py").unlink()
    second = snapshot.take(tmp_path / "runs" / "experiment", tree)
    assert second == first.with_name(f"{first.name}-2")
    assert not (first / "suite" / "interface" / "rng.py").exists()
    rng = Path("suite", "interface", "rng.py")
    assert (second / rng).read_bytes() == (tree / rng).read_bytes()
    assert snapshot.take(tmp_path / "runs" / "experiment", tree) == second


def test_a_link_counts_as_what_it_leads_to_and_one_that_leads_nowhere_is_left_out(tree, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "mine.py").write_text("A = 1\n")
    (tree / "baselines" / "linked.py").symlink_to(tmp_path / "outside" / "mine.py")
    (tree / "baselines" / "folder").symlink_to(tmp_path / "outside")
    (tree / "baselines" / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    place = snapshot.take(tmp_path / "runs" / "experiment", tree)
    assert snapshot.take(tmp_path / "runs" / "experiment", tree) == place
    (tmp_path / "outside" / "mine.py").write_text("A = 2\n")
    assert (place / "baselines" / "linked.py").read_text() == "A = 1\n"
    assert (place / "baselines" / "folder" / "mine.py").read_text() == "A = 1\n"
    assert not (place / "baselines" / "dangling.py").exists()


def test_nobody_else_may_write_where_the_code_of_jobs_lies_whatever_the_umask(tree, tmp_path):
    folder = tmp_path / "runs" / "experiment" / "source"
    folder.mkdir(parents=True)
    folder.chmod(0o775)
    before = os.umask(0o002)
    try:
        snapshot.take(folder.parent, tree)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
