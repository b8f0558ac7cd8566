"""Shipped files by name, and what is said of a name that is none."""

import os
import subprocess
from pathlib import Path

import pytest

from suite.interface.errors import UserError
from sweeps.plan import files

ROOT = Path(__file__).parents[3]
OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ARGS")


@pytest.mark.parametrize("kind", ["recipes", "experiments", "searches", "clusters"])
def test_an_unknown_name_is_called_what_it_is(kind):
    singular = {"searches": "search"}.get(kind, kind.removesuffix("s"))
    with pytest.raises(UserError, match=f"^unknown {singular} 'nonesuch'.*path to your own YAML"):
        files.read(kind, "nonesuch")
    with pytest.raises(UserError, match=f"^{singular} nonesuch.yaml: there is no such file"):
        files.read(kind, "nonesuch.yaml")


def test_make_hands_names_to_the_shell_as_they_are():
    """Also of several experiments in one report."""
    command = [
        "make",
        "--no-print-directory",
        "--dry-run",
        "PYTHON=python",
        "EXP=first se$$cond;third",
        "report",
    ]
    alone = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "python",
        "-m",
        "suite.cli",
        "report",
        "'first'",
        "'se$cond;third'",
    ]
