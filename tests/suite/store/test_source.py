"""The modules behind a module, and hashes of their code."""

import subprocess
import sys
from pathlib import Path

import pytest

from suite.store import source

FILES = {
    "ours/__init__.py": "",
    "ours/run.py": "import json\nfrom ours import engine\nfrom ours.data import load\n",
    "ours/engine.py": "def step():\n    from .losses import mean\n    return mean\n",
    "ours/losses.py": "",
    "ours/data/__init__.py": "from ours.data.files import load\n",
    "ours/data/files.py": "from .. import errors\nload = errors\n",
    "ours/errors.py": "from ours import texts\n",
    "ours/texts.py": "",
    "ours/cli.py": "from ours import run\n",
    "ours/typed.py": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ours import cli\n"
        "else:\n    from ours import texts\n"
    ),
}


@pytest.fixture
def ours(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return {"ours": tmp_path}


def names(*wanted, ours, leave_out=()):
    return [name.removeprefix("ours.") for name in source.behind(wanted, ours, leave_out)]


def test_all_that_a_module_imports_directly_or_not_is_behind_it(ours):
    found = names("ours.run", ours=ours)
    assert found == ["ours", "data", "data.files", "engine", "errors", "losses", "run", "texts"]
    assert names("ours.losses", ours=ours) == ["ours", "losses"]


def test_what_is_left_out_is_not_followed(ours):
    found = names("ours.run", ours=ours, leave_out={"ours.errors"})
    assert found == ["ours", "data", "data.files", "engine", "losses", "run"]


def test_imports_for_types_alone_do_not_count(ours):
    assert names("ours.typed", ours=ours) == ["ours", "texts", "typed"]


CODE = '''"""About."""
import math  # a comment


class Thing:
    """More."""

    size: int = 3
    """What it is."""

    def area(self, text="a # b"):
        return math.pi * self.size**2, f"{self.size} # {text}"
'''


def digest(tmp_path, text):
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.py"
    path.write_text(text)
    return source.code_sha256(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("About.", "About nothing."),
        ("More.", "Less."),
        ('    """What it is."""\n', ""),
        ("  # a comment", ""),
        ("\n\n\n", "\n\n"),
        ("self.size**2, f", "self.size ** 2,   f"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(tmp_path, old, new):
    assert old in CODE
    assert digest(tmp_path, CODE) == digest(tmp_path, CODE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("size: int = 3", "size: int = 4"),
        ("a # b", "a # c"),
        ("} # {", "} # !{"),
        ("math.pi", "math.e"),
        ("        return", "    return"),
        ("def area", "def areas"),
        ("    size: int = 3\n", '    size: int = 3\n    name = "What it is."\n'),
    ],
)
def test_everything_else_counts(tmp_path, old, new):
    assert old in CODE
    assert digest(tmp_path, CODE) != digest(tmp_path, CODE.replace(old, new))


def test_a_formatted_string_is_one_piece_in_every_version_of_python():
    """3.12 takes them apart, 3.11 does not: what is hashed must be the same in both."""
    lines = list(source._statements(b"x = f\"{a!r:>{width}} {{b}} # c\" f'''{f\"{d}\"}\ne'''\n"))
    assert lines == ["x = f\"{a!r:>{width}} {{b}} # c\" f'''{f\"{d}\"}\ne'''"]


def test_it_imports_neither_torch_nor_the_modules_it_looks_at():
    show = (
        "import sys; from suite.store import source; "
        "source.behind(['suite.train.run'], {'suite': source.ROOT}); "
        "print([name for name in sys.modules if name.startswith(('torch', 'suite.t'))])"
    )
    root = Path(source.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", show], cwd=root, capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
