import numpy as np
import pytest
from simulated_runs import World, simulate

from analysis.statistics.design import Design
from analysis.statistics.planning import Cost, components, next_steps

HOUR = Cost(student=60, teacher=600)


def test_components_come_back_in_the_mean_of_many_experiments():
    world = World(seed=1.0, method_teacher=0.8, method_pair=0.6)
    rng = np.random.default_rng(0)
    some = [
        components(Design(simulate(rng, world, pairs=6, teachers=3, seeds=4))) for _ in range(200)
    ]
    assert np.mean([it.seed for it in some]) == pytest.approx(1.0, abs=0.05)
    assert np.mean([it.teacher for it in some]) == pytest.approx(0.64, abs=0.06)
    assert np.mean([it.pair for it in some]) == pytest.approx(0.36, abs=0.08)


def test_where_pairs_vary_most_another_pair_is_the_best_use_of_an_hour():
    rng = np.random.default_rng(1)
    world = World(seed=0.2, method_pair=2.0)
    steps = next_steps(Design(simulate(rng, world, pairs=4, teachers=2, seeds=3)), HOUR)
    assert steps[0].what == "pair"
    # nearly all of the variance is that of pairs: 4 -> 5 pairs leave 4/5 of it
    assert steps[0].half_width_ratio == pytest.approx(np.sqrt(4 / 5), abs=0.01)


def test_with_one_teacher_only_seeds_can_be_judged():
    steps = next_steps(Design(simulate(np.random.default_rng(2), World(), seeds=3)), HOUR)
    assert [step.what for step in steps] == ["seed"]
    assert steps[0].half_width_ratio == pytest.approx(np.sqrt(3 / 4))
    assert steps[0].hours == pytest.approx(5 * 60 / 3600)  # a run of each of five methods


def test_single_runs_give_no_plan():
    assert next_steps(Design(simulate(np.random.default_rng(3), World(), seeds=1)), HOUR) == []
