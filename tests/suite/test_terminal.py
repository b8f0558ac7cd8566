"""Labels and reasons of failures are printed as they were written, whatever they look like."""

import json

import pytest
from command_line import in_process

from suite.terminal import terminal
from sweeps.search import study as studies

LABEL = "kd x[/red] [bold] :smile:"
TINY = (
    f'methods=[{{name: kd, label: "{LABEL}"}}] pairs=[cifar_resnet8/cifar_resnet8] '
    "data.name=fake train_limit=32 batch_size=32 epochs=1 seeds=[0]"
)


def printed(capsys, *arguments):
    """All that a command printed, on one line, with its exit status."""
    status, out, errors = in_process(capsys, *arguments)
    assert "Traceback" not in out + errors
    return status, " ".join((out + errors).split())


def sweep(capsys, root, *more):
    fixed = ("--runs-root", root, "--tracker", "none", "--accelerator", "cpu", "--workers", 0)
    return printed(capsys, "sweep", "dskd_digits", "--set", TINY, *fixed, *more)


def test_sweep_status_and_report_print_a_label_that_looks_like_markup(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("suite.cli.app.console", terminal())  # it read the width when it was made
    status, out = sweep(capsys, tmp_path, "--executor", "in_process", "--dry-run")
    assert status == 0
    assert LABEL in out
    status, out = sweep(capsys, tmp_path, "--executor", "local", "--jobs", "1")
    assert status == 0
    assert f"{LABEL} cifar_resnet8 seed 0: finished: epoch 1/1" in out  # the progress
    assert out.count(LABEL) >= 2  # and the table
    for command in ("status", "report"):
        more = ("--all",) if command == "status" else ()
        status, out = printed(
            capsys, command, "dskd_digits", "--set", TINY, "--runs-root", tmp_path, *more
        )
        assert status == 0
        assert LABEL in out

    (student,) = (it.parent for it in tmp_path.glob("dskd_digits/*/result.json"))
    (student / "result.json").unlink()
    (student / "failure.json").write_text(json.dumps({"error": "lost [/blue] :smile:"}))
    _, out = printed(capsys, "status", "dskd_digits", "--set", TINY, "--runs-root", tmp_path)
    assert "lost [/blue] :smile:" in out


def test_a_sweep_prints_a_failure_that_looks_like_markup(capsys, tmp_path, monkeypatch):
    def fails(*_):
        raise ValueError("lost [/blue] :smile:")

    monkeypatch.setattr("suite.train.run.Ground.of", fails)
    _, out = sweep(capsys, tmp_path, "--executor", "in_process", "--no-report")
    assert "failed: lost [/blue] :smile:" in out


def test_a_search_prints_a_reason_that_looks_like_markup(capsys, tmp_path, monkeypatch):
    path = tmp_path / "quick.yaml"
    path.write_text(
        "experiment: dskd_digits\npair: teacher/student\nmethods: [kd]\nbudget: {trials: 1}\n"
    )

    def refuses(*_):
        raise studies.UserError("storage [/blue] :smile:")

    monkeypatch.setattr("sweeps.search.plan.Tuning.specs", refuses)
    monkeypatch.setattr("sweeps.search.launch._check_pairs", lambda *_: None)
    monkeypatch.setattr("sweeps.search.driver.Driver._teachers", lambda _: {})
    _, out = printed(
        capsys, "search", path, "--runs-root", tmp_path, "--executor", "in_process",
        "--tracker", "none", "--no-report", "--tuned", tmp_path / "tuned",
    )  # fmt: skip
    assert "trial 0: failed storage [/blue] :smile:" in out


@pytest.mark.parametrize("words", [["sweep", "x[/red]"], ["status", "x[/red]"]])
def test_an_error_quotes_what_was_given(capsys, words):
    status, out = printed(capsys, *words)
    assert status == 2
    assert "x[/red]" in out
