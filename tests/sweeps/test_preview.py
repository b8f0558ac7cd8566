"""What a dry run tells: rows with their seeds, what is left out, jobs or packs."""

from suite.config import Runtime
from suite.interface.errors import UserError
from suite.train.preflight import Findings
from sweeps import preview
from sweeps.executors.base import ExecutorOptions
from sweeps.executors.local import Local
from sweeps.executors.slurm import Slurm
from sweeps.plan.expand import expand

SETTINGS = ["methods=[scratch,kd,crd]", "seeds=[0,1,2]"]
RUNS = expand("dskd_digits", SETTINGS).runs  # a teacher, 3 methods, 3 seeds
NOTHING = Findings({}, ())


def test_a_cluster_gets_a_job_a_teacher_and_students_by_what_they_wait_for(tmp_path):
    """Scratch: 3 runs, 2 jobs; six students of the teacher: 3 jobs; the teacher: 1."""
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(
        "{runs_per_job: 2, max_jobs: 5, gpus: 1, cpus: 3, memory_gb: 7, minutes: 60}"
    )
    slurm = Slurm(Runtime(), ExecutorOptions(cluster=cluster))
    told = list(preview.lines(RUNS, NOTHING, slurm))
    assert told[0] == "dry run: 10 runs would be trained, 0 left out"
    assert "  student kd: cifar_resnet20/cifar_resnet8, 150 epochs, seeds 0 1 2" in told
    assert told[-2].startswith(
        "on SLURM: 6 jobs, at most 5 at a time, 1 GPUs, 3 cores, 7 GB and 60 minutes each"
    )
    students = [spec for spec in RUNS if spec.role == "student"]  # the teacher is finished
    told = list(preview.lines(students, NOTHING, slurm))
    assert told[-2].startswith("on SLURM: 5 jobs")


def test_this_machine_gets_workers_and_packs_and_a_reason_is_told_once():
    crd = [spec for spec in RUNS if spec.label == "crd"]
    found = Findings(dict.fromkeys(crd, UserError("too large")), ("crd keeps 5 GB",))
    runtime = Runtime(accelerator="cpu", pack=4)
    told = list(preview.lines(RUNS, found, Local(runtime, ExecutorOptions(jobs=1))))
    assert told[0] == "dry run: 7 runs would be trained, 3 left out"
    assert "memory: crd keeps 5 GB" in told
    assert told.count("left out: crd: too large") == 1
    # 1 teacher; of each of 3 seeds scratch and kd, which differ in having a teacher
    assert told[-2] == "on this machine: 1 workers, 7 packs of at most 1 runs"


def test_nothing_to_train_is_said():
    assert list(preview.lines([], NOTHING, Local(Runtime(), ExecutorOptions()))) == [
        "dry run: 0 runs would be trained, 0 left out",
        "dry run: nothing was started",
    ]
