"""A sweep says which finished runs were made by other code; it trains none of them again."""

import json

import pytest

from suite.cli.app import main
from suite.store.record import write_json

TINY = "pairs=[cifar_resnet8/cifar_resnet8] data.name=fake train_limit=64 epochs=1 seeds=[0]"


def sweep(capsys, root):
    command = ["sweep", "dskd_digits", "--set", f"{TINY} methods=[scratch,kd]", "--no-report"]
    where = ["--runs-root", str(root), "--executor", "in_process", "--tracker", "none"]
    with pytest.raises(SystemExit) as end:
        main([*command, *where])
    assert not end.value.code
    return capsys.readouterr().out


def test_a_second_sweep_names_the_code_that_has_changed_since_the_first(capsys, tmp_path):
    assert "made by other code" not in sweep(capsys, tmp_path)
    assert "made by other code" not in sweep(capsys, tmp_path)
    for path in tmp_path.rglob("result.json"):
        record = json.loads(path.read_text())
        modules = record["provenance"]["source_modules"]
        if record["method"] == "kd":  # as if kd.py had been edited after the run
            modules["baselines.kd"] = "0" * 16
            write_json(path, record)
    out = sweep(capsys, tmp_path)
    line = "1 finished run was made by other code of baselines.kd; a finished run stays as it is"
    assert line in out
    assert "3 finished before" in out
