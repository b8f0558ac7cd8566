from bench.measures.search import driver_seconds_per_trial


def test_the_cost_of_the_driver_is_measured_over_real_trials():
    assert driver_seconds_per_trial(trials=4) > 0.0
