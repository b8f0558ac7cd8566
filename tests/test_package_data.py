"""What the packages read beside their code is part of an installation."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("suite", "baselines", "sweeps", "analysis", "bench")
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def data_files():
    """Everything in the packages that is neither code nor made by running it."""
    return {
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc")
        and not {"__pycache__", ".cache"} & set(path.parts)
    }


def shipped():
    """What the patterns of pyproject.toml take: those of ``*`` hold in every package."""
    patterns = SETUPTOOLS["package-data"]
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    found = {path for folder in folders for it in patterns["*"] for path in folder.glob(it)}
    for package in set(patterns) - {"*"}:
        found |= {path for it in patterns[package] for path in (ROOT / package).glob(it)}
    return {path.relative_to(ROOT) for path in found}


def test_every_data_file_of_a_package_is_shipped():
    assert data_files() == shipped()
    assert Path("analysis/search/page.html.jinja") in shipped()
    assert Path("sweeps/recipes/digits.yaml") in shipped()


def test_every_package_is_shipped():
    folders = {path.parent.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert folders <= {ROOT.name}
    named = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert {f"{name}*" for name in named} == set(SETUPTOOLS["packages"]["find"]["include"])
