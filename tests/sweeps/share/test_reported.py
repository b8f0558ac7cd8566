"""Figures of other code bases: checked, kept once, shown as reported and in no mean."""

import pytest

from analysis.runs.published import reported
from suite.interface.errors import UserError
from sweeps.share.reported import import_csv

HEAD = "dataset,teacher,student,method,top1_percent,protocol,source,epochs,seeds,std_percent"
KD = 'cifar100,wrn_40_2,wrn_16_2,kd,74.5,best,"Their Table 2, p. 4",240,3,0.2'
NEW = "cifar100,cifar_wrn_40_2,cifar_wrn_16_2,theirs,77.25,,Their README,,,"


def write(folder, *rows):
    path = folder / "theirs.csv"
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    return path


def test_rows_are_kept_once_in_our_names(tmp_path):
    root = tmp_path / "runs"
    assert import_csv(write(tmp_path, KD, NEW), root) == (2, 2)
    assert import_csv(write(tmp_path, NEW, KD), root) == (0, 2)
    rows = reported(root)
    assert set(rows["teacher"]) == {"cifar_wrn_40_2"}
    assert set(rows["student"]) == {"cifar_wrn_16_2"}
    assert list(rows["protocol"]) == ["best", ""]
    assert list(rows["source"]) == ["Their Table 2, p. 4", "Their README"]
    assert reported(tmp_path / "another").empty


@pytest.mark.parametrize(
    ("row", "faults"),
    [
        ("cifar100,t,s,kd,745,last,x,,,", ["line 2", "top1_percent"]),
        ("cifar100,t,s,kd,74.5,median,x,,,", ["line 2", "protocol"]),
        ("cifar100,t,s,,74.5,last,,0,,", ["method", "source", "epochs"]),
        ("cifar100,t,s,kd,74.5,last,x,1,1,1,1", ["(more columns)"]),
    ],
)
def test_all_faults_of_a_file_are_told_and_nothing_is_kept(tmp_path, row, faults):
    with pytest.raises(UserError) as raised:
        import_csv(write(tmp_path, row), tmp_path / "runs")
    assert [fault for fault in faults if fault not in str(raised.value)] == []
    assert not (tmp_path / "runs").exists()
