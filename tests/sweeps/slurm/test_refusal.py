"""A refusal of SLURM names the field of the cluster file that is to be changed."""

import pytest

from sweeps.slurm.refusal import refusal

SBATCH = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("reason", "field"),
    [
        ("Invalid generic resource (gres) specification", "gpus"),
        ("invalid partition specified: nowhere", "partition"),
        ("Invalid account or account/partition combination specified", "account"),
        ("Invalid qos specification", "qos"),
        ("Invalid feature specification", "constraint"),
        ("Memory specification can not be satisfied", "memory_gb"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "minutes"),
        ("something new", "a field"),
    ],
)
def test_the_field_the_words_of_slurm_and_the_way_without_are_named(reason, field):
    text = refusal(SBATCH + reason)
    assert SBATCH + reason in text
    assert f"; change {field} in your cluster file" in text
    assert "make sweep ARGS=--executor=local" in text
    assert "\n" not in text


@pytest.mark.parametrize("reason", ["AssocMaxSubmitJobLimit", "QOSMaxSubmitJobPerUserLimit"])
def test_of_a_limit_on_submitted_jobs_one_hears_what_to_do_now_and_how_to_need_fewer(reason):
    text = refusal(SBATCH + reason)
    assert reason in text
    assert "those submitted before stay, and the same command submits the rest" in text
    assert "raise runs_per_job (a search: lower max_jobs) in your cluster file" in text
    assert "\n" not in text
