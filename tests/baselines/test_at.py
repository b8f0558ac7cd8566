"""AT against RepDistiller's numbers and maps one can check by hand."""

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup, run_both

from baselines.at import AT, ATConfig, at_loss, attention


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["at_same", "at_s_larger"])
def test_loss_and_gradient_are_repdistillers(golden, name, dtype):
    case = golden(name, dtype)
    loss = at_loss(case.inputs["f_s"], case.inputs["f_t"], case.hyper["p"])
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(case.inputs["f_s"].grad, "f_s")


def test_attention_is_the_mean_square_over_channels_of_unit_length():
    """Mean squares (9 + 9) / 2 and (16 + 8) / 2: (9, 12) / 15."""
    feature = torch.tensor([[[[3.0, 4.0]], [[-3.0, 8.0**0.5]]]])
    assert attention(feature, 2.0).tolist()[0] == pytest.approx([0.6, 0.8])


def test_opposite_signs_do_not_cancel_at_odd_powers():
    assert attention(torch.tensor([[[[1.0, 0.0]], [[-1.0, 0.0]]]]), 1.0).tolist() == [[1.0, 0.0]]


def test_attention_at_different_places_costs_two_over_the_number_of_places():
    student, teacher = torch.zeros(2, 3, 2, 2), torch.zeros(2, 5, 2, 2)
    student[:, :, 0, 0] = 1.0
    teacher[:, :, 1, 1] = 7.0
    assert at_loss(student, teacher, 2.0).item() == pytest.approx(2 / 4)


def test_loss_is_zero_for_a_scaled_copy_with_other_channels():
    student = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    teacher = 5 * torch.cat([student, student], 1)
    assert at_loss(student, teacher, 2.0).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_a_map_of_zeros_gives_finite_loss_and_gradient(power):
    student = torch.zeros(1, 3, 4, 4, requires_grad=True)
    loss = at_loss(student, torch.ones(1, 5, 4, 4), power)
    loss.backward()
    assert loss.item() == pytest.approx(1 / 16)
    assert student.grad.isfinite().all()


def test_half_precision_maps_are_squared_in_float32():
    student = torch.full((1, 1, 2, 2), 1e4, dtype=torch.float16)  # square above float16's range
    assert at_loss(student, torch.ones(1, 1, 2, 2), 2.0).item() == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("teacher", ["test_resnet", "test_vit"])
def test_terms_are_the_sum_over_paired_stages_times_1000(teacher, memory_format):
    setup = make_setup("test_resnet", teacher)
    method = AT(ATConfig(), setup)
    batch = make_batch(setup)
    batch = type(batch)(
        batch.image.contiguous(memory_format=memory_format), batch.label, batch.index
    )
    student, taught = run_both(setup, method, batch)
    pairs = zip(method.student_taps(), method.teacher_taps(), strict=True)
    want = sum(at_loss(student[s], taught[t], 2.0).item() for s, t in pairs)
    terms = method.losses(batch, student, taught, make_progress())
    assert set(terms) == {"ce", "at"}
    assert terms["at"].item() == pytest.approx(1000 * want, rel=1e-5)
    terms["at"].backward()
    assert any(it.grad is not None and it.grad.any() for it in setup.student.parameters())
