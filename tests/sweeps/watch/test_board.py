"""The board while a sweep runs: on a narrow terminal, and when every run dies of one error."""

import io

import pytest
from rich.console import Console
from rich.live import Live

from suite.store.states import directory_of
from sweeps.plan.expand import expand
from sweeps.watch.board import HOPELESS, Board


def board(root, settings):
    plan = expand("dskd_digits", settings)
    return plan.runs, Board(plan.write_manifest(root))


def test_a_narrow_terminal_gets_the_whole_board(tmp_path):
    """The command's console wraps nothing by itself: the time left was cut at 50 columns."""
    stream = io.StringIO()
    console = Console(file=stream, width=20, force_terminal=True, soft_wrap=True)
    with Live(board(tmp_path, ["seeds=[0] methods=[scratch,kd]"])[1], console=console):
        pass
    text = " ".join(stream.getvalue().split())
    assert "3 runs: 2 ready, 1 waiting" in text


def fail(spec, root, error):
    directory = directory_of(spec, root)
    directory.path.mkdir(parents=True)
    directory.write_failure(RuntimeError(error))


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (["disk gone"] * HOPELESS, "disk gone"),
        (["nan in step 3", "nan in step 41", *["nan in step 5"] * 3], "nan in step 5"),
        (["disk gone"] * (HOPELESS - 1), None),
        (["disk gone"] * (HOPELESS - 1) + ["nan"], None),
    ],
)
def test_a_sweep_is_hopeless_when_its_first_runs_all_die_of_one_error(tmp_path, errors, expected):
    runs, shown = board(tmp_path, ["seeds=[0,1,2,3] methods=[scratch,kd]"])
    by_seed = sorted(runs[1:], key=lambda spec: (spec.config.seed, spec.label))
    for spec, error in zip(by_seed, errors, strict=False):  # both methods, seed after seed
        fail(spec, tmp_path, error)
    shown.refresh()
    assert shown.hopeless() == expected


def test_one_broken_method_leaves_hope_for_the_others(tmp_path):
    runs, shown = board(tmp_path, ["seeds=[0,1,2,3,4] methods=[scratch,kd]"])
    for spec in runs:
        if spec.label == "kd":
            fail(spec, tmp_path, "out of memory")
    shown.refresh()
    assert shown.hopeless() is None


def test_a_run_that_finished_is_hope_and_failures_of_before_do_not_count(tmp_path):
    runs, shown = board(tmp_path, ["seeds=[0,1,2] methods=[scratch,kd]"])
    for spec in runs[1:6]:
        fail(spec, tmp_path, "disk gone")
    (manifest,) = (tmp_path / "dskd_digits").glob("manifest*.json")
    assert Board(manifest).hopeless() is None
    shown.refresh()
    assert shown.hopeless() == "disk gone"
    directory_of(runs[0], tmp_path).start({})
    directory_of(runs[0], tmp_path).result.write_text('{"run_id": "a"}')
    shown.refresh()
    assert shown.hopeless() is None
