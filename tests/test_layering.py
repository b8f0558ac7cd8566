"""The house stays in order: which room may import which, and who may look at the world outside."""

import ast
import re
from pathlib import Path

import pytest

from suite import methods

ROOT = Path(__file__).parents[1]
PACKAGES = ("suite", "baselines", "sweeps", "analysis", "bench")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
IDS = [str(path.relative_to(ROOT)) for path in FILES]

ROOMS = (
    "suite.interface",  # what a method may import
    "suite.terminal",
    "suite.loading",
    "suite.ending",
    "baselines",
    "suite.methods",  # finds methods by name
    "suite.names",
    "suite.config_base",
    "suite.augmentation",
    "suite.config",
    "suite.yaml_input",
    "suite.store",
    "suite.models",
    "suite.device",
    "suite.data",
    "suite.train",
    "suite.evaluation",  # finished runs on other images
    "suite.tracking",
    "sweeps.plan",
    "sweeps.workers",
    "sweeps.slurm",
    "sweeps.executors",
    "sweeps.search",
    "sweeps.watch",
    "sweeps.preview",
    "sweeps.init",
    "sweeps.launch",
    "sweeps.share",  # results that travel
    "analysis.statistics",
    "analysis.runs",
    "analysis.feature_gap",
    "analysis.tables",
    "analysis.plots",
    "analysis.report",
    "analysis.site",
    "analysis.paper",
    "analysis.search",
    "bench",
    "suite.cli",
)
"""From the bottom up: a file imports from its own room and from those before it."""
ANALYSIS_MAY_USE = {
    *("suite.interface.errors", "suite.store.cost", "suite.store.evaluations"),
    *("suite.store.predictions", "suite.store.record", "suite.store.schema"),
    *("suite.store.source", "suite.store.states"),
}
MOST_FILES = 16  # of one folder, besides its __init__.py


def modules_imported(path):
    """Dotted names of all modules a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def dotted(path):
    """The module of a file below the root."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module):
    """The innermost room that holds a module; None for what is not ours or a package's root."""
    return next((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), None)


def relative(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_a_file_imports_from_its_own_room_and_those_below(path):
    own = room_of(dotted(path))
    below = {room_of(name) for name in modules_imported(path)} - {None, own}
    if own is None:  # a package's root
        assert not below
    else:
        assert {room for room in below if ROOMS.index(room) > ROOMS.index(own)} == set()


def test_every_file_is_in_a_room():
    roots = {f"{package}/__init__.py" for package in PACKAGES}
    assert {relative(path) for path in FILES if room_of(dotted(path)) is None} <= roots


def test_no_folder_is_crowded():
    for folder in {path.parent for path in FILES} - {ROOT / "baselines"}:
        assert len(set(folder.glob("*.py")) - {folder / "__init__.py"}) <= MOST_FILES, folder


@pytest.mark.parametrize("path", sorted((ROOT / "suite").rglob("*.py")), ids=relative)
def test_the_harness_names_no_method(path):
    # methods are found by their place, not by their name
    assert not {name for name in modules_imported(path) if name.startswith("baselines")}
    words = {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not words & set(methods.names())


@pytest.mark.parametrize("path", sorted((ROOT / "baselines").glob("*.py")), ids=relative)
def test_a_method_uses_the_interface_and_building_blocks_alone(path):
    for name in modules_imported(path):
        if name.startswith("suite"):
            assert name.startswith("suite.interface")
        elif name.startswith("baselines."):
            assert re.match(r"baselines\.(_|[a-z0-9]+(\.[a-z0-9]+_loss)?$)", name)


@pytest.mark.parametrize("path", sorted((ROOT / "analysis").rglob("*.py")), ids=relative)
def test_analysis_reads_the_run_store_and_trains_nothing(path):
    for name in modules_imported(path):
        assert not name.startswith(("torch", "timm", "wandb"))
        if name.startswith("suite."):
            assert any(f"{name}.".startswith(f"{it}.") for it in ANALYSIS_MAY_USE) or any(
                it.startswith(f"{name}.") for it in ANALYSIS_MAY_USE
            )


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_no_file_grows_out_of_hand(path):
    assert len(path.read_text().splitlines()) <= 350
    assert path.name != "utils.py"


def test_the_architecture_page_names_the_rooms_in_their_order():
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("## Rooms")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^\| `([a-z_.]+)` \|", table, re.MULTILINE)) == ROOMS


def test_the_files_that_the_architecture_page_names_exist():
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`((?:suite|sweeps|analysis)/[\w/]+\.py)`", page)
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).is_file()] == []
