"""A wheel, installed into a fresh environment, works from an empty folder. Minutes: `.ci/run`."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("suite", "baselines", "sweeps", "analysis", "bench")
pytestmark = pytest.mark.install


def run(*words, folder, **environment):
    """Standard output; a failure shows both streams."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept |= {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=kept, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the files that git knows, as they are now."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    names = run("git", "ls-files", "-z", folder=ROOT).split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    uv = (sys.executable, "-m", "uv")
    run(*uv, "build", "--quiet", "--wheel", "--out-dir", folder, source, folder=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def command(wheel, tmp_path_factory):
    """``dskd-bench`` of an environment of its own."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    uv = (sys.executable, "-m", "uv")
    run(*uv, "venv", "--quiet", "--python", sys.executable, place, folder=ROOT)
    constraints = ROOT / "constraints.txt"
    options = ("--quiet", "--python", place / "bin" / "python", "--constraint", constraints)
    run(*uv, "pip", "install", *options, wheel, folder=ROOT)
    return place / "bin" / "dskd-bench"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A user's folder with packages of its own that are called like ours."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("analysis", "suite", "first/baselines"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise RuntimeError('not this one')\n")
    return folder


def test_the_wheel_holds_every_tracked_file_of_the_packages(wheel):
    tracked = run("git", "ls-files", *PACKAGES, folder=ROOT).split()
    assert set(tracked) <= set(zipfile.ZipFile(wheel).namelist())


def test_a_sweep_a_search_and_its_settings_in_another_sweep(command, project):
    quick = ("--executor", "local", "--devices", "1")
    one = "epochs=2 seeds=[0] methods=[scratch,dskd]"
    done = run(command, "sweep", "dskd_digits", "--set", one, *quick, folder=project)
    assert "3 of 3 runs finished" in done
    assert "could not be drawn" not in done
    own = "epochs=2 seeds=[0]"
    run(command, "search", "--set", own, "--trials", "2", *quick, folder=project)
    chosen = {path.name for path in (project / "tuned" / "dskd_digits_search").iterdir()}
    assert chosen == {"dskd.yaml"}
    assert (project / "runs" / "dskd_digits_search" / "report" / "index.html").is_file()
    tuned = f"{one} tuned=dskd_digits_search"
    assert "dskd‡" in run(command, "sweep", "dskd_digits", "--set", tuned, *quick, folder=project)
    assert "page: " in run(command, "report", "dskd_digits", "--set", tuned, folder=project)


def test_methods_are_the_suites_own_whatever_is_first_on_the_path(command, project):
    shown = run(command, "methods", folder=project, PYTHONPATH=str(project / "first"))
    assert "dskd" in shown
