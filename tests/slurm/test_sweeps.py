"""What a sweep submits, in which order it runs, and what several launchers make of it."""

import json
import shutil
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
SHORT = "data.name=fake train_limit=128 epochs=2 batch_size=32 methods=[scratch,kd] seeds=[0,1]"
TWO_TEACHERS = """\
recipe: digits
pairs: [good/small, other/small]
methods: [scratch, kd]
seeds: [0, 1]
data: {name: fake, train_limit: 128}
train: {epochs: 2, batch_size: 32}
models:
  good: {name: cifar_resnet8}
  other: {name: cifar_resnet14%s}
  small: {name: cifar_resnet8}
"""


@contextmanager
def no_job_starts(sweep):
    """As on a full cluster."""
    nodes = f"NodeName={','.join(sweep.part.nodes)}"
    sweep.slurm("scontrol", "update", nodes, "State=DRAIN", "Reason=test")
    try:
        yield
    finally:
        sweep.slurm("scontrol", "update", nodes, "State=RESUME")


def write(folder, text):
    path = folder / "two.yaml"
    path.write_text(text)
    return path


def jobs_by_role(sweep):
    """(jobs of teachers, jobs of students, jobs of the report), rows of the ledger."""
    rows = sweep.ledger()
    teachers = [row for row in rows if any(run.startswith("teachers/") for run in row["runs"])]
    reports = [row for row in rows if not row["runs"]]
    return teachers, [row for row in rows if row not in teachers + reports], reports


def spans(sweep):
    """Id -> (start, end) of the jobs that have run; a report taken back has not."""
    parse = datetime.fromisoformat
    found = sweep.accounting("Start", "End").items()
    return {job: (parse(start), parse(end)) for job, (start, end) in found if start[0].isdigit()}


def test_teachers_are_one_array_and_students_arrays_behind_them_and_the_report_comes_last(
    sweep, tmp_path
):
    experiment = write(tmp_path, TWO_TEACHERS % "")
    out = sweep.train("", "--report", "--detach", experiment=experiment)
    assert "detached" in out
    sweep.wait_until_gone()
    teachers, students, (report,) = jobs_by_role(sweep)
    assert {state for (state,) in sweep.accounting("State").values()} == {"COMPLETED"}
    assert len({row["id"].split("_")[0] for row in teachers}) == 1
    assert len(teachers) == 2
    assert sorted(len(row["runs"]) for row in students) == [2, 2, 2]  # kd by teacher, and scratch
    when = spans(sweep)
    trained_at = {row["runs"][0].split("/")[1]: when[row["id"]][1] for row in teachers}
    rows = json.loads((sweep.root / "two" / "manifest.json").read_text())["runs"]
    teacher_of = {row["directory"]: row["teacher_run_id"] for row in rows}
    for row in students:
        for run in row["runs"]:
            needed = teacher_of[run]
            assert needed is None or trained_at[needed] <= when[row["id"]][0]
    ends = [end for job, (_, end) in when.items() if job != report["id"]]
    assert max(ends) <= when[report["id"]][0]
    assert "kd" in (sweep.root / "two" / "report" / "tables" / "accuracy.md").read_text()


def test_never_more_jobs_at_a_time_than_allowed(sweep):
    sweep.cluster.write_text(sweep.cluster.read_text().replace("max_jobs: 3", "max_jobs: 2"))
    sweep.train(f"pairs=[cifar_resnet8/cifar_resnet8] {SHORT.replace('[0,1]', '[0,1,2,3]')}")
    events = [(start, 1) for start, _ in spans(sweep).values()]
    events += [(end, -1) for _, end in spans(sweep).values()]
    at_once = peak = 0
    for _, change in sorted(events):
        at_once += change
        peak = max(peak, at_once)
    assert peak == 2


def test_a_repeated_sweep_leaves_what_is_queued_and_status_and_cancel_need_no_launcher(sweep):
    settings = f"pairs=[cifar_resnet8/cifar_resnet8] {SHORT}"
    with no_job_starts(sweep):
        assert "4 jobs submitted, 0 were there" in sweep.train(settings, "--detach")
        assert "0 jobs submitted, 3 were there" in sweep.train(settings, "--detach")
        more = settings.replace("[0,1]", "[0,1,2]")
        out = sweep.train(more, "--detach")  # seed 2 of two methods, and a report
        assert "3 jobs submitted, 3 were there" in out
        assert "5 runs: 5 queued" in sweep.bench("status", settings)
        assert "7 jobs cancelled" in sweep.bench("cancel", settings)
        sweep.wait_until_gone()
    text = sweep.bench("status", settings)
    assert "5 runs: 3 ready, 2 waiting" in text  # for their teacher
    assert "CANCELLED" in text
    sweep.train(more)
    assert "7 runs: 7 finished" in sweep.bench("status", more)


def test_two_launchers_at_once_train_every_run_once(sweep, unbroken):
    first, second = sweep.start(), sweep.start()
    outputs = [sweep.finish(process) for process in (first, second)]
    assert [status for status, _ in outputs] == [0, 0], outputs
    runs = [run for row in sweep.ledger() for run in row["runs"]]
    assert len(runs) == len(set(runs)) == 3
    assert sweep.hashes() == unbroken
    assert all(epochs == list(range(1, 41)) for epochs in sweep.epochs().values())


def test_a_teacher_that_always_fails_stops_its_own_students_alone(sweep, tmp_path):
    bad = ", optimizer: {lr: 1.0e+30, clip_grad_norm: null}"
    experiment = write(tmp_path, TWO_TEACHERS % bad)
    for _ in range(2):  # a second call tries again
        status, out = sweep.finish(sweep.start("", experiment=experiment))
        assert status == 1, out
        assert "5 of 8 runs finished" in out
        assert "the loss is not finite" in out
        assert out.count("not run: its teacher failed") == 2
    found, training = sweep.accounting("State"), [it["id"] for it in sweep.ledger() if it["runs"]]
    states = [found[job][0].split()[0] for job in training]
    assert states.count("FAILED") == 2
    assert states.count("COMPLETED") == 3


def test_cancelling_one_job_leaves_the_others_and_the_next_call_goes_on(sweep, unbroken):
    process = sweep.start()
    sweep.wait_for_rows(5)
    (teacher,), *_ = jobs_by_role(sweep)
    sweep.slurm("scancel", teacher["id"])
    status, out = sweep.finish(process)
    assert status == 1, out
    assert "CANCELLED" in out
    assert len(sweep.hashes()) == 1  # scratch needs no teacher
    sweep.train()
    assert sweep.hashes() == unbroken


def test_jobs_run_the_code_as_it_was_when_they_were_submitted(sweep, tmp_path, unbroken):
    tree = tmp_path / "tree"
    for package in ("suite", "baselines", "sweeps", "analysis"):
        shutil.copytree(ROOT / package, tree / package)
    with no_job_starts(sweep):
        sweep.train(sweep.settings, "--detach", tree=tree)
        for path in tree.rglob("*.py"):
            path.write_text("raise RuntimeError('changed after submission')\n")
    sweep.wait_until_gone()
    assert sweep.hashes() == unbroken
    hashes = {row["source"] for row in sweep.ledger()}
    assert len(hashes) == 1
    assert (
        sweep.root / "dskd_digits" / "source" / hashes.pop() / "suite" / "train" / "run.py"
    ).is_file()


def test_a_job_refuses_a_copy_of_the_code_that_was_changed_and_the_next_call_makes_another(sweep):
    settings = f"pairs=[cifar_resnet8/cifar_resnet8] {SHORT.replace('[0,1]', '[0]')}"
    with no_job_starts(sweep):
        sweep.train(settings.replace("[scratch,kd]", "[scratch]"), "--detach", "--no-report")
        (source,) = (sweep.root / "dskd_digits" / "source").iterdir()
        (source / "baselines" / "kd.py").unlink()  # Python would find another one elsewhere
    sweep.wait_until_gone()
    assert not sweep.hashes()
    text = sweep.bench("status", settings.replace("[scratch,kd]", "[scratch]"))
    assert "FAILED" in text
    (log,) = (sweep.root / "jobs").glob(f"{sweep.ledger()[0]['id']}/*_log.out")
    assert f"the code in {source} was changed after the jobs were submitted" in log.read_text()
    sweep.train(settings)
    assert len(list(sweep.root.rglob("result.json"))) == 3
    assert sweep.ledger()[-1]["source"] == f"{source.name}-2"


def test_a_sweep_whose_first_runs_all_die_of_one_error_says_so_and_is_stopped(sweep):
    sweep.cluster.write_text(
        sweep.cluster.read_text().replace("runs_per_job: 2", "runs_per_job: 1")
    )
    seeds = SHORT.replace("[0,1]", str(list(range(16))).replace(" ", ""))
    settings = seeds.replace("[scratch,kd]", "[scratch]")
    settings += " optimizer.lr=1e30 optimizer.clip_grad_norm=null"
    status, out = sweep.finish(sweep.start(f"pairs=[cifar_resnet8/cifar_resnet8] {settings}"))
    assert status == 1, out
    assert "stopped: the first runs all died of one error: the loss is not finite" in out
    sweep.wait_until_gone()
    assert len(list(sweep.root.rglob("failure.json"))) in range(5, 10)  # three run at a time
    assert any("CANCELLED" in state for (state,) in sweep.accounting("State").values())


def test_a_limit_on_submitted_jobs_is_told_in_one_line_and_what_was_submitted_stays(sweep):
    sacctmgr = ("sacctmgr", "-i")
    sweep.slurm(*sacctmgr, "add", "account", "limited", "MaxSubmitJobs=2")
    sweep.slurm(*sacctmgr, "add", "user", "root", "account=limited")
    sweep.cluster.write_text(f"{sweep.cluster.read_text()}account: limited\n")
    try:
        with no_job_starts(sweep):
            settings = f"pairs=[cifar_resnet8/cifar_resnet8] {SHORT}"
            status, out = sweep.finish(sweep.start(settings, "--detach"))
            assert status == 2, out
            (line,) = [line for line in out.splitlines() if line.startswith("error: ")]
            assert "AssocMaxSubmitJobLimit" in line
            assert "those submitted before stay" in line
            assert "raise runs_per_job" in line
            assert len(sweep.ledger()) == len(sweep.queue()) == 2
            assert "2 jobs cancelled" in sweep.bench("cancel", settings)
        sweep.wait_until_gone()
    finally:
        sweep.slurm(*sacctmgr, "delete", "user", "root", "account=limited")
        sweep.slurm(*sacctmgr, "delete", "account", "limited")


def test_two_nodes_train_together_what_one_process_trains(sweep, tmp_path):
    settings = f"pairs=[cifar_resnet8/cifar_resnet8] {SHORT.replace('[scratch,kd]', '[kd,crd]')}"
    settings = settings.replace("seeds=[0,1]", "seeds=[0] optimizer.lr=0.0025")
    sweep.train(settings, "--nodes=2")  # at 0.05 rounding grows beyond 1e-3 on some CPUs
    nodes = {state for (state,) in sweep.accounting("NNodes").values()}
    assert nodes == {"2", "1"}  # the report's job needs one
    (tmp_path / "alone").mkdir()
    alone = type(sweep)(tmp_path / "alone")
    alone.train(settings, executor="in_process")
    assert len(sweep.hashes()) == len(alone.hashes()) == 3
    for path in alone.root.rglob("weights.safetensors"):
        one, two = load_file(path), load_file(sweep.root / path.relative_to(alone.root))
        for name, tensor in one.items():
            assert (tensor - two[name]).abs().max() <= 1e-3 * max(1.0, tensor.abs().max())


def test_an_unrelated_job_with_a_number_of_the_ledger_is_never_cancelled(sweep):
    """The ledger of another cluster, or from before SLURM was installed anew."""
    settings = f"pairs=[cifar_resnet8/cifar_resnet8] {SHORT}"
    with no_job_starts(sweep):
        sweep.train(settings, "--detach")
        hold = ["sbatch", "--parsable", "--hold", "--job-name=somebody", "--output=/dev/null"]
        other = sweep.slurm(*hold, "--wrap", "sleep 1").strip()
        try:
            (ledger,) = sweep.root.glob("*/jobs.jsonl")
            rows = sweep.ledger()
            legacy = {key: value for key, value in rows[0].items() if key != "name"}
            with ledger.open("a") as file:
                for row in (rows[0], legacy):  # of this version, and of one without names
                    file.write(json.dumps(row | {"id": other}) + "\n")
            assert "4 jobs cancelled" in sweep.bench("cancel", settings)
            assert sweep.slurm("squeue", "-h", "-j", other, "-o", "%T").strip() == "PENDING"
        finally:
            sweep.slurm("scancel", other)


def test_a_refusal_names_the_field_of_the_cluster_file_and_leaves_no_odd_folder(sweep):
    sweep.cluster.write_text(sweep.cluster.read_text().replace("gpus: 0", "gpus: 1"))
    status, out = sweep.finish(sweep.start(SHORT, "--accelerator=auto"))
    assert status == 2, out
    assert "Invalid generic resource (gres) specification" in out
    assert "change gpus in your cluster file" in out
    assert "make sweep ARGS=--executor=local" in out
    assert not [path for path in sweep.root.rglob("*") if "%" in path.name]
