"""DiffKD against its reference code, both places, and what may and may not get gradients."""

import math

import pytest
import torch
from golden_numbers import PRECISIONS
from method_setup import make_batch, make_progress, make_setup, run_both
from torch.nn import functional

from baselines.diffkd import DiffKD, DiffKDConfig, Place, Refined, health
from baselines.kd import kd_loss
from suite.interface.rng import seeded_globals
from suite.interface.taps import Outputs

OURS = {  # the reference's names -> ours, longest first
    "ae.encoder.": "encoder.",
    "ae.decoder.0.": "decoder.",
    "trans.": "transform.",
    "model.time_embedding.": "denoiser.time_embedding.",
    "model.pred.": "denoiser.layers.",
    "noise_adapter.feat.": "adapter.features.",
    "noise_adapter.pred.": "adapter.gamma.",
    "proj.": "project.",
}


class Given:
    """Draws that hand out the noise of a golden file in the order in which the reference draws."""

    def __init__(self, case):
        self._normal = [case.inputs["noise_adapter"], case.inputs["noise_ddim"]]
        self._times = [case.inputs["t"]]

    def normal(self, rows, *shape):
        noise = self._normal.pop(0)
        assert noise.shape == (rows, *shape)
        return noise

    def integers(self, rows, high):
        assert high == 1000
        return self._times.pop(0)


def ours(name):
    old = next(old for old in OURS if name.startswith(old))
    return OURS[old] + name.removeprefix(old)


def theirs(name):
    old, new = next((old, new) for old, new in OURS.items() if name.startswith(new))
    return old + name.removeprefix(new)


def golden_place(case):
    hidden = case.hyper["ae_channels"] if case.hyper["use_ae"] else None
    channels = case.inputs["f_s"].shape[1], case.inputs["f_t"].shape[1]
    place = Place(*channels, hidden, vector=case.hyper["kernel_size"] == 1).to(case.dtype)
    state = {ours(key): it for key, it in case.state("diffkd").items()}
    missing, unexpected = place.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return place


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["diffkd_full_feat_ae", "diffkd_full_logit"])
def test_losses_and_gradients_are_the_references(golden, name, dtype):
    case = golden(name, dtype)
    place = golden_place(case)
    student, teacher = case.inputs["f_s"], case.inputs["f_t"]
    refined = place(student, teacher, Given(case), case.hyper["inference_steps"])
    vector = case.hyper["kernel_size"] == 1
    if vector:
        logits = refined.denoised.flatten(1), refined.target.flatten(1)
        distance = kd_loss(*logits, case.hyper["tau"])
    else:
        distance = functional.mse_loss(refined.denoised, refined.target)
        case.check_loss(refined.reconstruction, "loss_rec")
    loss = distance + refined.ddim + (0 if vector else refined.reconstruction)
    loss.backward()
    case.check_loss(distance, "loss_kd")
    case.check_loss(refined.ddim, "loss_ddim")
    case.check_loss(loss)
    case.check_output(refined.denoised, "refined")
    case.check_output(refined.target, "teacher_hidden")
    case.check_output(place.project[1].running_mean, "proj_bn_running_mean_after")
    case.check_gradient(student.grad, "f_s")
    for key, parameter in place.named_parameters():
        case.check_gradient(parameter.grad, f"diffkd.{theirs(key)}")


def make(**options):
    setup = make_setup("cifar_resnet8", "cifar_resnet8x4")
    return setup, DiffKD(DiffKDConfig(**options), setup)


def terms_of(setup, distiller, batch):
    return distiller.losses(batch, *run_both(setup, distiller, batch), make_progress())


def test_both_places_are_used_and_each_can_be_left_out():
    for places, taps in ((("map", "logits"), ("map",)), (("logits",), ()), (("map",), ("map",))):
        setup, distiller = make(places=places)
        assert distiller.student_taps() == distiller.teacher_taps() == taps
        terms = terms_of(setup, distiller, make_batch(setup))
        assert {"map_kd", "map_ddim", "map_rec"} <= set(terms) or "map" not in places
        assert {"logits_kd", "logits_ddim"} <= set(terms) or "logits" not in places
        assert len(terms) == 1 + 3 * ("map" in places) + 2 * ("logits" in places)


def test_autoencoder_halves_the_teachers_channels_unless_told_otherwise():
    assert make()[1].places["map"].transform.out_channels == 128
    assert make(autoencoder_channels=32)[1].places["map"].transform.out_channels == 32
    _, plain = make(use_autoencoder=False)
    assert plain.places["map"].encoder is None
    assert plain.places["map"].transform.out_channels == 256


def test_distance_trains_everything_but_the_autoencoder():
    setup, distiller = make()
    batch = make_batch(setup)
    terms = terms_of(setup, distiller, batch)
    (terms["map_kd"] + terms["logits_kd"]).backward()
    for name, parameter in distiller.named_parameters():
        in_autoencoder = ".encoder." in name or ".decoder." in name
        assert (parameter.grad is None) == in_autoencoder, name
    assert setup.student.classifier.weight.grad.abs().sum() > 0


def test_detached_denoiser_learns_from_the_diffusion_loss_alone():
    setup, distiller = make(detach_denoiser=True)
    terms = terms_of(setup, distiller, make_batch(setup))
    (terms["map_kd"] + terms["logits_kd"]).backward(retain_graph=True)
    denoisers = [distiller.places[place].denoiser for place in ("map", "logits")]
    assert all(it.grad is None for denoiser in denoisers for it in denoiser.parameters())
    assert setup.student.classifier.weight.grad.abs().sum() > 0
    terms["map_ddim"].backward()
    assert denoisers[0].time_embedding.weight.grad.abs().sum() > 0


def test_weights_scale_their_terms():
    options = {"map_weight": 2.0, "logits_weight": 3.0, "ddim_weight": 4.0}
    terms = []
    for chosen in ({}, options):
        with seeded_globals(0, "layers"):
            setup, distiller = make(**chosen)
        terms.append(terms_of(setup, distiller, make_batch(setup)))
    plain, scaled = terms
    want = {"ce": 1, "map_kd": 2, "logits_kd": 3, "map_ddim": 4, "logits_ddim": 4, "map_rec": 1}
    ratios = {name: scaled[name].item() / plain[name].item() for name in plain}
    assert ratios == pytest.approx(want, rel=1e-5)


def test_the_health_of_both_places_is_logged():
    setup, distiller = make()
    terms_of(setup, distiller, make_batch(setup))
    found = distiller.diagnostics()
    names = ("gamma", "snr_db", "cosine_before", "cosine_after")
    assert set(found) == {f"{place}_{name}" for place in ("map", "logits") for name in names}
    assert all(0 < found[f"{place}_gamma"] < 1 for place in ("map", "logits"))


def refined(gamma):
    """Before denoising at right angles to the teacher, afterwards along it."""
    before, target = torch.eye(2)[:, None, :, None].expand(2, 3, 2, 1).unbind()
    before, target = before[None], target[None]
    return Refined(before, 2 * target, target, torch.zeros(()), None, torch.tensor([gamma]))


def test_health_by_hand():
    """Three channels, each (1, 0): root mean square 0.7071; 0.75 x 0.7071 to 0.25 is 6.532 dB."""
    found = health(refined(0.75), centred=False)
    assert found["gamma"] == 0.75
    assert found["snr_db"].item() == pytest.approx(20 * math.log10(3 * math.sqrt(0.5)), abs=1e-4)
    assert found["cosine_before"] == 0
    assert found["cosine_after"].item() == pytest.approx(1)


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_health_stays_finite_when_the_adapter_adds_no_noise_or_nothing_else(gamma):
    assert all(it.isfinite() for it in health(refined(gamma), centred=True).values())


def test_trained_denoising_brings_the_student_nearer_to_the_teacher():
    """Both networks and the batch stay as they are; what is trained is the method alone."""
    with seeded_globals(0, "method_init"):
        setup, distiller = make()
    batch = make_batch(setup, 16)
    student, teacher = (
        Outputs(it.logits.detach(), {"map": it["map"].detach()})
        for it in run_both(setup, distiller, batch)
    )
    optimizer = torch.optim.Adam(distiller.parameters(), lr=3e-3)
    history = []
    for step in range(60):
        terms = distiller.losses(batch, student, teacher, make_progress(step=step))
        history.append([terms["map_kd"].item(), terms["logits_kd"].item()])
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
    assert all(last < 0.5 * first for first, last in zip(history[0], history[-1], strict=True))
    found = distiller.diagnostics()
    assert found["map_cosine_after"] > found["map_cosine_before"] + 0.5


def test_inspection_is_repeatable_and_leaves_the_stream_alone():
    setup, distiller = make()
    batch = make_batch(setup)
    outputs = run_both(setup, distiller, batch)
    distiller.eval()
    before = setup.draws.generator.get_state()
    first, second = (distiller.inspect(batch, *outputs) for _ in range(2))
    assert torch.equal(setup.draws.generator.get_state(), before)
    assert {name: tuple(it.shape) for name, it in first.items()} == {
        "original": (8, 128),
        "denoised": (8, 128),
        "teacher": (8, 128),
    }
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("size", [1, 2])
def test_smallest_batches_give_finite_losses(size):
    setup, distiller = make()
    batch = make_batch(setup, size)
    setup.student.eval()
    student = setup.student(batch.image, ("map",))
    teacher = setup.teacher(batch.image, ("map",))
    terms = distiller.losses(batch, student, teacher, make_progress())
    sum(terms.values()).backward()
    assert all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_repeated_steps_under_autocast_stay_finite(half):
    # The reference's schedule is cast for good in the first step; the second then gives nan.
    setup, distiller = make()
    batch = make_batch(setup)
    outputs = run_both(setup, distiller, batch)
    for _ in range(3):
        with torch.autocast("cpu", dtype=half):
            terms = distiller.losses(batch, *outputs, make_progress())
        assert all(term.isfinite() for term in terms.values())


def test_maps_of_unequal_size_meet_at_the_smaller():
    setup = make_setup("cifar_resnet8", "test_resnet", image_size=64)  # 16x16 and 2x2
    distiller = DiffKD(DiffKDConfig(places=("map",)), setup)
    batch = make_batch(setup)
    refined = distiller._refine("map", *run_both(setup, distiller, batch), setup.draws)
    assert refined.denoised.shape == refined.target.shape == (8, 48, 2, 2)
