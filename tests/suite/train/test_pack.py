"""Runs trained side by side end as they would alone."""

import traceback
import weakref
from itertools import count

import pytest
import torch

import baselines
from suite.config import RunSpec, Runtime, parse
from suite.interface.errors import UserError
from suite.names import TEACHERS
from suite.store.record import RunDirectory
from suite.train import run as run_module
from suite.train.pack import Interrupted, shared, without_frames
from suite.train.run import run, run_packed

TEACHER = {"name": "cifar_resnet8", "options": {"widths": [4, 8, 8, 16]}}
STUDENT = {"name": "cifar_resnet8", "options": {"widths": [4, 4, 8, 8]}}
WITH_DROPOUT = {"name": "cifar_resnet8", "options": {"widths": [4, 4, 8, 8], "drop_rate": 0.3}}


def runtime(root):
    return Runtime(runs_root=root, threads=1, tracker="none", accelerator="cpu")


def spec(config, experiment="experiment", role="student"):
    whole = {
        "data": {"name": "fake", "train_limit": 128},
        "optimizer": {"lr": 0.05},
        "train": {"epochs": 2, "batch_size": 32},
        **config,
    }
    values = {"config": whole, "experiment": experiment, "role": role, "label": "row"}
    return parse(RunSpec, values, "test")


def student(teacher, method="kd", network=STUDENT, **changes):
    with_teacher = {"teacher": {**TEACHER, "run_id": teacher.run_id}} if method != "scratch" else {}
    return spec({"student": network, "method": method, **with_teacher, **changes})


@pytest.fixture(scope="module")
def teacher():
    return spec({"student": TEACHER, "method": "scratch"}, TEACHERS, "teacher")


@pytest.fixture(scope="module")
def alone(teacher, tmp_path_factory):
    """Weights and metrics of runs trained one after the other, by run id."""
    root = tmp_path_factory.mktemp("alone")
    run(teacher, runtime(root))
    specs = members(teacher)
    for one in specs:
        run(one, runtime(root))
    return root, {one.run_id: outcome(root, one) for one in specs}


def members(teacher):
    """Methods with random draws, memory banks and taps; dropout; other rates; another length."""
    return [
        student(teacher),
        student(teacher, "crd", optimizer={"lr": 0.01}),
        student(teacher, "fitnet"),
        student(teacher, "dskd"),
        student(teacher, network=WITH_DROPOUT),
        student(teacher, network=WITH_DROPOUT, optimizer={"lr": 0.02}),
        student(teacher, "dkd", train={"epochs": 3, "batch_size": 32}),
    ]


def outcome(root, one):
    directory = RunDirectory.of(root, one.experiment, one.run_id)
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in directory.read_metrics()]
    return directory.read_result()["weights_sha256"], rows


def store_with(teacher, alone, root):
    source = RunDirectory.of_teacher(alone[0], teacher.run_id).path
    target = RunDirectory.of_teacher(root, teacher.run_id).path
    target.mkdir(parents=True)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


def test_packed_runs_end_with_the_bits_of_separate_runs(teacher, alone, tmp_path):
    store_with(teacher, alone, tmp_path)
    specs = members(teacher)
    assert run_packed(specs, runtime(tmp_path)) == {}
    assert {one.run_id: outcome(tmp_path, one) for one in specs} == alone[1]
    result = RunDirectory.of(tmp_path, "experiment", specs[0].run_id).read_result()
    assert result["packed"] == len(specs)


def test_a_pack_stopped_every_few_steps_ends_with_the_same_bits(teacher, alone, tmp_path):
    store_with(teacher, alone, tmp_path)
    specs = members(teacher)
    stops = 0
    while True:
        calls = count()
        try:
            run_packed(specs, runtime(tmp_path), lambda calls=calls: next(calls) >= 5)
        except Interrupted:
            stops += 1
        else:
            break
    assert stops >= 2
    assert {one.run_id: outcome(tmp_path, one) for one in specs} == alone[1]


def test_runs_stopped_at_different_places_come_together(teacher, alone, tmp_path):
    store_with(teacher, alone, tmp_path)
    specs = members(teacher)
    for stop_after, one in ((3, specs[0]), (6, specs[3])):
        calls = count()
        with pytest.raises(Interrupted):
            run(one, runtime(tmp_path), lambda calls=calls, after=stop_after: next(calls) >= after)
    assert run_packed(specs, runtime(tmp_path)) == {}
    assert {one.run_id: outcome(tmp_path, one) for one in specs} == alone[1]


def test_the_teacher_looks_at_each_batch_once(teacher, alone, tmp_path, monkeypatch):
    store_with(teacher, alone, tmp_path)
    asked = []
    original = run_module.Ground.of.__func__

    def counted(cls, config, runtime, fabric):
        ground = original(cls, config, runtime, fabric)
        ask = ground.teacher._ask
        monkeypatch.setattr(
            ground.teacher, "_ask", lambda image, taps: (asked.append(taps), ask(image, taps))[1]
        )
        return ground

    monkeypatch.setattr(run_module.Ground, "of", classmethod(counted))
    run_packed(members(teacher)[:4], runtime(tmp_path))
    batches = 2 * (128 // 32)  # epochs x steps
    assert len(asked) == batches


def test_one_diverging_run_leaves_the_others_alone(teacher, alone, tmp_path):
    store_with(teacher, alone, tmp_path)
    good, bad = members(teacher)[0], student(teacher, optimizer={"lr": 1e30})
    failures = run_packed([good, bad], runtime(tmp_path))
    assert list(failures) == [bad]
    assert "not finite" in str(failures[bad])
    assert outcome(tmp_path, good) == alone[1][good.run_id]


def test_a_failed_run_keeps_no_network_while_the_others_go_on(
    teacher, alone, tmp_path, monkeypatch
):
    store_with(teacher, alone, tmp_path)
    build, write = run_module.build_trainer, run_module.write_result
    networks, alive = {}, []

    def noted(config, *others):
        trainer = build(config, *others)
        networks[config.run_id] = weakref.ref(trainer.step.student)
        return trainer

    def asked(*arguments):
        alive.extend(run_id for run_id, network in networks.items() if network() is not None)
        write(*arguments)

    monkeypatch.setattr(run_module, "build_trainer", noted)
    monkeypatch.setattr(run_module, "write_result", asked)
    good, bad = members(teacher)[0], student(teacher, optimizer={"lr": 1e30})
    assert list(run_packed([good, bad], runtime(tmp_path))) == [bad]
    assert alive == [good.run_id]


def test_a_method_that_does_not_fit_leaves_the_others_alone(teacher, alone, tmp_path):
    store_with(teacher, alone, tmp_path)
    good = members(teacher)[0]
    bad = student(teacher, network={"name": "no_such_network"})
    failures = run_packed([bad, good], runtime(tmp_path))
    assert list(failures) == [bad]
    assert isinstance(failures[bad], UserError)
    assert outcome(tmp_path, good) == alone[1][good.run_id]


def test_only_runs_with_the_same_images_order_and_teacher_share_a_pack(teacher):
    one = student(teacher)
    assert shared(one.config) == shared(student(teacher, "dkd", optimizer={"lr": 1.0}).config)
    others = [
        student(teacher, seed=1),
        student(teacher, data={"name": "fake"}),
        student(teacher, train={"epochs": 2, "batch_size": 16}),
        student(teacher, train={"epochs": 2, "batch_size": 32, "precision": "bf16-mixed"}),
        student(teacher, "scratch"),
    ]
    assert all(shared(one.config) != shared(other.config) for other in others)
    with pytest.raises(ValueError, match="share no"):
        run_packed([one, others[0]], Runtime())


def test_a_kept_failure_keeps_no_tensor_and_still_says_where_it_happened():
    alive = []

    def fails():
        tensor = torch.ones(3)
        alive.append(weakref.ref(tensor))
        try:
            raise KeyError("inner")
        except KeyError as cause:
            raise ValueError("outer") from cause

    try:
        fails()
    except ValueError as error:
        kept = without_frames(error)
    assert alive[0]() is None
    text = "".join(traceback.format_exception(kept))
    assert "in fails" in text
    assert "KeyError: 'inner'" in text
    assert str(kept) == "outer"


TWO_VIEWS = '''
from torch.nn import functional

from suite.interface.distiller import Distiller


class TwoViews(Distiller):
    """Cross-entropy of the image, and the teacher's logits and features of two further views."""

    paper = "none"

    def student_taps(self):
        return ("pooled",)

    def teacher_taps(self):
        return ("stage0",)

    def views(self):
        return ("redrawn", "randaugment")

    def losses(self, batch, student, teacher, progress):
        assert list(batch.views) == list(self.views())
        terms = {"ce": functional.cross_entropy(student.logits, batch.label)}
        for name, image in batch.views.items():
            said, heard = teacher.views[name], student.views[name]
            assert len(image) == len(said["stage0"]) == len(heard["pooled"])
            terms[name] = functional.mse_loss(heard.logits, said.logits + said["stage0"].mean())
        return terms
'''


def test_a_method_with_three_views_beside_others_changes_no_bit_of_any(
    teacher, alone, tmp_path, monkeypatch
):
    """Packed and stopped in every epoch it ends as alone; KD beside it, as where it is not."""
    (tmp_path / "twoviews.py").write_text(TWO_VIEWS)
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    specs = [*members(teacher)[:2], student(teacher, "twoviews"), student(teacher, "twoviews+kd")]
    store_with(teacher, alone, tmp_path / "alone")
    for own in specs[2:]:
        run(own, runtime(tmp_path / "alone"))
    store_with(teacher, alone, tmp_path / "packed")
    calls = count()
    with pytest.raises(Interrupted):
        run_packed(specs, runtime(tmp_path / "packed"), lambda: next(calls) >= 2)
    assert run_packed(specs, runtime(tmp_path / "packed")) == {}
    packed = [outcome(tmp_path / "packed", one) for one in specs]
    assert packed[:2] == [alone[1][one.run_id] for one in specs[:2]]
    assert packed[2:] == [outcome(tmp_path / "alone", one) for one in specs[2:]]
