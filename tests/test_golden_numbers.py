"""The comparison with reference numbers itself: it must be able to fail."""

import pytest
import torch

NAME = "kd_b4c5_t2"


def test_a_missing_file_fails(golden):
    with pytest.raises(FileNotFoundError, match=r"kd_of_nobody\.npz"):
        golden("kd_of_nobody")


def test_a_loss_may_differ_by_its_tolerance_and_no_more(golden):
    case = golden(NAME)
    want, allowed = case.want("loss"), case.arrays["tol_loss_rtol"].item()
    case.check_loss(want * (1 + 0.9 * allowed))
    with pytest.raises(AssertionError, match="loss is off by"):
        case.check_loss(want * (1 + 1.2 * allowed))


def test_float64_is_compared_more_sharply(golden):
    case = golden(NAME, torch.float64)
    want = case.want("loss")
    case.check_loss(want * (1 + 0.9e-9))
    with pytest.raises(AssertionError, match="loss is off by"):
        case.check_loss(want * (1 + 1.2e-9))


def test_one_wrong_entry_of_a_gradient_fails(golden):
    for dtype in (torch.float32, torch.float64):
        case = golden(NAME, dtype)
        gradient = case.want("grad_y_s")
        case.check_gradient(gradient, "y_s")
        gradient[1, 2] += 1e-4 * gradient.abs().max()
        with pytest.raises(AssertionError, match="grad_y_s is off by"):
            case.check_gradient(gradient, "y_s")


def test_nan_wrong_shapes_and_missing_gradients_fail(golden):
    case = golden(NAME)
    with pytest.raises(AssertionError, match="off by nan"):
        case.check_loss(torch.tensor(torch.nan))
    with pytest.raises(AssertionError, match="has shape"):
        case.check_loss(case.want("loss")[None])
    with pytest.raises(AssertionError, match="has no gradient"):
        case.check_gradient(None, "y_s")


def test_inputs_take_the_precision_asked_for_and_leaves_with_gradients_require_one(golden):
    case = golden(NAME, torch.float64)
    assert case.inputs["y_s"].dtype == torch.float64
    assert case.inputs["y_s"].requires_grad
    assert not case.inputs["y_t"].requires_grad
    assert case.inputs["target"].dtype == torch.int64
    assert case.hyper["T"] == 2.0
