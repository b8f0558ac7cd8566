"""DSKD: what each option does, what gets gradients, robustness, and that denoising helps."""

import copy

import pytest
import torch
from method_setup import make_batch, make_progress, make_setup, run_both
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from baselines import _diffusion as diffusion
from baselines.dskd import DSKD, DSKDConfig
from suite.interface.distiller import UnsupportedPair
from suite.interface.rng import seeded_globals
from suite.interface.taps import Outputs

CNN = ("cifar_resnet8", "cifar_resnet8x4")  # maps of 64 and 256 channels, 8x8
SMALL = {"hash_bits": 64}
LITERAL = {
    "virtual_teacher": "denoised",
    "hash_length": "kept",
    "hash_loss": "all",
    "hash_std": "classifier",
    "t_start": 500,
    "guidance_scale": 1.0,
    "lsh_weight": 1.0,
    "anchor_reaches_student": True,
}
"""The abstract word for word, with LSHFM's hashes."""


def make(pair=CNN, seed=0, **options):
    setup = make_setup(*pair, seed=seed)
    with seeded_globals(seed, "layers"):
        return setup, DSKD(DSKDConfig(**(SMALL | options)), setup)


def terms_of(setup, distiller, batch=None, progress=None):
    batch = batch or make_batch(setup)
    outputs = run_both(setup, distiller, batch)
    return distiller.losses(batch, *outputs, progress or make_progress())


# What it refuses


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"diffusion_source": "teacher"}, "needs space 'teacher'"),
        ({"diffusion_steps": 20, "t_start": 10}, "at most t_start 10"),
        ({"hash_std": -1.0}, "must be 'classifier' or above 0"),
        ({"t_start": 1000}, "less than 1000"),
        ({"guidance_target": "oracle"}, "'label', 'teacher' or 'shuffled'"),
        ({"bits": 3}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_settings_are_refused_in_words(options, words):
    with pytest.raises(ValidationError, match=words):
        DSKDConfig(**options)


def test_a_map_that_the_teachers_head_cannot_read_is_refused_and_auto_takes_the_pooled_feature():
    with pytest.raises(UnsupportedPair, match="reads no map"):
        make(("test_resnet", "test_vit"), feature="map")
    _, distiller = make(("test_resnet", "test_vit"))
    assert distiller.student_taps() == ("pooled",)
    _, distiller = make()
    assert distiller.student_taps() == ("map",)


# Which terms there are, and what they train


def test_terms_of_the_default_and_of_all_options():
    assert set(terms_of(*make())) == {"ce", "diffusion", "lsh", "anchor"}
    every = terms_of(*make(start="adapter", kd_weight=1.0))
    assert set(every) == {"ce", "diffusion", "lsh", "anchor", "adapter", "kd"}
    assert set(terms_of(*make(anchor="none"))) == {"ce", "diffusion", "lsh"}


def gradients(term, setup, distiller):
    parameters = {f"student.{k}": v for k, v in setup.student.named_parameters()}
    parameters |= dict(distiller.named_parameters())
    found = torch.autograd.grad(term, parameters.values(), allow_unused=True, retain_graph=True)
    return {
        name.split(".")[0] for name, it in zip(parameters, found, strict=True) if it is not None
    }


@pytest.mark.parametrize("space", ["student", "teacher"])
def test_each_term_trains_only_what_it_should(space):
    setup, distiller = make(**LITERAL, space=space, start="adapter")
    terms = terms_of(setup, distiller)
    trained = {name: gradients(term, setup, distiller) for name, term in terms.items()}
    assert trained["ce"] == {"student"}
    assert trained["diffusion"] == {"diffusion"}  # x_0 is a constant
    assert trained["adapter"] == {"diffusion"}
    own_space = {"student"} if space == "student" else {"student", "projector"}
    assert trained["lsh"] == own_space  # the denoised feature is a constant
    assert trained["anchor"] == {"student", "projector"}


def test_an_anchor_kept_from_the_student_trains_the_projector_alone():
    setup, distiller = make()
    assert gradients(terms_of(setup, distiller)["anchor"], setup, distiller) == {"projector"}


def test_weights_and_warm_up_scale_their_terms():
    weights = {"ce_weight": 0.5, "diffusion_weight": 2.0, "lsh_weight": 3.0, "anchor_weight": 4.0}
    plain = terms_of(*make(**LITERAL))
    scaled = terms_of(
        *make(**(LITERAL | weights), lsh_warmup_epochs=10), progress=make_progress(epoch=2)
    )
    ratios = {name: scaled[name].item() / plain[name].item() for name in plain}
    want = {"ce": 0.5, "diffusion": 2.0, "lsh": 3.0 * 2 / 10, "anchor": 4.0}
    assert ratios == pytest.approx(want, rel=1e-4)


def test_anchor_is_the_teachers_classifier_on_the_projected_map():
    setup, distiller = make(anchor="ce")
    batch = make_batch(setup)
    student, teacher = run_both(setup, distiller, batch)
    before = copy.deepcopy(distiller.projector)
    term = distiller.losses(batch, student, teacher, make_progress())["anchor"]
    logits = setup.teacher.head.from_pooled(before(student["map"]).mean((2, 3)))
    assert term.item() == pytest.approx(functional.cross_entropy(logits, batch.label).item())


def test_only_correct_keeps_the_images_that_the_teacher_gets_right():
    setup, distiller = make(**LITERAL, only_correct=True)
    batch = make_batch(setup)
    student, _ = run_both(setup, distiller, batch)
    wrong = Outputs(functional.one_hot((batch.label + 1) % 5, 5).float())
    right = Outputs(functional.one_hot(batch.label, 5).float())
    assert distiller.losses(batch, student, wrong, make_progress())["lsh"].item() == 0.0
    assert distiller.losses(batch, student, right, make_progress())["lsh"].item() > 0.0


# Denoising and guidance


def sampled_of(setup, distiller, batch=None):
    batch = batch or make_batch(setup)
    student, teacher = run_both(setup, distiller, batch)
    distiller.losses(batch, student, teacher, make_progress())
    distiller.eval()
    return distiller.inspect(batch, student, teacher)


def test_without_steps_the_denoised_feature_is_the_original():
    found = sampled_of(*make(diffusion_steps=0))
    assert torch.allclose(found["denoised"], found["original"], atol=1e-5)
    assert found["trajectory_nll"].shape == (8, 1)
    setup, distiller = make(diffusion_steps=0)
    terms_of(setup, distiller)
    assert distiller.diagnostics()["hash_agreement"] == 1.0


@pytest.mark.parametrize("space", ["student", "teacher"])
@pytest.mark.parametrize("guide_at", ["x_t", "x_0"])
def test_guidance_by_the_label_lowers_the_teacher_heads_loss(space, guide_at):
    losses = []
    for scale in (0.0, 1.0, 100.0):
        setup, distiller = make(
            space=space,
            guide_at=guide_at,
            guidance_scale=scale,
            guidance_target="label",
            virtual_teacher="denoised",
        )
        losses.append(sampled_of(setup, distiller)["trajectory_nll"][:, -1].mean().item())
    assert losses[0] > losses[1] > losses[2]


def test_guidance_by_shuffled_labels_follows_other_images():
    setup, distiller = make(guidance_target="shuffled")
    batch = make_batch(setup)
    _, teacher = run_both(setup, distiller, batch)
    target = distiller._guidance_target(batch, teacher, setup.draws)
    assert torch.equal(target.sum(0), functional.one_hot(batch.label, 5).float().sum(0))
    assert not torch.equal(target.argmax(1), batch.label)


def test_soft_guidance_is_the_teachers_softened_prediction():
    setup, distiller = make(guidance_target="teacher", guidance_temperature=4.0)
    batch = make_batch(setup)
    _, teacher = run_both(setup, distiller, batch)
    target = distiller._guidance_target(batch, teacher, setup.draws)
    assert torch.allclose(target, torch.softmax(teacher.logits / 4, dim=1))


@pytest.mark.parametrize("space", ["student", "teacher"])
def test_closed_form_and_autograd_guidance_denoise_alike(space):
    found = []
    for linear in (True, False):
        setup, distiller = make(space=space, guidance_scale=20.0)
        distiller.head.linear = linear
        found.append(sampled_of(setup, distiller))
    for name in found[0]:
        assert torch.allclose(found[0][name], found[1][name], rtol=1e-3, atol=1e-3), name


def test_the_shifted_virtual_teacher_is_the_feature_itself_where_nothing_guides():
    for options in ({"guidance_scale": 0.0}, {"diffusion_steps": 0}):
        kept = sampled_of(*make(**options))
        assert torch.allclose(kept["virtual_teacher"], kept["original"], atol=1e-4)


def test_the_shifted_virtual_teacher_moves_by_guided_minus_unguided():
    sharp = {"guidance_scale": 200.0, "guidance_temperature": 1.0}
    guided = sampled_of(*make(**sharp, virtual_teacher="denoised"))
    shifted = sampled_of(*make(**sharp))
    move = shifted["virtual_teacher"] - shifted["original"]
    assert move.abs().max() > 1e-3
    assert torch.allclose(move, guided["virtual_teacher"] - guided["denoised"], atol=1e-4)
    assert torch.equal(guided["denoised"], shifted["denoised"])  # unguided in both


def test_the_control_without_diffusion_is_one_step_along_the_guidance():
    sharp = {"guidance_target": "label", "guidance_temperature": 1.0, "guidance_scale": 200.0}
    setup, distiller = make(virtual_teacher="gradient", **sharp)
    batch = make_batch(setup)
    student, teacher = run_both(setup, distiller, batch)
    distiller.losses(batch, student, teacher, make_progress())  # it has seen features
    x = distiller.scale(student["map"]).detach()
    target = distiller._guidance_target(batch, teacher, setup.draws)
    moved = distiller._denoise(x, target, setup.draws).clean - x
    pull = distiller.reader().gradient(x, target, distiller.config.guidance_temperature)
    step = diffusion.guided_distance(distiller.diffusion.schedule, distiller.diffusion.times)
    assert torch.allclose(moved, (200.0 * step * pull).expand_as(moved), atol=1e-6)
    assert moved.abs().max() > 1e-3


def test_the_step_is_as_long_as_that_of_sampling_whose_denoiser_does_not_answer():
    schedule, times = diffusion.Schedule(), diffusion.spaced_times(200, 5)
    start, pull = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 1, 1)

    def silent(noisy, _time):
        return torch.zeros_like(noisy)

    guided = diffusion.sample(schedule, silent, start, times, lambda *_: pull).clean
    plain = diffusion.sample(schedule, silent, start, times).clean
    step = diffusion.guided_distance(schedule, times)
    assert step > 0
    assert torch.allclose(guided - plain, (step * pull).expand_as(start), atol=1e-5)
    assert diffusion.guided_distance(schedule, diffusion.spaced_times(200, 0)) == 0


@pytest.mark.parametrize("virtual_teacher", ["shifted", "denoised", "gradient"])
def test_the_trajectory_ends_at_the_virtual_teacher(virtual_teacher):
    kept = sampled_of(*make(virtual_teacher=virtual_teacher))
    assert torch.allclose(kept["trajectory"][:, -1], kept["virtual_teacher"], atol=1e-5)


def test_unit_length_hashes_ignore_the_length_of_the_feature():
    _, distiller = make()
    x, y = torch.randn(3, 64, 2, 2), torch.randn(3, 64, 2, 2)
    losses = [distiller._target_loss(scale * x, 5 * y) for scale in (1.0, 100.0)]
    assert torch.allclose(*losses, atol=1e-5)


def test_differing_bits_cost_their_margin_and_equal_ones_nothing():
    _, distiller = make(hash_length="kept")
    x, y = torch.randn(3, 64, 1, 1), torch.randn(3, 64, 1, 1)
    assert distiller._target_loss(x, x).abs().max() < 1e-6
    hashes, wanted = (distiller.hash(it.flatten(1)) for it in (x, y))
    differ = (hashes > 0) != (wanted > 0)
    want = (hashes.abs() * differ).mean(1)
    assert torch.allclose(distiller._target_loss(x, y), want, atol=1e-5)


def test_differing_bits_of_an_unmoved_feature_give_no_gradient():
    _, distiller = make()
    x = torch.randn(3, 64, 2, 2, requires_grad=True)
    distiller._target_loss(x, x.detach()).sum().backward()
    assert x.grad.abs().max() < 1e-7


def test_hashing_at_every_position_and_pooled_are_the_same_for_one_position():
    pair = ("test_resnet", "test_resnet")  # maps of 1x1
    terms = [terms_of(*make(pair, **LITERAL, hash_at=at))["lsh"] for at in ("pooled", "positions")]
    assert torch.allclose(*terms)


def test_l2_control_is_the_mean_squared_difference():
    _, distiller = make(target_loss="l2", hash_length="kept")
    x, y = torch.randn(3, 64, 2, 2), torch.randn(3, 64, 2, 2)
    want = (x.mean((2, 3)) - y.mean((2, 3))).square().mean(1)
    assert torch.allclose(distiller._target_loss(x, y), want)


@pytest.mark.parametrize("bias", ["mean", "median"])
def test_running_bias_is_saved_with_the_method(bias):
    setup, distiller = make(hash_bias=bias)
    for _ in range(3):
        terms_of(setup, distiller)
    assert distiller.hash.bias.abs().sum() > 0
    assert "hash.bias" in distiller.state_dict()


def test_hash_scale_is_a_number_or_that_of_the_teachers_classifier():
    setup, distiller = make(hash_bits=2048, hash_std="classifier")
    std = setup.teacher.classifier.weight.std().item()
    assert distiller.hash.weight.std().item() == pytest.approx(std, rel=0.02)
    assert make(hash_bits=2048, hash_std=2.0)[1].hash.weight.std().item() == pytest.approx(2, 0.02)


# Inspection and deployment


def test_inspection_is_repeatable_and_leaves_stream_and_buffers_alone():
    setup, distiller = make()
    batch = make_batch(setup)
    student, teacher = run_both(setup, distiller, batch)
    distiller.losses(batch, student, teacher, make_progress())
    distiller.eval()
    stream = setup.draws.generator.get_state()
    state = copy.deepcopy(distiller.state_dict())
    first, second = (distiller.inspect(batch, student, teacher) for _ in range(2))
    assert torch.equal(setup.draws.generator.get_state(), stream)
    assert all(torch.equal(state[name], it) for name, it in distiller.state_dict().items())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["original"].shape == first["denoised"].shape == (8, 64)
    assert first["trajectory_nll"].shape == (8, 6)
    assert torch.allclose(first["original"], student["map"].mean((2, 3)), atol=1e-5)


def test_the_deployed_network_is_the_plain_student():
    setup, distiller = make()
    assert distiller.deploy(setup.student) is setup.student.model


def test_training_never_touches_the_teacher():
    setup, distiller = make()
    before = copy.deepcopy(setup.teacher.state_dict())
    sum(terms_of(setup, distiller).values()).backward()
    assert all(torch.equal(before[name], it) for name, it in setup.teacher.state_dict().items())
    assert all(it.grad is None for it in setup.teacher.parameters())
    owned = {id(it) for it in distiller.parameters()}
    assert not owned & {id(it) for it in setup.teacher.parameters()}


# Robustness


PAIRS = {
    "cnn": CNN,
    "vit teacher": ("test_resnet", "test_vit"),
    "convnext teacher": ("test_vit", "test_convnext"),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"space": "teacher", "diffusion_source": "teacher", "anchor": "ce"},
        {"start": "adapter", "hash_at": "positions", "hash_bias": "median", "centred": False},
        {"teacher_head": "untrained", "target_loss": "l2", "guidance_target": "shuffled"},
    ],
)
def test_every_kind_of_pair_trains_and_is_inspected(pair, options):
    setup, distiller = make(PAIRS[pair], **options)
    batch = make_batch(setup)
    outputs = run_both(setup, distiller, batch)
    terms = distiller.losses(batch, *outputs, make_progress())
    sum(terms.values()).backward()
    assert all(it.isfinite() for it in (terms | distiller.diagnostics()).values())
    assert all(it.grad is None or it.grad.isfinite().all() for it in distiller.parameters())
    distiller.eval()
    assert all(it.isfinite().all() for it in distiller.inspect(batch, *outputs).values())


@pytest.mark.parametrize("size", [1, 2, 8])
def test_one_class_batches_of_any_size_stay_finite(size):
    setup, distiller = make(hash_bias="median")
    batch = make_batch(setup, size)
    batch.label.fill_(3)
    setup.student.eval()  # its own batch normalisation needs more than one value
    student = setup.student(batch.image, ("map",))
    terms = distiller.losses(batch, student, setup.teacher(batch.image), make_progress())
    sum(terms.values()).backward()
    assert all(it.isfinite() for it in (terms | distiller.diagnostics()).values())


@pytest.mark.parametrize("scale", [0.0, 1e3])
def test_dead_and_huge_features_and_logits_stay_finite(scale):
    setup, distiller = make()
    batch = make_batch(setup)
    student, teacher = run_both(setup, distiller, batch)
    student = Outputs(student.logits * scale, {"map": student["map"] * scale})
    teacher = Outputs(teacher.logits / teacher.logits.std() * scale)
    terms = distiller.losses(batch, student, teacher, make_progress())
    sum(terms.values()).backward()
    assert all(it.isfinite() for it in (terms | distiller.diagnostics()).values())
    assert all(it.grad is None or it.grad.isfinite().all() for it in setup.student.parameters())


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_autocast_stays_finite_over_steps(half):
    setup, distiller = make()
    batch = make_batch(setup)
    outputs = run_both(setup, distiller, batch)
    for _ in range(3):
        with torch.autocast("cpu", dtype=half):
            terms = distiller.losses(batch, *outputs, make_progress())
        assert all(it.isfinite() for it in terms.values())


# It does what it is for


def test_denoising_under_guidance_lowers_the_labels_loss_for_the_teachers_head():
    setup, distiller = make(
        **LITERAL | {"hash_bits": 256, "guidance_scale": 10.0, "t_start": 300},
        guidance_target="label",
    )
    student, batch = setup.student, make_batch(setup, 32)
    teach(setup, batch)
    parameters = [*student.parameters(), *distiller.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.02, momentum=0.9)
    relative = []
    for step in range(25):
        student.train()
        outputs = run_both(setup, distiller, batch)
        terms = distiller.losses(batch, *outputs, make_progress(step=step))
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        relative.append(distiller.diagnostics()["diffusion_relative"].item())
    health = distiller.diagnostics()
    assert sum(relative[-5:]) / 5 < 0.97  # the denoiser learns
    assert health["denoised_head_top1_percent"] >= health["original_head_top1_percent"]
    assert 0.5 < health["hash_agreement"] <= 1.0
    distiller.eval()
    found = distiller.inspect(batch, *outputs)
    original = distiller.reader().logits(distiller.scale(outputs[0]["map"].detach()))
    before = functional.cross_entropy(original, batch.label)
    after = found["trajectory_nll"][:, -1].mean()
    assert after < before


def teach(setup, batch):
    """Fit the teacher's classifier to the batch, so that its head knows the labels."""
    with torch.no_grad():
        pooled = setup.teacher(batch.image, ("pooled",))["pooled"]
    head = nn.Linear(pooled.shape[1], 5)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(200):
        loss = functional.cross_entropy(head(pooled), batch.label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        setup.teacher.classifier.weight.copy_(head.weight)
        setup.teacher.classifier.bias.copy_(head.bias)
    assert loss < 0.5


# The controls that need no study


@pytest.mark.parametrize(
    "without", [{"guidance_scale": 0.0}, {"diffusion_steps": 0}, {"lsh_weight": 0.0}]
)
def test_without_guidance_steps_or_lsh_the_student_learns_from_the_labels_alone(without):
    """Its gradient is that of ``scratch``, to the bit."""
    setup, distiller = make(**without)
    batch = make_batch(setup)
    terms = terms_of(setup, distiller, batch)
    weights = list(setup.student.parameters())
    everything = torch.autograd.grad(sum(terms.values()), weights, retain_graph=True)
    labels = torch.autograd.grad(terms["ce"], weights)
    assert all(torch.equal(one, other) for one, other in zip(everything, labels, strict=True))


def test_with_all_of_them_it_learns_from_more_than_the_labels():
    setup, distiller = make(hash_bits=2048)
    terms = terms_of(setup, distiller)
    (gradient,) = torch.autograd.grad(terms["lsh"], setup.student.model.stem[0].weight)
    assert gradient.abs().max() > 0
