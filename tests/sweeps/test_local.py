"""Local workers import the code of the process that started them."""

import shlex
import subprocess

import suite
from sweeps import local


def test_packages_in_the_working_folder_do_not_hide_ours_from_a_worker(tmp_path):
    """`python -m` looks there first; a user's folder `suite` or `analysis` ended every worker."""
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "__init__.py").write_text("raise RuntimeError('not this one')\n")
    command = [*shlex.split(local._python()), "-u", "-c"]
    script = "import suite; print(suite.__file__)"
    done = subprocess.run(
        [*command, script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == suite.__file__
