"""Archives of a real run store: the same bytes twice, no places in them, merged and repeated."""

import json
import platform
import shutil
import zipfile
from pathlib import Path

import pytest
from command_line import in_process

from analysis.runs.collect import collect
from analysis.tables.holes import holes
from suite.store import cost, schema
from sweeps.share import archive
from sweeps.share.anonymous import absolute_paths, without_places

OLDER = Path(__file__).parents[2] / "stores" / "version_0.1.0"
TEACHER, KD, SCRATCH = "259bca574f7f546a", "47e578a7b539fbc6", "b609751a1724ab7c"
STOPPED = "d299cee28bc438cf"


def command(capsys, *words):
    status, out, errors = in_process(capsys, *words)
    return status, out + errors


@pytest.fixture
def store(tmp_path):
    """A copy of a store that version 0.1.0 made: a teacher, two students, a run that stopped."""
    shutil.copytree(OLDER, tmp_path / "older")
    return tmp_path / "older" / "runs"


@pytest.fixture
def export(store, tmp_path, capsys):
    def write(name="tiny.zip", *options, root=store):
        path = tmp_path / name
        status, told = command(
            capsys, "export", "tiny", "--out", path, "--runs-root", root, *options
        )
        assert status == 0, told
        return path

    return write


def contents(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def files_of(root):
    paths = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def merge(capsys, root, *sources):
    return command(capsys, "merge", *sources, "--into", root)


def change(path, edit):
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value, indent=2) + "\n")


def test_the_same_runs_give_the_same_bytes_and_only_finished_ones_are_in_them(export, store):
    first = export("a.zip")
    (store / "tiny" / "manifest.json").touch()
    assert first.read_bytes() == export("b.zip").read_bytes()
    names = set(contents(first)) - {"archive.json", "tiny/manifest.json"}
    record = ("config.json", "metrics.jsonl", "result.json")
    runs = (f"teachers/{TEACHER}", f"tiny/{KD}", f"tiny/{SCRATCH}")
    wanted = {f"{run}/{name}" for run in runs for name in record}
    assert names == wanted | {f"teachers/{TEACHER}/choices.npz"}
    assert first.stat().st_size < 20_000


def test_more_goes_into_an_archive_on_demand(export):
    plain = set(contents(export("a.zip")))
    more = set(contents(export("b.zip", "--features", "--with-teacher-weights")))
    assert f"teachers/{TEACHER}/weights.safetensors" in more - plain
    assert f"tiny/{KD}/features.npz" in more - plain
    assert f"tiny/{KD}/weights.safetensors" not in more
    less = set(contents(export("c.zip", "--no-predictions")))
    assert plain - less == {f"teachers/{TEACHER}/choices.npz"}


def test_an_archive_names_no_host_no_user_and_no_folder(export, store):
    def place(record):
        record["provenance"]["hostname"] = "node7.secret.example"
        record["provenance"]["cublas_workspace"] = "/home/jo/cache/:4096:8"

    change(store / "tiny" / KD / "result.json", place)
    note = "from /home/jo/x.yaml, see val/nll"
    change(store / "tiny" / "manifest.json", lambda it: it.update(note=note))
    words = (b"secret", b"/home", b"jo/", platform.node().encode(), str(store).encode())
    text = b"".join(contents(export()).values())
    assert [word for word in words if word in text] == []
    assert "from …/x.yaml, see val/nll".encode() in text
    kept = b"".join(contents(export("kept.zip", "--with-places")).values())
    assert b"node7.secret.example" in kept


def test_only_absolute_paths_are_places():
    kept = ["val/nll", "https://a.org/b/c", "1/2", "a / b", "teachers/x", "-c pool:1/2", "/"]
    assert [text for text in kept if absolute_paths({"x": text})] == []
    assert without_places({"x": kept, "hostname": "me"}) == {"x": kept}
    assert without_places(["see /data/me/a.pth, ~/b/c.yaml"]) == ["see …/a.pth, …/c.yaml"]
    assert absolute_paths({"a": {"b": "/data/me/a.pth"}}) == ["a.b: /data/me/a.pth"]


def test_a_path_in_a_configuration_is_refused_unless_asked_for(tmp_path, capsys):
    from suite.names import run_id_of

    config = {"teacher": {"checkpoint": "/home/jo/teacher.pth"}}
    run = tmp_path / "runs" / "mine" / run_id_of(config)
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"config": config}))
    (run / "result.json").write_text('{\n  "a": 1\n}\n')
    words = ("export", "mine", "--runs-root", tmp_path / "runs", "--out", tmp_path / "a.zip")
    status, told = command(capsys, *words)
    assert (status, (tmp_path / "a.zip").exists()) == (2, False)
    assert f"{run.name}: teacher.checkpoint: /home/jo/teacher.pth" in told
    assert command(capsys, *words, "--with-places")[0] == 0


def test_merged_runs_are_finished_for_a_sweep_and_stand_in_its_report(
    export, store, tmp_path, capsys
):
    root = tmp_path / "elsewhere"
    assert merge(capsys, root, export("my.zip", "--origin", "Jo's cluster"))[0] == 0
    origin = json.loads((root / "tiny" / KD / "origin.json").read_text())
    assert (origin["from"], origin["origin"]) == ("my.zip", "Jo's cluster")
    before = files_of(root)
    words = ("sweep", store.parent / "tiny.yaml", "--executor=in_process", "--no-report")
    status, told = command(capsys, *words, "--tracker=none", "--runs-root", root)
    assert status == 0
    assert "3 runs, 3 finished before" in told
    rows = collect(root, root / "tiny" / "manifest.json").runs
    assert set(rows["state"]) == {"finished"}
    (accuracy,) = rows[rows["run_id"] == KD]["last/test/top1_percent"]
    result = json.loads((store / "tiny" / KD / "result.json").read_text())
    assert accuracy == result["last"]["test/top1_percent"]
    after = files_of(root)
    records = [name for name in before if name.count("/") == 2]
    assert [name for name in records if after[name] != before[name]] == []


def test_a_teacher_without_weights_is_trained_again_and_that_is_told(
    export, store, tmp_path, capsys
):
    root = tmp_path / "elsewhere"
    merge(capsys, root, export())
    words = ("sweep", store.parent / "tiny.yaml", "--executor=in_process", "--no-report")
    more = ("--set", "seeds=[1] methods=[kd]", "--tracker=none", "--runs-root", root)
    told = command(capsys, *words, *more)[1]
    assert "its weights are not here" in told.replace("\n", " ")
    assert "--with-teacher-weights" in told
    assert "2 of 2 runs finished" in told
    with_weights = tmp_path / "with_weights"
    merge(capsys, with_weights, export("w.zip", "--with-teacher-weights"))
    told = command(capsys, *words, *more[:-1], with_weights)[1]
    assert "2 runs, 1 finished before" in told


def test_merging_again_or_from_the_store_itself_changes_nothing(export, store, tmp_path, capsys):
    root, path = tmp_path / "elsewhere", export()
    merge(capsys, root, path)
    before = files_of(root)
    assert merge(capsys, root, path, path) == (
        0,
        "0 runs added, 6 were there, 0 in conflict, 0 refused\n",
    )
    assert files_of(root) == before
    told = merge(capsys, root, store)[1]
    assert told.startswith("0 runs added, 3 were there (3 completed)")  # with weights, features
    assert (root / "teachers" / TEACHER / "weights.safetensors").is_file()


def test_two_results_of_one_run_are_kept_apart_and_told(export, store, tmp_path, capsys):
    root = tmp_path / "elsewhere"
    merge(capsys, root, export())
    ours = (root / "tiny" / KD / "result.json").read_bytes()
    path = store / "tiny" / KD / "metrics.jsonl"
    first, second = map(json.loads, path.read_text().splitlines())
    loss = second["train/loss"]
    path.write_text(f"{json.dumps(first)}\n{json.dumps(second | {'train/loss': loss + 0.5})}\n")
    for _ in range(2):
        status, told = merge(capsys, root, export("other.zip"))
        assert status == 1
        assert "2 were there, 1 in conflict" in told
        assert f"tiny/{KD} of other.zip departs in epoch 2: train/loss {loss:.9g}" in told
        (kept,) = (root / "tiny" / "conflicts").iterdir()
        assert (kept / "metrics.jsonl").read_bytes() == path.read_bytes()
    assert json.loads((kept / "origin.json").read_text())["from"] == "other.zip"
    table = holes(collect(root, root / "tiny" / "manifest.json"))
    (row,) = [[cell.text for cell in row.cells] for row in table.rows]
    assert row[:2] == ["conflict", "kd"]
    assert row[4] == f"tiny/conflicts/{kept.name}"
    assert (root / "tiny" / KD / "result.json").read_bytes() == ours


def test_a_run_that_stopped_here_is_replaced_by_the_finished_one(export, store, tmp_path, capsys):
    root = tmp_path / "elsewhere"
    shutil.copytree(store, root)
    (root / "tiny" / KD / "result.json").unlink()
    (root / "tiny" / KD / "checkpoint.pt").write_bytes(b"half a training")
    (root / "tiny" / KD / "metrics.jsonl").write_text('{"epoch": 1}\n')
    assert merge(capsys, root, export())[1].startswith("1 runs added, 2 were there")
    assert not (root / "tiny" / KD / "checkpoint.pt").exists()
    whole = (store / "tiny" / KD / "metrics.jsonl").read_bytes()
    assert (root / "tiny" / KD / "metrics.jsonl").read_bytes() == whole


def test_lists_of_runs_are_united(export, store, tmp_path, capsys):
    root = tmp_path / "elsewhere"
    merge(capsys, root, export())
    change(store / "tiny" / "manifest.json", lambda it: it["runs"][0].update(seed=9))
    merge(capsys, root, export("more.zip"))
    rows = json.loads((root / "tiny" / "manifest.json").read_text())["runs"]
    assert len(rows) == 4
    assert rows[3]["seed"] == 9


def timed(run_id, **more):
    return {
        "run_id": run_id, "device": "cpu", "threads": 1, "steps": 2, "run_steps": 9,
        "seconds": [1.0], **more,
    }  # fmt: skip


def test_measured_costs_travel_without_places_and_others_of_the_same_run_are_told(
    export, store, tmp_path, capsys
):
    theirs = store / "tiny" / cost.FILE
    cost.save(theirs, [timed(KD, hostname=platform.node()), timed(SCRATCH)])
    archived = export()
    assert platform.node().encode() not in contents(archived)[f"tiny/{cost.FILE}"]
    root = tmp_path / "elsewhere"
    here = root / "tiny" / cost.FILE
    for _ in range(2):
        assert "0 in conflict, 0 refused" in merge(capsys, root, archived)[1]
        assert cost.load(here) == [timed(KD), timed(SCRATCH)]
    cost.save(theirs, [timed(KD, seconds=[2.0]), timed(KD, device="gpu")])
    for _ in range(2):
        told = merge(capsys, root, export("again.zip"))[1]
        assert f"conflict: tiny/cost.json: another measurement of {KD}; ours stays" in told
        assert cost.load(here) == [timed(KD), timed(SCRATCH), timed(KD, device="gpu")]
    (kept,) = (root / "tiny" / "conflicts").iterdir()
    assert timed(KD, seconds=[2.0]) in cost.load(kept)


@pytest.mark.parametrize("damage", ["{", '{"measurements": [{"run_id": "0123"}]}'])
def test_damaged_costs_change_nothing_on_either_side(store, tmp_path, capsys, damage):
    (store / "tiny" / cost.FILE).write_text(damage)
    root = tmp_path / "elsewhere"
    assert "refused: tiny/cost.json: damaged" in merge(capsys, root, store)[1]
    assert not (root / "tiny" / cost.FILE).exists()
    cost.save(store / "tiny" / cost.FILE, [timed(KD)])
    (root / "tiny" / cost.FILE).write_text(damage)
    assert "tiny/cost.json here: damaged" in merge(capsys, root, store)[1]
    assert (root / "tiny" / cost.FILE).read_text() == damage


DAMAGES = {
    "is not what was exported": lambda it: it.update({f"tiny/{KD}/result.json": b"{}"}),
    "is no archive": lambda it: it.pop("archive.json"),
    "version 2, this": lambda it: it.update(
        {"archive.json": it["archive.json"].replace(b'"version": 1', b'"version": 2')}
    ),
}


@pytest.mark.parametrize("fault", DAMAGES)
def test_a_damaged_archive_is_one_line_and_nothing_is_written(export, tmp_path, capsys, fault):
    files = contents(export())
    DAMAGES[fault](files)
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    status, told = merge(capsys, tmp_path / "elsewhere", path)
    assert (status, len(told.splitlines())) == (2, 1)
    assert fault in told
    assert not (tmp_path / "elsewhere").exists()
    path.write_bytes(path.read_bytes()[:500])
    assert merge(capsys, tmp_path / "elsewhere", path)[0] == 2


@pytest.mark.parametrize(
    "name",
    [
        "../a/0123456789abcdef/config.json",
        "/a/0123456789abcdef/config.json",
        "a/0123456789abcdef/../../b",
        "a/0123456789abcdef/claim.json",
        "a/jobs/x.pkl",
        "a/source/x.py",
    ],
)
def test_what_is_no_file_of_a_run_is_never_written(tmp_path, name):
    assert not archive.is_known(name)
    archive.write(tmp_path / "bad.zip", "a", None, {name: b"x"})
    with pytest.raises(archive.ArchiveError, match="is no file of a run store"):
        archive.read(tmp_path / "bad.zip")


def test_a_record_that_is_none_is_refused_by_field(store, tmp_path, capsys):
    change(
        store / "tiny" / KD / "result.json",
        lambda it: it["last"].update({"test/top1_percent": 9135}),
    )
    change(store / "tiny" / SCRATCH / "config.json", lambda it: it["config"].update(seed=5))
    status, told = merge(capsys, tmp_path / "elsewhere", store)
    assert status == 1
    assert "result.json: last/test/top1_percent: 9135 is greater than the maximum of 100" in told
    assert "config.json is not the configuration of which the run id is the hash" in told
    assert [path.parent.name for path in tmp_path.glob("elsewhere/*/*/result.json")] == [TEACHER]


def test_records_of_version_0_1_0_are_records():
    records = sorted(OLDER.glob("runs/*/*/result.json"))
    assert len(records) == 3
    for path in records:
        record = json.loads(path.read_text())
        assert schema.faults(record) == []
        assert schema.faults(record | {"record_version": 1}) == []
        for field in ("run_id", "last", "weights_sha256"):
            wrong = {key: value for key, value in record.items() if key != field}
            assert schema.faults(wrong) == [f"{field!r} is a required property"]
