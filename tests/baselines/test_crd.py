"""CRD against RepDistiller's numbers, small cases by hand, its banks and its negatives."""

import copy
import dataclasses
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup, run_both
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from baselines import crd
from baselines.crd import CRD, ContrastSampler, CRDConfig, crd_loss, update_bank
from suite.interface.absent_gpu import AbsentGpu
from suite.interface.distiller import UnsupportedPair
from suite.interface.rng import Draws, generator

CASES = ("crd_n200k32_s1", "crd_n200k32_s2")
UNSET = torch.tensor(math.inf)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_two_steps_are_repdistillers(golden, monkeypatch, name, dtype, dense):
    monkeypatch.setattr(crd, "DENSE_SCORES", 32 if dense else 0)
    monkeypatch.setattr(crd, "CHUNK", 3 * 33 * 16)  # three images at a time
    case = golden(name, dtype)
    method = _reference_state(case)
    for step in ("1", "2"):
        student, teacher = case.inputs[f"f_s{step}"], case.inputs[f"f_t{step}"]
        index, contrast_index = case.inputs[f"idx{step}"], case.inputs[f"contrast_idx{step}"]
        method.zero_grad()
        loss = method.contrast(student, teacher, index, contrast_index)
        loss.backward()
        case.check_loss(loss[None] if case.want(f"loss{step}").ndim else loss, f"loss{step}")
        case.check_gradient(student.grad, f"f_s{step}", f"loss{step}")
        case.check_gradient(teacher.grad, f"f_t{step}", f"loss{step}")
        for side, layer in (("s", method.student_embedding), ("t", method.teacher_embedding)):
            for leaf, parameter in layer.named_parameters():
                case.check_gradient(parameter.grad, f"embed_{side}.linear.{leaf}", f"loss{step}")
        case.check_output(method.student_bank[index], f"memory_v1_rows_after{step}")
        case.check_output(method.teacher_bank[index], f"memory_v2_rows_after{step}")
        case.check_output(method.student_log_z.exp(), "Z_v1")
        case.check_output(method.teacher_log_z.exp(), "Z_v2")
    case.check_output(method.student_bank.sum(), "memory_v1_sum_after2")
    case.check_output(method.teacher_bank.sum(), "memory_v2_sum_after2")


def _reference_state(case):
    """Our method with the reference's embeddings and banks; its memory_v1 is the student's."""
    params, hyper = case.params, case.hyper
    widths = [params[f"embed_{side}.linear.weight"].shape[1] for side in "st"]
    student, teacher = (SimpleNamespace(shapes={"pooled": (width,)}) for width in widths)
    setup = dataclasses.replace(
        make_setup(), student=student, teacher=teacher, train_labels=torch.arange(200) % 10
    )
    config = CRDConfig(
        feature_dim=hyper["feat_dim"],
        negatives=hyper["K"],
        temperature=hyper["T"],
        momentum=hyper["momentum"],
    )
    method = CRD(config, setup).to(case.dtype)
    method.student_embedding.load_state_dict(case.state("embed_s.linear"))
    method.teacher_embedding.load_state_dict(case.state("embed_t.linear"))
    method.student_bank.copy_(params["memory_v1"])
    method.teacher_bank.copy_(params["memory_v2"])
    return method


def contrast_on(device, bank_rows=40):
    """Two anchors, six rows of the bank each, one of them twice: loss and gradient."""
    stream = torch.Generator().manual_seed(0)
    bank, anchor = torch.randn(bank_rows, 4, generator=stream), torch.randn(2, 4, generator=stream)
    index = torch.tensor([[0, 5, 5, 7, 9, 3], [1, 2, 3, 4, 5, 39]])
    anchor = anchor.to(device).requires_grad_()
    log_z = torch.zeros((), device=device)
    crd_loss(anchor, bank.to(device), index.to(device), log_z, 0.5)[0].backward()
    return anchor.grad.cpu()


def test_on_a_gpu_that_is_not_there_the_gradient_is_that_of_the_cpu():
    """It is added up as a vector there, and row by row here."""
    with AbsentGpu() as gpu:
        torch.testing.assert_close(contrast_on(gpu.device), contrast_on("cpu"))


def test_banks_too_large_to_be_scored_whole_are_gathered_in_bounded_pieces(monkeypatch):
    """Eight anchors, five rows of width 4 each, two anchors at a time: four pieces, each gathered
    and multiplied, and the pieces put together; no tensor has more than two anchors' rows.
    """
    monkeypatch.setattr(crd, "CHUNK", 2 * 5 * 4)
    made = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            made.append(out.numel())
            return out

    with AbsentGpu() as gpu:
        anchor, bank = (torch.ones(rows, 4, device=gpu.device) for rows in (8, 1000))
        index = torch.zeros(8, 5, dtype=torch.long, device=gpu.device)
        for work in (
            lambda: crd._scores(anchor, bank, index),
            lambda: crd._pull_back(torch.ones(8, 5, device=gpu.device), bank, index),
        ):
            before = gpu.outside.launches
            with Sizes():
                work()
            assert gpu.outside.launches - before in (4 * 2 + 1, 4 * 2 + 2)  # ones is a kernel, too
    assert max(made) == 2 * 5 * 4


def test_one_image_and_one_negative_by_hand():
    """N = 4, K = 1, T = 1, Z = 4: P = e/4 at the positive, 1/4 at the negative, K/N = 1/4.

    Loss = -log(e / (e + 1)) - log(1/2) = 0.3132617 + 0.6931472.
    """
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    anchor = torch.tensor([[1.0, 0.0]])
    loss, log_z = crd_loss(anchor, bank, torch.tensor([[0, 1]]), torch.tensor(4.0).log(), 1.0)
    assert loss.item() == pytest.approx(0.3132617 + 0.6931472, rel=1e-5)
    assert log_z.item() == pytest.approx(math.log(4))


def test_z_is_the_mean_score_times_n_and_stays():
    """Scores e and 1 over N = 4 images: Z = 4 (e + 1) / 2."""
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    _, log_z = crd_loss(torch.tensor([[1.0, 0.0]]), bank, torch.tensor([[0, 1]]), UNSET, 1.0)
    assert log_z.exp().item() == pytest.approx(2 * (math.e + 1), rel=1e-6)
    _, again = crd_loss(torch.tensor([[0.0, 1.0]]), bank, torch.tensor([[1, 1]]), log_z, 1.0)
    assert again == log_z


def test_gradient_in_closed_form_is_that_of_autograd():
    stream = torch.Generator().manual_seed(0)
    anchor = functional.normalize(torch.randn(5, 6, generator=stream, dtype=torch.float64))
    bank = functional.normalize(torch.randn(30, 6, generator=stream, dtype=torch.float64))
    index = torch.randint(30, (5, 9), generator=stream)

    def plain(anchor):
        p = torch.einsum("bkd,bd->bk", bank[index], anchor).div(0.1).exp() / 500.0
        c = 8 / 30
        positive = (p[:, 0] / (p[:, 0] + c + 1e-7)).log().sum()
        return -(positive + (c / (p[:, 1:] + c + 1e-7)).log().sum()) / 5

    anchor.requires_grad_()
    loss, _ = crd_loss(anchor, bank, index, torch.tensor(500.0, dtype=torch.float64).log(), 0.1)
    want = plain(anchor)
    assert loss.item() == pytest.approx(want.item(), rel=1e-12)
    found, expected = (torch.autograd.grad(it, anchor)[0] for it in (3 * loss, 3 * want))
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-14)


def test_a_temperature_that_overflows_the_reference_stays_finite():
    """exp(1 / 0.005) is above float32's range."""
    bank = functional.normalize(torch.randn(20, 4, generator=torch.Generator().manual_seed(0)))
    anchor = bank[:3].clone().requires_grad_()
    index = torch.arange(18).reshape(3, 6)
    loss, log_z = crd_loss(anchor, bank, index, UNSET, 0.005)
    loss.backward()
    assert loss.isfinite()
    assert log_z.isfinite()
    assert anchor.grad.isfinite().all()


def test_half_precision_anchors_give_a_float32_loss():
    bank = torch.eye(4)
    for dtype in (torch.bfloat16, torch.float16):
        loss, _ = crd_loss(torch.eye(4, dtype=dtype), bank, torch.tensor([[0, 1]] * 4), UNSET, 0.07)
        assert loss.dtype == torch.float32
        assert loss.isfinite()


def test_a_bank_row_moves_half_way_and_back_to_unit_length():
    """Half of (1, 0) and half of (0, 1) is along (1, 1)."""
    bank = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    update_bank(bank, torch.tensor([1]), torch.tensor([[0.0, 1.0]]), 0.5)
    assert bank[0].tolist() == [1.0, 0.0]
    assert bank[1].tolist() == pytest.approx([math.sqrt(0.5)] * 2)


def test_of_two_embeddings_of_one_image_the_last_counts():
    bank = torch.zeros(3, 2)
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [-1.0, 0.0]])
    update_bank(bank, torch.tensor([2, 0, 2, 0]), rows, 0.0)
    assert bank.tolist() == [[-1.0, 0.0], [0.0, 0.0], [0.0, -1.0]]


def test_opposite_old_and_new_rows_leave_a_zero_row_not_nan():
    bank = torch.tensor([[1.0, 0.0]])
    update_bank(bank, torch.tensor([0]), torch.tensor([[-1.0, 0.0]]), 0.5)
    assert bank.tolist() == [[0.0, 0.0]]


LABELS = torch.tensor([0] * 5 + [2] * 9 + [3] * 2 + [0] * 4)  # 20 images, class 1 has none


WAYS = ("_by_shuffle", "_by_keys", "_by_ranks")


def negatives(way, count, index):
    sampler = ContrastSampler(LABELS, count, "exact")
    return getattr(sampler, way)(LABELS[index], Draws(generator(0, "method")))


def test_the_positive_is_the_image_and_comes_first():
    index = torch.arange(20)
    drawn = ContrastSampler(LABELS, 8, "exact")(index, Draws(generator(0, "method")))
    assert drawn.shape == (20, 9)
    assert torch.equal(drawn[:, 0], index)


@pytest.mark.parametrize("way", WAYS)
def test_negatives_never_share_the_class(way):
    index = torch.arange(20)
    assert (LABELS[negatives(way, 8, index)] != LABELS[:, None]).all()


@pytest.mark.parametrize("way", ["_by_shuffle", "_by_keys"])
def test_negatives_come_without_replacement(way):
    assert all(len(set(row)) == 8 for row in negatives(way, 8, torch.arange(20)).tolist())


def test_too_many_negatives_become_all_that_every_image_can_have():
    """Eleven images are not of class 2, the largest."""
    sampler = ContrastSampler(LABELS, 16384, "exact")
    assert sampler.negatives == 11
    drawn = sampler(torch.tensor([5]), Draws(generator(0, "method")))
    assert sorted(drawn[0, 1:].tolist()) == [*range(5), *range(14, 20)]


@pytest.mark.parametrize("way", WAYS)
def test_negatives_are_uniform_over_the_other_classes(way):
    """4000 draws of 3 of the 11 others: 1090.9 each, standard deviation below 33."""
    drawn = negatives(way, 3, torch.full((4000,), 5))
    counts = torch.bincount(drawn.flatten(), minlength=20)
    assert counts[5:14].tolist() == [0] * 9
    others = counts[LABELS != 2].double()
    assert (others - 12000 / 11).abs().max() < 4 * 33


def test_relaxed_positives_are_uniform_over_the_class():
    sampler = ContrastSampler(LABELS, 3, "relax")
    drawn = sampler(torch.full((9000,), 7), Draws(generator(0, "method")))[:, 0]
    counts = torch.bincount(drawn, minlength=20)
    assert counts[:5].sum() + counts[14:].sum() == 0
    assert (counts[5:14] - 1000).abs().max() < 4 * 30


def test_two_ranks_draw_the_rows_that_one_would():
    sampler = ContrastSampler(LABELS, 4, "relax")
    index = torch.tensor([3, 9, 14, 0])
    alone = sampler(index, Draws(generator(0, "method")))
    for rank in (0, 1):
        half = sampler(index[rank::2], Draws(generator(0, "method"), rank, 2))
        assert torch.equal(half, alone[rank::2])


def test_a_training_set_of_one_class_is_refused():
    with pytest.raises(UnsupportedPair, match="at least two classes"):
        ContrastSampler(torch.zeros(10, dtype=torch.int64), 4, "exact")


def _method(**options):
    setup = make_setup()
    return setup, CRD(CRDConfig(feature_dim=16, **options), setup)


@pytest.mark.parametrize("mode", ["exact", "relax"])
def test_a_step_trains_the_student_and_both_embeddings_and_moves_only_its_rows(mode):
    setup, method = _method(mode=mode)
    batch = make_batch(setup)
    before = method.student_bank.clone(), method.teacher_bank.clone()
    terms = method.losses(batch, *run_both(setup, method, batch), make_progress())
    assert set(terms) == {"ce", "crd"}
    terms["crd"].backward()
    assert all(it.grad is not None and it.grad.any() for it in method.parameters())
    assert any(it.grad is not None and it.grad.any() for it in setup.student.parameters())
    for bank, old in zip((method.student_bank, method.teacher_bank), before, strict=True):
        moved = (bank != old).any(1).nonzero().flatten()
        assert moved.tolist() == sorted(batch.index.tolist())
        assert bank[batch.index].norm(dim=1).tolist() == pytest.approx([1.0] * len(batch))


@pytest.mark.parametrize("dense", [True, False])
def test_banks_in_half_precision_lose_three_digits_and_take_half_the_memory(monkeypatch, dense):
    monkeypatch.setattr(crd, "DENSE_SCORES", 32 if dense else 0)
    setup, whole = _method()
    half = _method(bank_dtype="float16")[1]
    half.load_state_dict(whole.state_dict())
    batch = make_batch(setup)
    taps = [it["pooled"].detach() for it in run_both(setup, whole, batch)]
    contrast_index = whole.sampler(batch.index, setup.draws)
    losses = [it.contrast(*taps, batch.index, contrast_index) for it in (whole, half)]
    assert losses[1].dtype == torch.float32
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-3)
    assert half.student_bank.dtype == half.teacher_bank.dtype == torch.float16
    assert half.student_bank.nbytes * 2 == whole.student_bank.nbytes
    assert torch.allclose(half.student_bank.float(), whole.student_bank, atol=1e-3)


@pytest.mark.parametrize("bank_dtype", ["float32", "float16"])
def test_the_memory_it_declares_is_what_it_keeps_for_its_images(bank_dtype):
    setup, method = _method(bank_dtype=bank_dtype)
    kept = [method.student_bank, method.teacher_bank, method.sampler.labels]
    kept.append(method.sampler.by_class)
    assert CRD.memory(method.config, setup.train_size) == sum(it.nbytes for it in kept)


def test_a_batch_of_one_works():
    setup, method = _method()
    batch = make_batch(setup, size=1)
    setup.student.eval()
    outputs = (net(batch.image, ("pooled",)) for net in (setup.student, setup.teacher))
    assert method.losses(batch, *outputs, make_progress())["crd"].isfinite()


def test_a_copy_made_in_the_middle_continues_with_the_same_bits():
    setup, method = _method()
    batch = make_batch(setup)
    outputs = run_both(setup, method, batch)
    method.losses(batch, *outputs, make_progress())
    twin = copy.deepcopy(method)
    for _ in range(2):
        terms = [it.losses(batch, *outputs, make_progress())["crd"] for it in (method, twin)]
        assert terms[0] == terms[1]
    assert torch.equal(method.student_bank, twin.student_bank)


def test_two_ranks_end_with_the_loss_banks_and_z_of_one():
    """Rank r holds rows r, r + 2, ..; gathering restores the order of the whole batch."""
    setup, alone = _method(negatives=20)
    ranks = [copy.deepcopy(alone), copy.deepcopy(alone)]
    batch = make_batch(setup)
    student, teacher = (it["pooled"].detach() for it in run_both(setup, alone, batch))
    contrast_index = alone.sampler(batch.index, setup.draws)
    barrier, slots = threading.Barrier(2, timeout=60), [None, None]

    def gather_of(rank):
        def gather(tensor):
            slots[rank] = tensor
            barrier.wait()
            whole = torch.stack(slots, 1).flatten(0, 1)
            barrier.wait()
            return whole

        return gather

    def work(rank):
        ranks[rank].gather = gather_of(rank)
        own = slice(rank, None, 2)
        return ranks[rank].contrast(
            student[own], teacher[own], batch.index[own], contrast_index[own]
        )

    with ThreadPoolExecutor(2) as pool:
        losses = list(pool.map(work, (0, 1)))
    want = alone.contrast(student, teacher, batch.index, contrast_index)
    assert (sum(losses) / 2).item() == pytest.approx(want.item(), rel=1e-6)
    for name, buffer in alone.named_buffers():
        for method in ranks:
            assert torch.allclose(dict(method.named_buffers())[name], buffer, atol=1e-6), name
