"""The house stays in order: who may import whom, and who may look at the world outside."""

import ast
import re
from pathlib import Path

import pytest

from suite import methods

ROOT = Path(__file__).parents[1]
PACKAGES = ("suite", "baselines", "sweeps", "analysis", "bench")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ENTRY_POINTS = {"suite/cli.py", "suite/tracker/__main__.py"}
MAY_READ_THE_ENVIRONMENT = ENTRY_POINTS
IDS = [str(path.relative_to(ROOT)) for path in FILES]
ALLOWED = {
    "suite": {"suite", "baselines"},  # baselines: only methods.py, to find them by name
    "baselines": {"suite", "baselines"},
    "sweeps": {"suite", "sweeps"},
    "analysis": {"suite", "analysis"},
    "bench": {"suite", "baselines", "sweeps", "analysis", "bench"},
}
BASELINES_MAY_USE = {"suite.distiller", "suite.taps", "suite.errors", "suite.rng"}
ANALYSIS_MAY_USE = {"suite.errors", "suite.source"}


def imports(path):
    """Dotted names of all modules a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def relative(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_a_package_imports_only_the_rooms_below_it(path):
    room = path.relative_to(ROOT).parts[0]
    ours = {name for name in imports(path) if name.split(".")[0] in PACKAGES}
    others = {name for name in ours if name.split(".")[0] not in ALLOWED[room]}
    if relative(path) in ENTRY_POINTS:
        return
    assert not others


@pytest.mark.parametrize("path", sorted((ROOT / "suite").rglob("*.py")), ids=relative)
def test_the_harness_names_no_method(path):
    if path.name == "methods.py":
        assert "baselines" not in imports(path)  # found by its place, not by its name
    else:
        assert not {name for name in imports(path) if name.startswith("baselines")}
    words = {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not words & set(methods.names())


@pytest.mark.parametrize("path", sorted((ROOT / "baselines").glob("*.py")), ids=relative)
def test_a_method_uses_the_interface_and_building_blocks_alone(path):
    for name in imports(path):
        if name.startswith("suite"):
            assert ".".join(name.split(".")[:2]) in BASELINES_MAY_USE
        elif name.startswith("baselines."):
            assert re.match(r"baselines\.(_|[a-z0-9]+(\.[a-z0-9]+_loss)?$)", name)


@pytest.mark.parametrize("path", sorted((ROOT / "analysis").rglob("*.py")), ids=relative)
def test_analysis_reads_the_run_store_and_trains_nothing(path):
    for name in imports(path):
        assert not name.startswith(("torch", "timm", "wandb"))
        if name.startswith("suite."):
            assert ".".join(name.split(".")[:2]) in ANALYSIS_MAY_USE


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_no_file_grows_out_of_hand(path):
    assert len(path.read_text().splitlines()) <= 350
    assert path.name != "utils.py"
