"""Scratch: cross-entropy and nothing else."""

import pytest
import torch
from method_setup import make_batch, make_progress, make_setup

from baselines.scratch import Scratch, ScratchConfig
from suite.interface.taps import Outputs


def _loss(logits, config):
    setup = make_setup(teacher_name=None)
    batch = make_batch(setup, size=len(logits))
    batch = type(batch)(batch.image, torch.zeros(len(logits), dtype=torch.int64), batch.index)
    nothing = Outputs(torch.empty(0))
    terms = Scratch(config, setup).losses(batch, Outputs(logits), nothing, make_progress())
    assert list(terms) == ["ce"]
    return terms["ce"].item()


def test_an_even_guess_among_five_classes_costs_log_five():
    assert _loss(torch.zeros(2, 5), ScratchConfig()) == pytest.approx(1.6094379, rel=1e-6)


def test_a_sure_right_answer_costs_nothing_and_a_sure_wrong_one_its_margin():
    logits = torch.tensor([[1e3, 0.0], [0.0, 1e3]])
    assert _loss(logits, ScratchConfig()) == pytest.approx(500.0)  # mean of 0 and 1000


def test_label_smoothing_spreads_the_target_over_all_classes():
    """Target (0.95, 0.05) against log-probabilities (log 3/4, log 1/4)."""
    logits = torch.tensor([[0.75, 0.25]]).log()
    smooth = _loss(logits, ScratchConfig(label_smoothing=0.1))
    assert smooth == pytest.approx(0.95 * 0.2876821 + 0.05 * 1.3862944, rel=1e-6)


def test_it_needs_no_teacher_and_reads_no_taps():
    method = Scratch(ScratchConfig(), make_setup(teacher_name=None))
    assert not Scratch.uses_teacher
    assert method.student_taps() == method.teacher_taps() == ()
