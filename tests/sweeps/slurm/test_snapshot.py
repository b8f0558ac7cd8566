"""The copy of the code that jobs run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite.store.commit import git_state
from suite.store.provenance import code_of_run
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
    assert not (first.folder / "sweeps" / "notes.yaml").exists()
    assert (second.folder / "sweeps" / "notes.yaml").read_text() == "a: 1\n"
    assert not list(first.folder.parent.glob(".*"))  # nothing half copied


def test_names_count_as_content(tree):
    before = snapshot.content_hash(tree)
    (tree / "suite" / "store" / "select.py").rename(tree / "suite" / "store" / "selection.py")
    assert snapshot.content_hash(tree) != before


def test_python_imports_the_copy_from_any_folder_and_knows_the_commit_it_came_from(tmp_path):
    copy = snapshot.take(tmp_path / "experiment")
    show = (
        "import json, suite, suite.store.provenance as p; "
        "print(json.dumps([suite.__file__, p.code_of_run('kd'), p.git_state()]))"
    )
    script = " && ".join([*copy.shell_setup(), f'{sys.executable} -c "{show}"'])
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, shell=True, cwd=ROOT, env=env, capture_output=True, check=True)
    file, source, git = json.loads(done.stdout)
    assert file == str(copy.folder / "suite" / "__init__.py")
    assert source == code_of_run("kd")
    assert git == git_state()


def verify(copy, *paths):
    """What a job says that finds the code in the first of these folders that has it."""
    call = "from sweeps.slurm.snapshot import Snapshot; from pathlib import Path; "
    call += f"Snapshot(Path({str(copy.folder)!r}), {copy.sha256!r}).verify()"
    path = os.pathsep.join(map(str, paths))
    done = subprocess.run(
        [sys.executable, "-P", "-c", call],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip().rpartition("\n")[2]


def test_a_job_verifies_its_copy_and_takes_nothing_from_elsewhere(tree, tmp_path):
    copy = snapshot.take(tmp_path / "runs" / "experiment", tree)
    assert verify(copy, copy.folder, ROOT) == ""
    assert f"{ROOT} was imported in its place" in verify(copy, tmp_path / "gone", ROOT)
    (copy.folder / "baselines" / "kd.py").unlink()
    assert "was changed after the jobs were submitted" in verify(copy, copy.folder, ROOT)


def test_a_copy_that_was_changed_is_left_alone_and_made_anew_beside(tree, tmp_path):
    first = snapshot.take(tmp_path / "runs" / "experiment", tree)
    (first.folder / "suite" / "interface" / "rng.py").unlink()
    second = snapshot.take(tmp_path / "runs" / "experiment", tree)
    assert second.folder == first.folder.with_name(f"{first.folder.name}-2")
    assert not (first.folder / "suite" / "interface" / "rng.py").exists()
    rng = Path("suite", "interface", "rng.py")
    assert (second.folder / rng).read_bytes() == (tree / rng).read_bytes()
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
    assert (place.folder / "baselines" / "linked.py").read_text() == "A = 1\n"
    assert (place.folder / "baselines" / "folder" / "mine.py").read_text() == "A = 1\n"
    assert not (place.folder / "baselines" / "dangling.py").exists()


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
