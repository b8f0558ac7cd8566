"""What a record says of the code: exactly what can change the run's numbers."""

import ast
import importlib.metadata
import shutil
from pathlib import Path

import PIL
import pytest
import torch
from PIL import features

from suite import methods
from suite.config import RunSpec, Runtime
from suite.data import sets
from suite.store import provenance, source
from suite.store.record import RunDirectory
from suite.train.run import run

ROOT = Path(__file__).parents[3]
NOT_BEHIND_A_RUN = {
    "suite.evaluation": "measures runs that are finished",
    "suite.store.evaluations": "the files of these measurements",
    "suite.store.cost": "the file of what steps of training take",
    "suite.store.lease": "who trains a run",
    "suite.store.schema": "checks records that others wrote",
    "suite.store.states": "what a run needs now",
    "suite.cli": "the command line",
    "suite.ending": "how a process ends",
    "suite.data.testing": "the contract of data sets, for tests",
    "suite.device.limits": "refuses what the machine does not carry",
    "suite.device.machine": "what the machine has",
    "suite.train.preflight": "refuses runs before they start",
    "suite.train.footprint": "how much memory a run needs, asked before it starts",
    "suite.interface.absent_gpu": "a device for the contract and for counting kernels",
    "suite.interface.method_bench": "a method on a pair of networks, for the contract",
    "suite.interface.kernels": "what is known of a GPU's kernels, for the same",
    "suite.interface.testing": "the contract of methods, for tests",
    "suite.terminal": "the command line",
    "suite.yaml_input": "reads YAML files into what is then checked",
    "suite.tracking": "shows runs on W&B and other trackers",
}
"""Modules of suite/ that no run imports, with what they are for (packages with all inside)."""


def modules_of_the_suite():
    paths = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "suite").rglob("*.py"))
    return {".".join(path.parts).removesuffix(".__init__") for path in paths}


def test_every_module_of_the_suite_is_behind_runs_or_is_known_not_to_be():
    behind = set(provenance.code_of_run("kd", tuple(map(sets.module, sets.names()))))
    known = set(NOT_BEHIND_A_RUN) | set(provenance.NO_NUMBERS)
    rest = {
        name
        for name in modules_of_the_suite() - behind
        if not any(f"{name}.".startswith(f"{it}.") for it in known)
    }
    assert not rest, "say in NOT_BEHIND_A_RUN why no run's numbers depend on it, or import it"
    assert not behind & known
    assert known <= modules_of_the_suite()


def test_only_the_finders_of_methods_and_data_sets_import_by_a_name_that_is_made_up():
    """The list of modules is read off import statements: no run may import in another way."""
    files = source.behind([provenance.RUN], dict.fromkeys(source.RUNS, ROOT))
    dynamic = {
        name
        for name, file in files.items()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute | ast.Name)
        and getattr(node, "attr", getattr(node, "id", "")) in {"import_module", "__import__"}
    }
    assert dynamic == {"suite.methods", "suite.data.sets"}


def test_other_methods_are_not_behind_a_run():
    for method in methods.names():
        own = {name for name in provenance.code_of_run(method) if name.startswith("baselines.")}
        whole = {name for name in own if not name.startswith("baselines._")}
        imported = {f"baselines.{part}" for part in methods.names()} & set(
            source.behind([f"baselines.{method}"], {"baselines": ROOT})
        )
        assert whole == imported
        assert f"baselines.{method}" in whole
    assert "baselines.dkd" not in provenance.code_of_run("kd")
    assert {"baselines.crd", "baselines.kd"} <= set(provenance.code_of_run("crd+kd"))


EDITS = {
    "suite/cli/app.py": ('help="Make the report at the end."', 'help="Make a report."'),
    "suite/train/trainer.py": ("epoch: int = 1", "epoch: int = 2"),
    "suite/data/split.py": ("SPLIT_SEED = 2602", "SPLIT_SEED = 2603"),
    "baselines/_losses.py": ("def ", "def _"),
    "baselines/dkd.py": ("def ", "def _"),
}
MARKED = {
    "suite/cli/app.py": set(),
    "suite/train/trainer.py": {"scratch", "kd", "dkd", "crd+kd"},
    "suite/data/split.py": {"scratch", "kd", "dkd", "crd+kd"},
    "baselines/_losses.py": {"kd", "dkd", "crd+kd"},
    "baselines/dkd.py": {"dkd"},
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A working tree of its own."""
    folder = tmp_path_factory.mktemp("tree")
    for package in source.RUNS:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def sources(tree):
    """Method -> hash of the code behind its runs, with nothing remembered."""
    packages = dict.fromkeys(source.RUNS, tree)
    source.code_sha256.cache_clear()
    source._imported.cache_clear()
    return {
        name: source.combined(
            source.hashes(
                source.behind(
                    [provenance.RUN, *methods.modules(name)], packages, provenance.NO_NUMBERS
                )
            )
        )
        for name in ("scratch", "kd", "dkd", "crd+kd")
    }


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_marks_the_runs_whose_numbers_it_can_change_and_no_others(tree, file):
    before, path = sources(tree), tree / file
    text = path.read_text()
    old, new = EDITS[file]
    assert old in text
    path.write_text(text.replace(old, new))
    after = sources(tree)
    path.write_text(text)
    assert {name for name in before if before[name] != after[name]} == MARKED[file]


def test_a_docstring_or_comment_marks_no_run(tree):
    before, path = sources(tree), tree / "suite" / "train" / "trainer.py"
    text = path.read_text()
    path.write_text("# Changed.\n" + text.replace('"""How far a run has come."""', '"""Where."""'))
    assert sources(tree) == before
    path.write_text(text)


def test_an_installed_method_counts_with_the_modules_of_its_package(tmp_path, monkeypatch):
    package = tmp_path / "their_methods"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "losses.py").write_text("WEIGHT = 2.0\n")
    template = (ROOT / "baselines" / "_template.py").read_text()
    (package / "new.py").write_text(f"{template}\nfrom their_methods import losses\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (name,) = [n.name for n in ast.parse(template).body if isinstance(n, ast.ClassDef)][-1:]
    point = importlib.metadata.EntryPoint(
        "theirs", f"their_methods.new:{name}", methods.ENTRY_POINT_GROUP
    )
    monkeypatch.setattr(methods, "_third_party", lambda: {point.name: point})
    found = set(provenance.code_of_run("theirs"))
    assert {
        "their_methods",
        "their_methods.new",
        "their_methods.losses",
        "suite.train.run",
    } <= found
    assert "baselines.kd" not in found


def test_the_code_is_that_of_the_start_whatever_is_edited_while_a_run_trains(tmp_path, monkeypatch):
    config = {
        "data": {"name": "digits", "train_limit": 20, "eval_splits": ["val"]},
        "student": {"name": "cifar_resnet8"},
        "method": "scratch",
        "optimizer": {"lr": 0.1},
        "train": {"epochs": 1},
    }
    spec = RunSpec(config=config, experiment="e", label="scratch")
    expected = provenance.code_of_run("scratch", ("suite.data.sets.digits",))
    assert "suite.data.sets.digits" in expected
    assert "suite.data.sets.cifar10" not in expected
    provenance.code_of_run.cache_clear()

    def files_change() -> bool:
        monkeypatch.setattr(source, "code_sha256", lambda _: "0" * 64)
        return False

    run(spec, Runtime(runs_root=tmp_path, accelerator="cpu", tracker="none"), files_change)
    record = RunDirectory.of(tmp_path, "e", spec.run_id).read_result()
    assert source.code_sha256(Path(__file__)) == "0" * 64
    assert record["provenance"]["source_modules"] == expected
    assert record["provenance"]["source_sha256"] == source.combined(expected)


def test_the_record_says_what_decodes_images():
    versions = provenance.provenance(torch.device("cpu"))["versions"]
    assert versions["pillow"] == PIL.__version__
    turbo = features.version_feature("libjpeg_turbo")
    assert versions.get("libjpeg-turbo") == turbo
    assert versions["torchvision"]
