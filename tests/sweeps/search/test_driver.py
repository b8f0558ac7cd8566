"""Same seed, same study; what is told follows from the run store and from nothing else."""

import json

import pytest
import simulated
from optuna.trial import TrialState

from suite.store.record import RunDirectory, write_json
from suite.store.states import directory_of
from sweeps.search.driver import SearchFailed
from sweeps.search.plan import load
from sweeps.search.queue import Queue
from sweeps.search.trials import TestSplitRead

NUMBERS = {"kd": {"space": {"temperature": "tunable", "kd_weight": "tunable"}}}
GRID = {"kd": {"space": {"temperature": [1.0, 2.0, 4.0], "kd_weight": [0.5, 1.0, 2.0]}}}


def states(study):
    return [trial.state for trial in study.get_trials(deepcopy=False)]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "qmc", "random", "grid"])
def test_the_same_seed_with_one_worker_gives_the_same_study(tmp_path, sampler):
    methods = GRID if sampler == "grid" else NUMBERS
    path = simulated.write_search(
        tmp_path, sampler={"name": sampler, "startup_trials": 4}, methods=methods
    )
    first = simulated.drive_alone(path, tmp_path / "a", trials=9).studies[0].study
    second = simulated.drive_alone(path, tmp_path / "b", trials=9).studies[0].study
    assert simulated.outcome(first) == simulated.outcome(second)
    assert len(first.trials) == 9


def test_another_seed_gives_another_study(tmp_path):
    found = []
    for seed in (0, 1):
        path = simulated.write_search(tmp_path, f"seed{seed}", sampler={"seed": seed})
        driver = simulated.drive_alone(path, tmp_path / "runs", trials=4)
        found.append(driver.studies[0].study.trials[2].params)
    assert found[0] != found[1]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "qmc"])
def test_a_study_in_two_sittings_is_the_study_in_one(tmp_path, sampler):
    path = simulated.write_search(tmp_path, sampler={"name": sampler, "startup_trials": 4})
    whole = simulated.drive_alone(path, tmp_path / "a", trials=12).studies[0].study
    simulated.drive_alone(path, tmp_path / "b", trials=5)
    parts = simulated.drive_alone(path, tmp_path / "b", trials=12).studies[0].study
    assert simulated.outcome(whole) == simulated.outcome(parts)


def test_the_first_trial_has_the_defaults(tmp_path):
    path = simulated.write_search(tmp_path)
    trial = simulated.drive_alone(path, tmp_path / "runs", trials=1).studies[0].study.trials[0]
    assert trial.params == {"temperature": 4.0, "kd_weight": 0.9}
    assert trial.user_attrs["defaults"]


def test_a_grid_ends_with_its_last_point(tmp_path):
    path = simulated.write_search(tmp_path, methods=GRID, sampler="grid", pruner="none")
    study = simulated.drive_alone(path, tmp_path / "runs").studies[0].study
    points = {tuple(trial.params.values()) for trial in study.trials}
    assert len(study.trials) == len(points) == 9


def test_pruned_trials_stop_early_and_are_marked_as_such(tmp_path):
    path = simulated.write_search(tmp_path)
    driver = simulated.drive_alone(path, tmp_path / "runs")
    pruned = [t for t in driver.studies[0].study.trials if t.state is TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        run = RunDirectory.of(tmp_path / "runs", "quick", trial.user_attrs["runs"][0])
        assert json.loads(run.trial.read_text())["state"] == "pruned"
        assert trial.last_step == 2  # the only rung of hyperband before the last epoch
        assert trial.value == trial.intermediate_values[trial.last_step]


def test_methods_share_the_budget_and_take_turns(tmp_path):
    methods = {**NUMBERS, "at": "tunable"}
    path = simulated.write_search(tmp_path, methods=methods, budget={"trials": 6})
    driver = simulated.drive_alone(path, tmp_path / "runs")
    assert [study.counts.told for study in driver.studies] == [6, 6]
    starts = [[t.datetime_start for t in study.study.trials] for study in driver.studies]
    assert all(kd < at for kd, at in zip(*starts, strict=True))
    assert all(at < kd for at, kd in zip(starts[1], starts[0][1:], strict=False))


def test_a_budget_in_hours_counts_training(tmp_path):
    # a whole simulated run says 0.6 s: three are 1.8 s
    path = simulated.write_search(tmp_path, budget={"hours": 1.7 / 3600}, pruner="none")
    study = simulated.drive_alone(path, tmp_path / "runs").studies[0]
    assert study.counts.told == 3
    assert study.counts.train_seconds == pytest.approx(1.8)


def test_the_objective_is_the_mean_over_seeds_and_only_survivors_train_them_all(tmp_path):
    path = simulated.write_search(tmp_path, seeds=[1, 2, 3])
    driver = simulated.drive_alone(path, tmp_path / "runs")
    study, root = driver.studies[0], tmp_path / "runs"
    for trial in study.study.trials:
        runs = [directory_of(spec, root) for spec in study.tuning.specs(trial.params)]
        if trial.state is TrialState.COMPLETE:
            values = [run.read_result()["last"]["val/top1_percent"] for run in runs]
            assert trial.value == pytest.approx(sum(values) / 3)
        else:
            assert not any(run.metrics.exists() for run in runs[1:])


def test_wilcoxon_judges_seed_by_seed(tmp_path):
    path = simulated.write_search(tmp_path, seeds=list(range(6)), pruner="wilcoxon")
    study = simulated.drive_alone(path, tmp_path / "runs").studies[0].study
    pruned = [t for t in study.trials if t.state is TrialState.PRUNED]
    assert pruned
    assert all(4 <= len(trial.intermediate_values) < 6 for trial in pruned)
    complete = [t for t in study.trials if t.state is TrialState.COMPLETE]
    assert all(len(trial.intermediate_values) == 6 for trial in complete)


def test_two_objectives_give_a_front(tmp_path):
    path = simulated.write_search(
        tmp_path, objective={"second": "seconds_per_step"}, pruner="none", budget={"trials": 4}
    )
    study = simulated.drive_alone(path, tmp_path / "runs").studies[0].study
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert all(trial.values[1] == pytest.approx(0.1 / 7) for trial in study.trials)
    assert study.best_trials


def test_a_failed_run_is_a_failed_trial_and_the_search_goes_on(tmp_path):
    def train(spec, runtime, should_stop):
        if spec.role != "teacher" and spec.config.method.options["temperature"] > 8:
            raise RuntimeError("the loss is not finite")
        simulated.train(spec, runtime, should_stop)

    path = simulated.write_search(tmp_path, sampler="random")
    study = simulated.drive_alone(path, tmp_path / "runs", run=train).studies[0].study
    failed = [t for t in study.trials if t.state is TrialState.FAIL]
    assert failed
    assert all(t.params["temperature"] > 8 for t in failed)
    assert {t.user_attrs["failure"] for t in failed} == {"the loss is not finite"}
    assert len(study.trials) == 14


def test_a_search_in_which_nothing_works_stops_and_says_why(tmp_path):
    def train(spec, runtime, should_stop):
        if spec.role != "teacher":
            raise RuntimeError("no such device")
        simulated.train(spec, runtime, should_stop)

    path = simulated.write_search(tmp_path)
    with pytest.raises(SearchFailed, match=r"kd: all of the first 5 trials failed.*no such device"):
        simulated.drive_alone(path, tmp_path / "runs", run=train)


def test_a_teacher_that_fails_stops_the_search(tmp_path):
    def train(*_):
        raise RuntimeError("out of memory")

    path = simulated.write_search(tmp_path)
    with pytest.raises(SearchFailed, match="the teacher teacher failed: out of memory"):
        simulated.drive_alone(path, tmp_path / "runs", run=train)


def test_every_run_of_a_search_sees_validation_images_alone(tmp_path):
    plan = load(simulated.write_search(tmp_path))
    specs = [*plan.teachers, *plan.tunings[0].templates]
    assert plan.teachers
    assert {spec.config.data.eval_splits for spec in specs} == {("val",)}
    assert {spec.config.data.train_split for spec in specs} == {"train"}


def test_a_run_that_would_read_test_images_cannot_be_queued(tmp_path):
    plan = load(simulated.write_search(tmp_path))
    values = plan.tunings[0].templates[0].model_dump(mode="json")
    values["config"]["data"]["eval_splits"] = ["val", "test"]
    spec = type(plan.teachers[0]).model_validate(values)
    with pytest.raises(TestSplitRead, match="evaluates on val, test"):
        Queue(tmp_path, "quick").put(spec, "000000")
    assert not list(tmp_path.rglob("queue/*.json"))


def test_a_test_figure_in_a_run_of_the_search_is_refused_not_read(tmp_path):
    def train(spec, runtime, should_stop):
        simulated.train(spec, runtime, should_stop)
        if spec.role != "teacher":
            directory = directory_of(spec, runtime.runs_root)
            result = directory.read_result()
            result["last"]["test/top1_percent"] = 99.0
            write_json(directory.result, result)

    path = simulated.write_search(tmp_path)
    with pytest.raises(TestSplitRead, match="has test figures"):
        simulated.drive_alone(path, tmp_path / "runs", run=train)


def test_a_real_run_of_a_search_loads_no_test_images(tmp_path):
    from suite.data import load as load_data

    plan = load(simulated.write_search(tmp_path))
    data = load_data(plan.tunings[0].templates[0].config.data, tmp_path)
    assert set(data.evals) == {"val"}


def test_a_torn_journal_is_mended(tmp_path):
    path = simulated.write_search(tmp_path)
    root = tmp_path / "runs"
    before = simulated.outcome(simulated.drive_alone(path, root, trials=6).studies[0].study)
    with (root / "quick" / "study.journal").open("ab") as journal:
        journal.write(b'{"op_code":4,"worker_id":"x","stu')
    after = simulated.drive_alone(path, root, trials=8).studies[0].study
    assert simulated.outcome(after)[:6] == before
    assert len(after.trials) == 8


def test_a_study_that_is_lost_is_found_again_in_the_runs(tmp_path):
    path = simulated.write_search(tmp_path)
    root = tmp_path / "runs"
    before = simulated.outcome(simulated.drive_alone(path, root).studies[0].study)
    (root / "quick" / "study.journal").unlink()

    def train(*_):
        raise AssertionError("trained again")

    again = simulated.drive_alone(path, root, run=train)
    assert simulated.outcome(again.studies[0].study) == before
