"""The schedule, DDIM steps, sampling, and DiffKD's networks against its reference code."""

import math

import pytest
import torch
from diffusers import DDIMScheduler
from golden_numbers import PRECISIONS
from torch import nn

from baselines._denoisers import (
    NoiseAdapter,
    TableDenoiser,
    WaveDenoiser,
    map_layers,
)
from baselines._diffusion import (
    CLEAN,
    Schedule,
    adapter_loss,
    frozen,
    last_half_times,
    mix,
    noise_loss,
    sample,
    spaced_times,
)


def loaded(module, case, prefix, names):
    """``module`` with the reference's state below ``prefix``; ``names`` maps theirs to ours."""
    state = {}
    for key, tensor in case.state(prefix).items():
        first, rest = key.split(".", 1)
        state[f"{names.get(first, first)}.{rest}"] = tensor
    missing, unexpected = module.to(case.dtype).load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return module


def check_gradients(module, case, prefix, names):
    theirs = {ours: name for name, ours in names.items()}
    for key, parameter in module.named_parameters():
        first, rest = key.split(".", 1)
        case.check_gradient(parameter.grad, f"{prefix}.{theirs.get(first, first)}.{rest}")


DENOISER = {"pred": "layers"}
ADAPTER = {"feat": "features", "pred": "gamma"}


def test_schedule_is_the_references(golden):
    case = golden("ddim_schedule_linear_1000")
    schedule = Schedule()
    gap = schedule.alphas_cumprod - case.want("out_alphas_cumprod")
    assert gap.abs().max() < 1e-7
    assert last_half_times(5)[:-1] == case.want("out_diffkd_timesteps_5").tolist()


def test_schedule_starts_nearly_clean_and_ends_nearly_all_noise():
    schedule = Schedule()
    assert schedule.signal(0) == pytest.approx(1 - 1e-4)
    assert schedule.signal(999) == pytest.approx(4.04e-5, rel=1e-2)
    assert schedule.signal(CLEAN) == 1.0


@pytest.mark.parametrize("cast", [torch.float16, torch.bfloat16, torch.float64])
def test_schedule_keeps_float32_when_its_module_is_cast(cast):
    holder = nn.ModuleList([Schedule(), nn.Linear(2, 2)])
    exact = holder[0].alphas_cumprod.clone()
    holder.to(cast)
    assert holder[1].weight.dtype == cast
    assert holder[0].alphas_cumprod.dtype == torch.float32
    assert torch.equal(holder[0].alphas_cumprod, exact)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_last_step_is_finite_under_autocast(half):
    schedule, denoiser = Schedule(), nn.Conv2d(4, 4, 1)
    with torch.autocast("cpu", dtype=half):
        noise = denoiser(torch.randn(2, 4, 3, 3))
        assert noise.dtype == half
        noisy = schedule.add_noise(noise, torch.randn(2, 4, 3, 3).to(half), torch.tensor([0, 999]))
        clean = schedule.step(noisy, noise, 0, CLEAN)
    assert noisy.dtype == torch.float32
    assert clean.isfinite().all()


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_noising_is_the_references(golden, dtype):
    case = golden("ddim_addnoise_a", dtype)
    clean = case.inputs["x0"]
    noisy = Schedule().add_noise(clean, case.inputs["noise"], case.inputs["t"])
    loss = (case.inputs["w"] * noisy).sum()
    loss.backward()
    assert noisy.dtype == dtype
    case.check_output(noisy, "noisy")
    case.check_loss(loss)
    case.check_gradient(clean.grad, "x0")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["ddim_step_diffkd_400to0", "ddim_step_800to0_unclipped"])
def test_chained_steps_are_the_references(golden, name, dtype):
    case = golden(name, dtype)
    schedule, sample_, noises = Schedule(), case.inputs["sample"], case.inputs["eps"]
    times = [*case.inputs["timesteps"].tolist(), CLEAN]
    noisy, cleans, noisies = sample_, [], []
    for noise, time, after in zip(noises, times, times[1:], strict=False):
        cleans.append(schedule.predict_clean(noisy, noise, time))
        noisy = schedule.step(noisy, noise, time, after)
        noisies.append(noisy)
    loss = (case.inputs["w"] * noisy).sum()
    loss.backward()
    case.check_output(torch.stack(cleans), "pred_original_samples")
    case.check_output(torch.stack(noisies), "prev_samples")
    case.check_loss(loss)
    case.check_gradient(sample_.grad, "sample")
    case.check_gradient(noises.grad, "eps")


@pytest.mark.parametrize("steps", [1, 2, 5, 50])
def test_sampling_agrees_with_diffusers(steps):
    theirs = DDIMScheduler(
        beta_start=1e-4, beta_end=0.02, clip_sample=False, timestep_spacing="leading"
    )
    theirs.set_timesteps(steps)
    stream = torch.Generator().manual_seed(0)
    start = torch.randn(2, 3, generator=stream)
    weight = torch.randn(3, 3, generator=stream) / 3

    def denoiser(noisy, time):
        return noisy @ weight + time / 1000

    want = start
    for time in theirs.timesteps:
        want = theirs.step(denoiser(want, time), time, want).prev_sample
    times = [*theirs.timesteps.tolist(), CLEAN]
    found = sample(Schedule(), denoiser, start, times)
    assert torch.allclose(found.clean, want, rtol=1e-4, atol=1e-5)
    assert len(found.trajectory) == steps + 1
    assert torch.equal(found.trajectory[0], start)


@pytest.mark.parametrize("start", [1, 37, 500, 999])
def test_perfect_denoiser_returns_the_clean_feature(start):
    schedule = Schedule()
    clean = torch.randn(4, 6, 2, 2, dtype=torch.float64)
    noise = torch.randn_like(clean)
    noisy = schedule.add_noise(clean, noise, torch.tensor([start]))
    for steps in {1, min(5, start)}:
        found = sample(schedule, lambda _noisy, _time: noise, noisy, spaced_times(start, steps))
        # add_noise takes roots of the float32 schedule in float64, sampling of the same values
        assert torch.allclose(found.clean, clean, atol=1e-6)


def test_times_are_evenly_spaced_and_end_clean():
    assert spaced_times(500, 5) == [500, 400, 300, 200, 100, CLEAN]
    assert spaced_times(10, 3) == [10, 6, 3, CLEAN]
    assert spaced_times(500, 0) == [CLEAN]
    assert last_half_times(1) == [0, CLEAN]
    assert last_half_times(2) == [250, 0, CLEAN]


def test_no_steps_leave_the_start_as_it_is():
    start = torch.randn(2, 3)
    found = sample(Schedule(), lambda noisy, _time: noisy, start, spaced_times(500, 0))
    assert torch.equal(found.clean, start)
    assert found.guidance_ratio == 0


def test_guidance_of_one_step_shifts_the_result_by_its_closed_form():
    # eps' = eps - sqrt(1-a) g, x0' = (x - sqrt(1-a) eps') / sqrt(a) = x0 + (1-a)/sqrt(a) g
    schedule, start, pull = Schedule(), torch.randn(2, 3), torch.full((2, 3), 0.25)

    def denoiser(noisy, _time):
        return torch.zeros_like(noisy)

    plain = sample(schedule, denoiser, start, [300, CLEAN])
    guided = sample(schedule, denoiser, start, [300, CLEAN], lambda _noisy, _clean: pull)
    signal = schedule.signal(300)
    shift = (1 - signal) / math.sqrt(signal) * 0.25
    assert torch.allclose(guided.clean - plain.clean, torch.full((2, 3), shift), atol=1e-5)
    assert guided.guidance_ratio.item() == pytest.approx(math.sqrt(1 - signal) * 0.25, rel=1e-5)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_diffusion_loss_and_gradients_are_the_references(golden, dtype):
    case = golden("diffkd_loss_k3", dtype)
    clean = case.inputs["t_feat"]
    channels = clean.shape[1]
    denoiser = loaded(TableDenoiser(channels, map_layers(channels)), case, "model", DENOISER)
    loss = noise_loss(Schedule(), denoiser, clean, case.inputs["noise"], case.inputs["t"])
    loss.backward()
    case.check_loss(loss)
    case.check_gradient(clean.grad, "t_feat")
    check_gradients(denoiser, case, "model", DENOISER)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["diffkd_adapter_k1", "diffkd_adapter_k3"])
def test_noise_adapter_is_the_references(golden, name, dtype):
    case = golden(name, dtype)
    feature = case.inputs["feat"]
    adapter = NoiseAdapter(feature.shape[1], vector=feature.shape[2] == 1)
    loaded(adapter, case, "adapter", ADAPTER)
    gamma = adapter(feature)
    noisy = mix(feature, case.inputs["noise"], gamma)
    loss = (case.inputs["w"] * noisy).sum()
    loss.backward()
    case.check_output(gamma, "gamma")
    case.check_output(noisy, "noisy")
    case.check_loss(loss)
    case.check_gradient(feature.grad, "feat")
    check_gradients(adapter, case, "adapter", ADAPTER)


def test_frozen_denoiser_passes_gradients_to_its_input_alone():
    denoiser = TableDenoiser(8, map_layers(8))
    noisy = torch.randn(2, 8, 3, 3, requires_grad=True)
    frozen(denoiser)(noisy, torch.tensor([3])).square().sum().backward()
    assert noisy.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in denoiser.parameters())


def test_wave_denoiser_starts_as_the_linear_guess_and_knows_the_time():
    schedule = Schedule()
    denoiser = WaveDenoiser(schedule, 8, 2)
    noisy, time = torch.randn(3, 8, 4, 4), torch.tensor([0, 300, 999])
    assert torch.equal(denoiser(noisy, time), schedule.untaught_guess(noisy, time))
    nn.init.normal_(denoiser.layers[-1].weight)
    early, late = denoiser(noisy, torch.tensor([10])), denoiser(noisy, torch.tensor([900]))
    guesses = [schedule.untaught_guess(noisy, torch.tensor([t])) for t in (10, 900)]
    assert not torch.allclose(early - guesses[0], late - guesses[1], atol=0.1)


def test_wave_denoiser_treats_each_image_alone():
    denoiser = WaveDenoiser(Schedule(), 8, 2)
    nn.init.normal_(denoiser.layers[-1].weight)
    noisy, time = torch.randn(5, 8, 4, 4), torch.tensor([300])
    assert torch.allclose(denoiser(noisy, time)[:1], denoiser(noisy[:1], time), atol=1e-5)


class Line:
    """Features on a line through the origin in 16 dimensions: noise across it can be removed."""

    def __init__(self):
        self.stream = torch.Generator().manual_seed(0)
        self.line = nn.functional.normalize(torch.randn(16, generator=self.stream), dim=0) * 4

    def draw(self, size):
        clean = torch.randn(size, 1, generator=self.stream) * self.line
        return clean[:, :, None, None], torch.randn(size, 16, 1, 1, generator=self.stream)

    def train(self, denoiser, schedule, steps):
        """Loss relative to the untaught guess, step by step."""
        optimizer, ratios = torch.optim.SGD(denoiser.parameters(), lr=0.05, momentum=0.9), []
        for _ in range(steps):
            clean, noise = self.draw(64)
            time = torch.randint(0, 501, (64,), generator=self.stream)
            noisy = schedule.add_noise(clean, noise, time)
            untaught = nn.functional.mse_loss(schedule.untaught_guess(noisy, time), noise)
            loss = noise_loss(schedule, denoiser, clean, noise, time)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ratios.append((loss / untaught).item())
        return ratios


@pytest.fixture(scope="module")
def taught():
    torch.manual_seed(0)
    line, schedule = Line(), Schedule()
    denoiser = WaveDenoiser(schedule, 16, 16, kernel=1)
    ratios = line.train(denoiser, schedule, 300)
    return line, schedule, denoiser, ratios


def test_wave_denoiser_learns_a_distribution(taught):
    line, schedule, denoiser, ratios = taught
    assert ratios[0] == pytest.approx(1.0)
    assert sum(ratios[-50:]) / 50 < 0.6
    clean, noise = line.draw(256)
    with torch.no_grad():
        noisy = schedule.add_noise(clean, noise, torch.tensor([300]))
        found = sample(schedule, denoiser, noisy, spaced_times(300, 5)).clean
    assert (found - clean).norm() < 0.7 * (noisy - clean).norm()


def test_adapter_loss_is_least_at_the_samplers_noise_level(taught):
    # x_300 is 0.63 x_0 + 0.78 eps: of the linear mixes, one in the middle comes nearest.
    line, schedule, denoiser, _ = taught
    clean, noise = line.draw(512)
    gammas = torch.linspace(0.1, 1.0, 19)
    losses = [
        adapter_loss(schedule, denoiser, mix(clean, noise, gamma.expand(512)), clean, 300)
        for gamma in gammas
    ]
    best = gammas[torch.stack(losses).argmin()].item()
    assert 0.4 < best < 0.9
