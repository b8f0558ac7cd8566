"""Every quantity that a method logs of itself is said in words under the figure."""

import pytest
from method_setup import make_batch, make_setup

from analysis.plots import health
from suite import methods
from suite.interface import testing
from suite.interface.distiller import Distiller

LOGGING = [
    it for it in methods.names() if methods.find(it).diagnostics is not Distiller.diagnostics
]


def test_the_methods_that_log_are_known():
    assert {"ctkd", "diffkd", "dskd"} <= set(LOGGING)


@pytest.mark.parametrize("name", LOGGING)
def test_what_a_method_logs_is_defined(name):
    bench = testing.Bench.of(methods.find(name), make_setup)
    bench.losses(make_batch(bench.setup))
    logged = bench.distiller.diagnostics()
    assert logged
    assert [it for it in logged if health.definition(it) is None] == []


def test_the_longest_known_name_defines_and_an_unknown_one_leads_to_the_methods_file():
    assert health.definition("map_cosine_after") == health.DEFINITIONS["cosine_after"]
    assert health.definition("ctkd_temperature") == health.DEFINITIONS["temperature"]
    assert health.definition("heat") is None
    assert health._defined(["diagnostics/heat_percent"]) == "heat %: see the method's file"
    assert health._defined(["diagnostics/snr_db", "diagnostics/temperature"]) == (
        "snr db: signal to noise there, in decibels; "
        "temperature: the learned temperature of the last step"
    )
