"""LSHFM against its reference code, and the wider head where the widths differ."""

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup, run_both

from baselines._deployment import Reheaded
from baselines._hashing import HashLayer
from baselines.lshfm import LSHFM, LSHFMConfig, lshfm_loss
from suite.interface.rng import Draws, generator

CASES = {  # file -> variant, distance
    "lsh_LSH_BCE_zero_b8": ("lsh", "bce"),
    "lsh_LSH_BCE_l2_zero_b8": ("lshl2", "bce"),
    "lsh_LSH_BCE_l2_mean_b8": ("lshl2", "bce"),
    "lsh_LSH_BCE_l2_median_b8": ("lshl2", "bce"),
    "lsh_LSH_L1_zero_b8": ("lsh", "l1"),
    "lsh_LSH_L1_l2_zero_b8": ("lshl2", "l1"),
    "lsh_LSH_L2_zero_b8": ("lsh", "l2"),
    "lsh_LSH_L2_l2_zero_b8": ("lshl2", "l2"),
    "lsh_LSHS_zero_b8": ("lsh_s", "bce"),
    "lsh_LSHS_l2_zero_b8": ("lshl2_s", "bce"),
    "lsh_LSHS_l2_mean_b8": ("lshl2_s", "bce"),
    "lsh_LSHS_l2_median_b8": ("lshl2_s", "bce"),
    "lsh_l1_zero_b8": ("l1", "bce"),
    "lsh_l2_zero_b8": ("l2", "bce"),
    "lsh_l2_normalized_zero_b8": ("l2_normalized", "bce"),
}
WIDE = {"teacher_name": "cifar_resnet8x4", "student_name": "cifar_resnet8"}  # 64 and 256 wide
EQUAL = {"teacher_name": "cifar_resnet8", "student_name": "cifar_resnet8"}


def hashes_of(case):
    """The reference's hyperplanes, with the bias it would measure on its bank."""
    weight = case.params.get("W", torch.zeros(1, case.inputs["f_s"].shape[1], dtype=case.dtype))
    layer = HashLayer(weight.shape[1], len(weight), 1.0, Draws(generator(0, "hash")))
    layer.to(case.dtype).weight.copy_(weight)
    centre = case.hyper.get("bias_mode", "0")
    if centre == "given":
        layer.bias.copy_(case.params["b_init"])
    elif centre != "0":
        layer.centre_on(case.params["bank"], centre)
    return layer


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_are_the_references(golden, name, dtype):
    case = golden(name, dtype)
    student, teacher = case.inputs["f_s"], case.inputs["f_t"]
    layer = hashes_of(case)
    right = torch.ones(len(student), dtype=torch.bool)
    if "t_logits" in case.inputs:
        right = case.inputs["t_logits"].argmax(1) == case.inputs["target"]
    loss = lshfm_loss(student, teacher, layer, right, *CASES[name])
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(student.grad, "f_s")
    if "out_bias" in case.arrays:
        case.check_output(layer.bias, "bias")


def test_no_right_teacher_prediction_gives_zero_and_no_nan():
    layer = HashLayer(4, 8, 1.0, Draws(generator(0, "hash")))
    student, teacher = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4)
    loss = lshfm_loss(student, teacher, layer, torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(student.grad, torch.zeros(3, 4))


def test_only_images_that_the_teacher_gets_right_count():
    layer = HashLayer(4, 8, 1.0, Draws(generator(0, "hash")))
    student, teacher = torch.randn(3, 4), torch.randn(3, 4)
    right = torch.tensor([True, False, True])
    chosen = lshfm_loss(student[right], teacher[right], layer, right[right], "lshl2")
    assert torch.allclose(lshfm_loss(student, teacher, layer, right, "lshl2_s"), chosen)


def test_defaults_are_the_references_for_cifar():
    setup = make_setup(**WIDE)
    distiller = LSHFM(LSHFMConfig(), setup)
    assert distiller.hash.weight.shape == (32 * 256, 256)
    std = setup.teacher.classifier.weight.std().item()
    assert distiller.hash.weight.std().item() == pytest.approx(std, rel=0.01)


@pytest.mark.parametrize("centre", ["mean", "median"])
def test_bias_centres_the_bits_on_the_training_set(centre):
    setup = make_setup(**EQUAL, train_size=31)
    distiller = LSHFM(LSHFMConfig(hash_bits=64, hash_bias=centre), setup)
    bank = torch.cat([out["pooled"] for _, out in setup.teacher_pass(("pooled",))])
    hashes = distiller.hash(bank)
    if centre == "mean":
        assert hashes.mean(0).abs().max() < 1e-5
    else:
        assert torch.equal((hashes > 1e-6).sum(0), torch.full((64,), 15))


def test_equal_widths_need_no_further_layer_and_deploy_the_plain_student():
    setup = make_setup(**EQUAL)
    distiller = LSHFM(LSHFMConfig(hash_bits=64), setup)
    assert list(distiller.parameters()) == []
    assert distiller.deploy(setup.student) is setup.student.model


def test_unequal_widths_deploy_the_linear_layer_and_its_classifier():
    setup = make_setup(**WIDE)
    distiller = LSHFM(LSHFMConfig(hash_bits=64), setup)
    deployed = distiller.deploy(setup.student).eval()
    assert isinstance(deployed, Reheaded)
    image = make_batch(setup).image
    pooled = setup.student(image, ("pooled",))["pooled"]
    head = distiller.widened
    want = pooled @ head.embed.weight.T + head.embed.bias
    want = want @ head.classifier.weight.T + head.classifier.bias
    assert torch.allclose(deployed(image), want, atol=1e-5)
    before = deployed(image)
    with torch.no_grad():
        head.classifier.bias += 1.0  # deployed shares the layers that are trained
    assert torch.allclose(deployed(image), before + 1.0, atol=1e-5)


def test_cross_entropy_trains_the_classifier_that_is_deployed():
    setup = make_setup(**WIDE)
    distiller = LSHFM(LSHFMConfig(hash_bits=64), setup)
    batch = make_batch(setup)
    terms = distiller.losses(batch, *run_both(setup, distiller, batch), make_progress())
    terms["ce"].backward()
    assert distiller.widened.classifier.weight.grad.abs().sum() > 0
    assert setup.student.classifier.weight.grad is None


def test_terms_are_weighted_and_kd_is_off_unless_asked_for():
    setup = make_setup(**EQUAL)
    batch, progress = make_batch(setup), make_progress()
    terms = {}
    for beta, weight in ((6.0, 0.0), (12.0, 1.0)):
        fresh = make_setup(**EQUAL)
        distiller = LSHFM(LSHFMConfig(hash_bits=64, beta=beta, kd_weight=weight), fresh)
        terms[beta] = distiller.losses(batch, *run_both(fresh, distiller, batch), progress)
    assert set(terms[6.0]) == {"ce", "lsh"}
    assert set(terms[12.0]) == {"ce", "lsh", "kd"}
    assert terms[12.0]["lsh"].item() == pytest.approx(2 * terms[6.0]["lsh"].item(), rel=1e-5)


@pytest.mark.parametrize("size", [1, 4])
def test_features_of_1e3_keep_loss_and_gradient_finite(size):
    layer = HashLayer(4, 8, 1.0, Draws(generator(0, "hash")))
    student = torch.full((size, 4), 1e3, requires_grad=True)
    loss = lshfm_loss(student, -torch.ones(size, 4), layer, torch.ones(size, dtype=torch.bool))
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()
