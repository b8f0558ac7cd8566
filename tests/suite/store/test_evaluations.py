"""Results of finished runs on other images, as files beside the record."""

import pytest

from suite.store import evaluations
from suite.store.record import RecordError, RunDirectory, write_json

PROTOCOL = {"data": "digits", "epochs": 3}


@pytest.fixture
def run(tmp_path):
    made = RunDirectory(tmp_path / "0123456789abcdef")
    write_json(made.result, {"weights_sha256": "a" * 64})
    return made


def test_a_result_is_there_for_its_protocol_and_the_weights_of_the_record(run):
    assert not evaluations.is_done(run, "probe", PROTOCOL)
    evaluations.save(run, "probe", PROTOCOL, {"top1_percent": 50.0}, {})
    assert evaluations.is_done(run, "probe", PROTOCOL)
    assert not evaluations.is_done(run, "probe", {**PROTOCOL, "epochs": 4})
    assert not evaluations.is_done(run, "robustness", PROTOCOL)
    (found,) = evaluations.results(run, "probe")
    assert (found["protocol"], found["figures"]) == (PROTOCOL, {"top1_percent": 50.0})
    assert (run.path / f"probe-{found['id']}.json").is_file()
    write_json(run.result, {"weights_sha256": "b" * 64})  # trained again
    assert not evaluations.is_done(run, "probe", PROTOCOL)
    assert list(evaluations.results(run, "probe")) == []


def test_a_damaged_result_counts_as_none(run):
    evaluations.save(run, "probe", PROTOCOL, {}, {})
    (path,) = run.path.glob("probe-*.json")
    for content in (b"", path.read_bytes()[:20], b"[]", b'{"figures": {}}'):
        path.write_bytes(content)
        assert not evaluations.is_done(run, "probe", PROTOCOL)
        assert list(evaluations.results(run, "probe")) == []


def test_a_run_without_a_record_has_none_and_gets_none(tmp_path):
    missing = RunDirectory(tmp_path / "nowhere")
    assert list(evaluations.results(missing, "probe")) == []
    with pytest.raises(RecordError, match="no weights_sha256; train the run to its end first"):
        evaluations.save(missing, "probe", PROTOCOL, {}, {})
