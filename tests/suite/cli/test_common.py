"""What all commands share: version, completion, and one line for an unexpected fault."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT

from suite.cli import app as cli
from suite.cli.app import main
from suite.cli.options import experiments_that_ship, methods, searches


def fail(*_, **__):
    raise KeyError("x" * 10_000)


@pytest.fixture
def broken(monkeypatch, tmp_path):
    monkeypatch.setattr("sweeps.launch.launch", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("DSKD_TRACEBACK", raising=False)


@pytest.mark.usefixtures("broken")
def test_an_unexpected_fault_is_one_line_that_names_the_traceback(capsys):
    with pytest.raises(SystemExit) as end:
        main(["sweep", "dskd_digits"])
    assert end.value.code == cli.FAULT_OF_THE_SUITE == 3
    err = capsys.readouterr().err
    assert err.startswith("error: unexpected KeyError: 'xxx")
    assert err.count("\n") == 1
    assert len(err) < 500
    log = Path(re.search(r"the traceback: (\S+)", err)[1]).read_text()
    assert log.startswith("dskd-bench sweep dskd_digits\nTraceback")
    assert "in fail" in log


@pytest.mark.usefixtures("broken")
def test_the_traceback_is_shown_to_those_who_ask(monkeypatch):
    with pytest.raises(KeyError):
        main(["--traceback", "sweep"])
    monkeypatch.setenv("DSKD_TRACEBACK", "1")
    with pytest.raises(KeyError):
        main(["sweep"])


def test_the_version_names_package_and_commit(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert not end.value.code
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    out = capsys.readouterr().out
    assert re.fullmatch(rf"dskd-bench \d+\.\d+\.\d+ \({commit}(, changed since)?\)\n", out)


def test_names_are_completed():
    assert experiments_that_ship("dskd_digits")[0] == "dskd_digits"
    assert searches("dskd_d") == ["dskd_digits_search"]
    assert methods("crd+dk") == ["crd+dkd"]


def test_the_shell_gets_completions_of_an_experiment():
    environment = {
        **os.environ,
        "_DSKD_BENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "dskd-bench sweep dkd_table_s",
        "COMP_CWORD": "2",
    }
    code = "import sys; sys.argv = ['dskd-bench']; from suite.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["dkd_table_same"]
