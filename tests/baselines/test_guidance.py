"""Readers of features: closed form against autograd, frozen projection, running scale."""

import copy

import pytest
import torch
from method_setup import make_model
from torch.nn import functional

from baselines._features import RunningScale, feature_health
from baselines._guidance import (
    AutogradReader,
    LinearReader,
    Projector,
    TeacherHead,
    head_reads_maps,
    reader_of,
)


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def trained_parts(teacher, channels, *, pooled=False):
    """A projector and a scale with figures that are not their initial ones."""
    size = 1 if pooled else 4
    batch = 3 * torch.rand(16, channels, size, size, generator=stream(3)) + 1
    width = teacher.shapes["pooled" if pooled else "map"][0]
    projector = Projector(channels, width)
    scale = RunningScale(channels, lambda rows: rows, centred=True, momentum=0.1)
    for _ in range(5):
        projector(batch)
        scale.update(batch)
    return projector, scale


def targets(rows, classes):
    return torch.softmax(2 * torch.randn(rows, classes, generator=stream(4)), dim=1)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("in_student_space", [True, False])
def test_closed_form_is_the_gradient_of_autograd(in_student_space, temperature):
    teacher = make_model("test_resnet", image_size=64).eval()
    channels = 10 if in_student_space else 96
    projector, scale = trained_parts(teacher, channels)
    head = TeacherHead(teacher, pooled=False, trained=True)
    read = reader_of(head, projector if in_student_space else None, scale)
    assert isinstance(read, LinearReader)
    head.linear = False  # force the other path through the teacher's own head
    other = reader_of(head, projector if in_student_space else None, scale)
    assert isinstance(other, AutogradReader)
    x = torch.randn(6, channels, 2, 2, generator=stream())
    assert torch.allclose(read.logits(x), other.logits(x), atol=1e-4)
    pulls = [it.gradient(x, targets(6, 5), temperature) for it in (read, other)]
    assert pulls[0].abs().max() > 1e-4
    assert torch.allclose(pulls[0].expand_as(x), pulls[1], atol=1e-6, rtol=1e-4)


def test_closed_form_is_target_minus_softmax_times_weight_over_area():
    weight, bias = torch.eye(2), torch.zeros(2)
    x = torch.zeros(1, 2, 2, 2)  # logits 0, 0: softmax one half
    pull = LinearReader(weight, bias).gradient(x, torch.tensor([[1.0, 0.0]]), temperature=2.0)
    assert pull.shape == (1, 2, 1, 1)  # the same at every position
    assert pull.flatten().tolist() == [0.5 / (2 * 4), -0.5 / (2 * 4)]


@pytest.mark.parametrize(
    ("name", "pooled", "options"),
    [
        ("test_resnet", False, {}),
        ("test_convnext", False, {}),
        ("test_vit", False, {"class_token": False, "global_pool": "avg"}),
        ("test_vit", True, {}),
    ],
)
def test_a_small_step_along_the_gradient_raises_the_targets_log_probability(name, pooled, options):
    teacher = make_model(name, image_size=64, **options).eval()
    projector, scale = trained_parts(teacher, 10, pooled=pooled)
    read = reader_of(TeacherHead(teacher, pooled=pooled, trained=True), projector, scale)
    size = 1 if pooled else 4
    x, label = torch.randn(6, 10, size, size, generator=stream()), torch.arange(6) % 5
    target = functional.one_hot(label, 5).float()
    before = functional.cross_entropy(read.logits(x), label, reduction="none")
    pull = read.gradient(x, target, 1.0)
    pull = pull.expand_as(x)
    step = 0.1 * pull / pull.flatten(1).norm(dim=1)[:, None, None, None]
    after = functional.cross_entropy(read.logits(x + step), label, reduction="none")
    assert torch.all(after < before)


def test_gradient_is_available_where_gradients_are_forbidden():
    teacher = make_model("test_convnext").eval()
    head = TeacherHead(teacher, pooled=False, trained=True)
    read = AutogradReader(head)
    with torch.no_grad():
        pull = read.gradient(torch.randn(2, 64, 1, 1), targets(2, 5), 1.0)
    assert pull.abs().max() > 0
    assert not pull.requires_grad


def test_gradient_vanishes_at_the_target():
    read = LinearReader(torch.randn(5, 8, generator=stream()), torch.zeros(5))
    x = torch.randn(3, 8, 2, 2, generator=stream(1))
    target = torch.softmax(read.logits(x) / 4, dim=1)
    assert read.gradient(x, target, 4.0).abs().max() < 1e-7


def test_huge_logits_give_finite_gradients():
    read = LinearReader(1e3 * torch.randn(5, 8, generator=stream()), torch.zeros(5))
    x = torch.ones(3, 8, 2, 2)
    for reader in (read, AutogradReader(read.logits)):
        assert reader.gradient(x, targets(3, 5), 1.0).isfinite().all()


def test_projector_frozen_is_its_evaluation_mode():
    projector, _ = trained_parts(make_model("test_resnet"), 10)
    projector.eval()
    x = torch.randn(2, 10, 3, 3, generator=stream())
    weight, bias = projector.frozen()
    frozen = functional.conv2d(x, weight[:, :, None, None], bias)
    assert torch.allclose(frozen, projector(x), atol=1e-5)


def test_heads_that_read_a_class_token_read_no_maps():
    assert not head_reads_maps(make_model("test_vit"))
    assert head_reads_maps(make_model("test_resnet"))
    assert head_reads_maps(make_model("test_convnext"))


def test_trained_head_is_the_teachers_own():
    teacher = make_model("test_resnet", image_size=64).eval()
    image = torch.randn(2, 3, 64, 64, generator=stream())
    out = teacher(image, ("map", "pooled"))
    on_map = TeacherHead(teacher, pooled=False, trained=True)
    on_pooled = TeacherHead(teacher, pooled=True, trained=True)
    assert torch.allclose(on_map(out["map"]), out.logits, atol=1e-5)
    assert torch.allclose(on_pooled(out["pooled"][:, :, None, None]), out.logits, atol=1e-5)


def test_untrained_head_knows_nothing_but_has_the_same_scale_and_is_saved():
    teacher = make_model("test_resnet").eval()
    head = TeacherHead(teacher, pooled=False, trained=False)
    weight = head.reader().weight
    assert weight.std().item() == pytest.approx(teacher.head.weight.std().item(), rel=0.15)
    assert functional.cosine_similarity(weight, teacher.head.weight).abs().max() < 0.5
    assert "untrained" in head.state_dict()


def test_nonlinear_heads_take_maps_of_any_size():
    teacher = make_model("test_convnext", image_size=64).eval()
    head = TeacherHead(teacher, pooled=False, trained=True)
    assert head(torch.randn(2, 64, 5, 3)).shape == (2, 5)


def test_scale_brings_features_to_mean_zero_and_unit_mean_square():
    scale = RunningScale(6, lambda rows: rows, centred=True, momentum=0.1)
    features = 5 + 3 * torch.randn(64, 6, 4, 4, generator=stream())
    scale.update(features)
    normal = scale(features)
    assert normal.mean((0, 2, 3)).abs().max() < 1e-4  # exact after one batch: no start bias
    assert normal.square().mean().item() == pytest.approx(1.0, abs=1e-3)
    assert torch.allclose(scale.undo(normal), features, atol=1e-4)


def test_scale_without_centring_keeps_directions():
    scale = RunningScale(6, lambda rows: rows, centred=False, momentum=0.1)
    features = torch.rand(8, 6, 1, 1, generator=stream())
    scale.update(features)
    same = functional.cosine_similarity(scale(features), features, dim=1)
    assert torch.allclose(same, torch.ones_like(same), atol=1e-5)


def test_scale_follows_features_that_move_and_survives_saving():
    scale = RunningScale(2, lambda rows: rows, centred=True, momentum=0.2)
    for level in (0.0, 10.0):
        for _ in range(60):
            scale.update(level + torch.randn(32, 2, 2, 2, generator=stream()))
    mean, _ = scale.figures()
    assert torch.allclose(mean, torch.full((2,), 10.0), atol=0.2)
    other = RunningScale(2, lambda rows: rows, centred=True, momentum=0.2)
    other.load_state_dict(copy.deepcopy(scale.state_dict()))
    assert torch.equal(other.figures()[1], scale.figures()[1])


def test_scale_of_constant_features_stays_finite():
    scale = RunningScale(3, lambda rows: rows, centred=True, momentum=0.1)
    features = torch.full((4, 3, 2, 2), 7.0)
    scale.update(features)
    assert scale(features).abs().max() < 1.0


def test_scale_takes_the_figures_of_all_ranks():
    # Two ranks with half a batch each gather both halves: the same figures as one with all.
    whole = torch.randn(8, 3, 2, 2, generator=stream())
    halves = {0: whole[:4], 1: whole[4:]}
    alone = RunningScale(3, lambda rows: rows, centred=True, momentum=0.1)
    alone.update(whole)
    pending = iter([whole.mean((2, 3)), whole.square().mean((2, 3))])
    shared = RunningScale(3, lambda _rows: next(pending), centred=True, momentum=0.1)
    shared.update(halves[0])
    assert torch.allclose(shared.figures()[0], alone.figures()[0])
    assert torch.allclose(shared.figures()[1], alone.figures()[1])


def test_health_tells_collapse_from_spread():
    label = torch.zeros(32, dtype=torch.long)
    line = torch.randn(32, 1, 1, 1, generator=stream()) * torch.ones(1, 8, 1, 1)
    cloud = torch.randn(32, 8, 1, 1, generator=stream())

    def read(features):
        return features.mean((2, 3))

    on_line = feature_health(read, line, 2 * line, label)
    in_cloud = feature_health(read, cloud, cloud, label)
    assert on_line["effective_dimensions"].item() == pytest.approx(1.0, abs=1e-4)
    assert in_cloud["effective_dimensions"].item() > 5
    assert on_line["cosine"].item() == pytest.approx(1.0, abs=1e-5)
    assert on_line["norm_ratio"].item() == pytest.approx(2.0, abs=1e-5)
