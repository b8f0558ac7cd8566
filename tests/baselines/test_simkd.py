"""SimKD: the projector of its paper, and a deployed network that counts what it keeps."""

import pytest
import torch
from method_setup import make_batch, make_progress, make_setup, run_both
from torch import nn

from baselines.simkd import FeatureProjector, SimKD, SimKDConfig, simkd_loss
from suite.interface.distiller import UnsupportedPair
from suite.models import count_parameters

PAIR = ("cifar_resnet8", "cifar_resnet8x4")


def made(student=PAIR[0], teacher=PAIR[1], setup_options=None, **options):
    setup = make_setup(student, teacher, **(setup_options or {}))
    return setup, SimKD(SimKDConfig(**options), setup)


def test_loss_is_the_mean_square_with_the_larger_map_pooled():
    student = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])  # mean 4
    assert simkd_loss(student, torch.ones(1, 1, 1, 1)).item() == 9.0
    assert simkd_loss(torch.full((2, 3, 4, 4), 1.5), torch.ones(2, 3, 4, 4)).item() == 0.25


def test_the_projector_is_the_papers():
    """Parameters of 1x1, 3x3, 1x1 convolutions and three BN layers, by hand: s 64, t 256, f 2."""
    projector = FeatureProjector(64, 256, 2, rectified=True)
    by_hand = 64 * 128 + 9 * 128 * 128 + 128 * 256 + 2 * (128 + 128 + 256)
    assert count_parameters(projector) == by_hand
    kinds = [type(layer) for layer in projector if not isinstance(layer, nn.BatchNorm2d)]
    assert kinds == [nn.Conv2d, nn.ReLU] * 3


def test_the_only_term_is_the_distance_and_labels_do_not_matter():
    setup, distiller = made()
    batch = make_batch(setup)
    student, teacher = run_both(setup, distiller, batch)
    terms = distiller.losses(batch, student, teacher, make_progress())
    assert set(terms) == {"simkd"}
    want = (distiller.head.project(student["map"]) - teacher["map"]).square().mean()
    assert terms["simkd"].item() == pytest.approx(want.item(), rel=1e-5)
    terms["simkd"].backward()
    assert setup.student.classifier.weight.grad is None
    assert distiller.head.projector[0].weight.grad.abs().sum() > 0
    assert all(not p.requires_grad for p in distiller.head.classifier.parameters())


def test_a_perfect_projection_is_classified_as_the_teacher_does():
    setup, distiller = made()
    batch = make_batch(setup)
    with torch.no_grad():
        teacher = setup.teacher(batch.image, ("map",))
    assert torch.allclose(distiller.head.classify(teacher["map"]), teacher.logits, atol=1e-5)


def test_the_deployed_network_counts_body_projector_and_classifier():
    setup, distiller = made()
    deployed = distiller.deploy(setup.student).eval()
    body = count_parameters(setup.student) - count_parameters(setup.student.classifier)
    by_hand = body + count_parameters(distiller.head.projector)
    by_hand += count_parameters(setup.teacher.classifier)
    assert count_parameters(deployed) == by_hand
    image = make_batch(setup).image
    want = distiller.head.eval()(setup.student.eval()(image, ("map",))["map"])
    assert torch.allclose(deployed(image), want, atol=1e-5)


def test_saved_weights_of_the_deployed_network_are_complete():
    setup, distiller = made()
    state = distiller.deploy(setup.student).state_dict()
    setup_again, again = made(setup_options={"seed": 5})
    other = again.deploy(setup_again.student)
    other.load_state_dict(state)
    image = make_batch(setup).image
    with torch.no_grad():
        assert torch.equal(other.eval()(image), distiller.deploy(setup.student).eval()(image))


def test_training_accuracy_is_that_of_the_teachers_classifier():
    setup, distiller = made()
    batch = make_batch(setup)
    student, teacher = run_both(setup, distiller, batch)
    distiller.losses(batch, student, teacher, make_progress())
    moved = distiller.head.projector[1].running_mean.clone()
    assert not torch.allclose(distiller.predict(student), student.logits)
    assert torch.equal(distiller.head.projector[1].running_mean, moved)


def test_the_last_relu_is_there_only_for_features_without_negative_values():
    assert isinstance(made()[1].head.projector[-1], nn.ReLU)
    signed = made("cifar_resnet8", "test_vit")[1]
    assert signed.student_taps() == ("pooled",)
    assert not isinstance(signed.head.projector[-1], nn.ReLU)


def test_a_map_is_refused_where_the_teachers_head_cannot_take_it():
    with pytest.raises(UnsupportedPair, match="not average pooling and a linear layer"):
        made("cifar_resnet8", "test_vit", feature="map")
