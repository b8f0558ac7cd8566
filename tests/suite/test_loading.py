"""What a process loads: little where an answer is quick, and nothing that no run needs."""

import gc
import subprocess
import sys

import pytest

from suite.loading import hidden, without_garbage_collection


def loaded(code):
    """Names of the modules in a fresh process after ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split("\n")[-2].split())


def test_a_worker_loads_timm_without_wandb():
    modules = loaded("import suite.train.run")
    assert "timm" in modules
    assert not {"wandb", "optuna", "matplotlib", "sklearn", "pandas", "tensorboard"} & modules


def test_a_slurm_job_is_ready_for_signals_before_it_loads_torch():
    assert not {"torch", "timm"} & loaded("import sweeps.slurm.task, sweeps.workers.__main__")


@pytest.mark.parametrize("command", ["--version", "--help", "report --help", "status dskd_digits"])
def test_a_command_that_answers_at_once_loads_no_torch(command, tmp_path):
    words = [*command.split(), *(["--runs-root", str(tmp_path)] if "status" in command else [])]
    code = f"from suite.cli.app import main\ntry: main({words!r})\nexcept SystemExit: pass"
    assert not {"torch", "timm", "wandb", "pandas", "matplotlib"} & loaded(code)


def test_a_module_is_hidden_until_the_end_and_a_loaded_one_is_not():
    with hidden("colorsys_of_nobody"), pytest.raises(ImportError):
        __import__("colorsys_of_nobody")
    assert "colorsys_of_nobody" not in sys.modules
    before = sys.modules["gc"]
    with hidden("gc"):
        assert __import__("gc") is before
    assert sys.modules["gc"] is before


def test_garbage_is_looked_for_again_afterwards_if_it_was_before():
    assert gc.isenabled()
    with without_garbage_collection():
        assert not gc.isenabled()
        with without_garbage_collection():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


LOADING = """
import atexit, gc
from suite.loading import loading
frozen = []
atexit.register(lambda: print(frozen, gc.get_freeze_count(), gc.isenabled()))
for _ in range(2):
    with loading():
        import timm
        frozen.append(gc.get_freeze_count())
    frozen.append(gc.get_freeze_count())
"""


def test_what_was_loaded_is_left_out_of_the_search_for_garbage_until_the_end():
    done = subprocess.run(
        [sys.executable, "-c", f"{LOADING}atexit.register(print, gc.get_freeze_count())"],
        capture_output=True,
        text=True,
        check=True,
    )
    within, lists = done.stdout.split("\n")[:2]
    assert int(within) > 100_000
    assert lists == f"[0, {within}, {within}, {within}] 0 True"
    assert not done.stderr
