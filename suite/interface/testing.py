"""The contract that every method keeps, for the suite's own methods and for yours.

Each check is a function of a method and a way to set it up; it raises AssertionError with the
fact that does not hold. ``tests/test_every_method.py`` runs all of them over all methods.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from pydantic import ValidationError
from torch import Tensor

from suite.interface.absent_gpu import AbsentGpu, Refused
from suite.interface.distiller import Batch, Distiller, Reads, Setup
from suite.interface.ensemble import Ensemble
from suite.interface.method_bench import PROGRESS as PROGRESS
from suite.interface.method_bench import Bench as Bench
from suite.interface.method_bench import MakeSetup as MakeSetup
from suite.interface.method_bench import expect as expect
from suite.interface.method_bench import total as total
from suite.interface.rng import Draws
from suite.interface.taps import Outputs, TappedModel


def config_is_closed_and_frozen(method: type[Distiller]) -> None:
    """Defaults suffice, unknown options are refused, values cannot be changed."""
    config = method.Config()
    expect(method.paper is None or bool(method.paper.title), "paper has no title")
    try:
        method.Config.model_validate({"no_such_option": 1})
    except ValidationError:
        pass
    else:
        raise AssertionError("an unknown option is accepted")
    expect(bool(config.model_config.get("frozen")), "the configuration can be changed")
    expect(
        method.Config.model_validate(config.model_dump(mode="json")) == config, "JSON changes it"
    )


def losses_are_finite_scalars_that_reach_the_student(
    method: type[Distiller], make_setup: MakeSetup, batch: Batch
) -> None:
    """Named float32 scalars; a gradient in the student and none in the teacher."""
    bench = Bench.of(method, make_setup)
    terms = bench.losses(batch)
    expect(bool(terms), "no loss term")
    expect(
        set(method.task_terms) <= set(terms), f"task_terms {method.task_terms}: not in {[*terms]}"
    )
    for name, term in terms.items():
        expect(
            term.shape == () and term.dtype == torch.float32, f"{name}: {term.shape, term.dtype}"
        )
        expect(bool(torch.isfinite(term)), f"{name} is not finite")
    total(terms).backward()  # type: ignore[no-untyped-call]
    found = [p.grad for p in bench.setup.student.parameters() if p.grad is not None]
    expect(any(bool(grad.abs().sum() > 0) for grad in found), "no gradient reaches the student")
    expect(all(bool(torch.isfinite(grad).all()) for grad in found), "a gradient is not finite")
    if bench.setup.teacher is not None:
        theirs = [p.grad for p in bench.setup.teacher.parameters()]
        expect(all(grad is None for grad in theirs), "the teacher has a gradient")
    for name, value in bench.distiller.diagnostics().items():
        expect(value.numel() == 1 and not value.requires_grad, f"diagnostic {name}")


def randomness_comes_from_its_own_stream(
    method: type[Distiller], make_setup: MakeSetup, batch: Batch
) -> None:
    """No global random number is drawn, and the same stream gives the same bits."""
    bench = Bench.of(method, make_setup)
    before = torch.get_rng_state()
    first = total(bench.losses(batch))
    expect(bool(torch.equal(before, torch.get_rng_state())), "global random numbers were drawn")
    second = total(Bench.of(method, make_setup).losses(batch))
    expect(bool(torch.equal(first, second)), "the same stream gave another loss")


def saved_and_restored_it_continues_with_the_same_bits(
    method: type[Distiller], make_setup: MakeSetup, batch: Batch
) -> None:
    """Two steps, save, two steps; against a new object that loads and makes the last two."""
    bench = Bench.of(method, make_setup)
    _train(bench, batch, steps=2)
    state = copy.deepcopy((bench.setup.student.state_dict(), bench.distiller.state_dict()))
    stream = bench.setup.draws.generator.get_state()
    expected = _train(bench, batch, steps=2)
    other = Bench.of(method, make_setup)
    other.setup.student.load_state_dict(state[0])
    other.distiller.load_state_dict(state[1])
    other.setup.draws.generator.set_state(stream)
    expect(_train(other, batch, steps=2) == expected, "the restored method goes another way")
    copy.deepcopy(other.distiller)


def every_further_view_counts(method: type[Distiller], make_setup: MakeSetup, batch: Batch) -> None:
    """A view that the method asks for changes its loss: each costs a forward of both networks."""
    bench = Bench.of(method, make_setup)
    names = bench.distiller.views()
    expect(len(set(names)) == len(names), f"views {names}: a name twice")
    whole = bench.with_views(batch)
    loss = total(bench.losses(whole))
    for name in names:
        other = replace(whole, views={**whole.views, name: -whole.views[name]})
        again = total(Bench.of(method, make_setup).losses(other))
        expect(not torch.equal(loss, again), f"view {name} does not change the loss")


def hard_batches_stay_finite(method: type[Distiller], make_setup: MakeSetup, batch: Batch) -> None:
    """Logits of 1e3, a batch of one class, a batch of two images."""
    one_class = batch.label == batch.label[0]
    rows = torch.cat([one_class.nonzero().flatten()] * 2)[:2]
    pairs = {
        "large logits": (batch, 1e3),
        "one class": (_rows(batch, rows), 1.0),
        "two images": (_rows(batch, torch.arange(2)), 1.0),
    }
    for name, (hard, scale) in pairs.items():
        bench = Bench.of(method, make_setup)
        terms = bench.losses(hard, scale)
        expect(all(bool(torch.isfinite(term)) for term in terms.values()), f"{name}: {terms}")
        total(terms).backward()  # type: ignore[no-untyped-call]
        for parameter in bench.parameters():
            if parameter.grad is not None:
                expect(bool(torch.isfinite(parameter.grad).all()), f"{name}: gradient")


def training_lowers_the_loss(method: type[Distiller], make_setup: MakeSetup, batch: Batch) -> None:
    """Forty steps on one batch; losses with random draws are averaged over eight of them."""
    bench = Bench.of(method, make_setup)
    before = _mean_loss(bench, batch)
    _train(bench, batch, steps=40, rate=1e-2)
    after = _mean_loss(bench, batch)
    expect(after < before, f"forty steps took the loss from {before:.4f} to {after:.4f}")


def the_deployed_network_maps_images_to_logits(
    method: type[Distiller], make_setup: MakeSetup, batch: Batch
) -> None:
    """What is tested and shipped works alone, in evaluation mode."""
    bench = Bench.of(method, make_setup)
    deployed = bench.distiller.deploy(bench.setup.student).eval()
    with torch.no_grad():
        logits = deployed(batch.image)
    expect(logits.shape == (len(batch), bench.setup.num_classes), f"logits {tuple(logits.shape)}")
    bench.setup.student.eval()
    with torch.no_grad():
        student = bench.setup.student(batch.image, bench.distiller.student_taps()).float()
        teacher = Outputs(student.logits.new_empty(0))
        if bench.setup.teacher is not None:
            teacher = bench.setup.teacher(batch.image, bench.distiller.teacher_taps()).float()
        for name, tensor in bench.distiller.eval().inspect(batch, student, teacher).items():
            expect(len(tensor) == len(batch), f"inspect {name}: one row per image")


def a_step_works_on_a_gpu_that_is_not_there(
    method: type[Distiller], make_setup: MakeSetup, batch: Batch
) -> None:
    """Built and trained on a device of its own, without a value that Python waits for.

    No tensor of another device, no kernel that adds up in no fixed order and, after the first
    step, nothing that a CUDA graph forbids. The message names the line.
    """
    gpu = AbsentGpu()
    with gpu:
        bench = Bench.of(method, lambda: _on(gpu.device, make_setup()))
        bench.distiller.to(gpu.device)
        batch = _batch_on(gpu.device, batch)

        def step() -> None:
            total(bench.losses(batch)).backward()  # type: ignore[no-untyped-call]

        step()
        try:
            gpu.record(step, [bench.setup.draws.generator])()
        except Refused as reason:
            raise AssertionError(str(reason)) from None


def _on(device: torch.device, setup: Setup) -> Setup:
    """The same on another device, networks copied."""
    stream = torch.Generator(device)
    stream.set_state(setup.draws.generator.get_state())

    def teacher_pass(taps: Sequence[str]) -> Iterator[tuple[Batch, Outputs]]:
        for batch, outputs in setup.teacher_pass(taps):
            moved = {name: tap.to(device) for name, tap in outputs.taps.items()}
            yield _batch_on(device, batch), Outputs(outputs.logits.to(device), moved)

    return replace(
        setup,
        student=copy.deepcopy(setup.student).to(device),
        teacher=None if setup.teacher is None else copy.deepcopy(setup.teacher).to(device),
        train_labels=setup.train_labels.to(device),
        device=device,
        draws=Draws(stream),
        teacher_pass=teacher_pass,
    )


def _batch_on(device: torch.device, batch: Batch) -> Batch:
    views = {name: image.to(device) for name, image in batch.views.items()}
    return Batch(batch.image.to(device), batch.label.to(device), batch.index.to(device), views)


def losses_are_float32_whatever_the_networks_compute_in(
    method: type[Distiller], make_setup: MakeSetup, batch: Batch
) -> None:
    """With both networks in bfloat16, losses are finite float32 and reach the student."""
    bench = Bench.of(method, make_setup)
    terms = bench.losses(batch, half=torch.bfloat16)
    for name, term in terms.items():
        expect(term.dtype == torch.float32, f"{name}: {term.dtype}")
        expect(bool(torch.isfinite(term)), f"{name} is not finite")
    total(terms).backward()  # type: ignore[no-untyped-call]
    found = [p.grad for p in bench.parameters() if p.grad is not None]
    expect(all(bool(torch.isfinite(grad).all()) for grad in found), "a gradient is not finite")


def what_grows_with_the_training_set_is_declared(
    method: type[Distiller],
    make_setup: MakeSetup,
    batch: Batch,  # noqa: ARG001
) -> None:
    """What ten times the images make the method keep is within what ``memory`` says."""
    (few, said_of_few), (many, said_of_many) = (_kept(method, make_setup, n) for n in (1, 10))
    grown, said = many - few, said_of_many - said_of_few
    expect(grown <= said, f"it keeps {grown} bytes more, and memory() says {said}")


def _kept(method: type[Distiller], make_setup: MakeSetup, times: int) -> tuple[int, int]:
    """Bytes in parameters and buffers for ``times`` the images, and what ``memory`` says."""

    def enlarged() -> Setup:
        setup = make_setup()
        return replace(setup, train_labels=setup.train_labels.repeat(times))

    bench = Bench.of(method, enlarged)
    state = [*bench.distiller.parameters(), *bench.distiller.buffers()]
    said = method.memory(bench.distiller.config, bench.setup.train_size)
    return sum(tensor.nbytes for tensor in state), said


def a_teacher_without_what_is_not_read_is_enough(
    method: type[Distiller], make_setup: MakeSetup, batch: Batch
) -> None:
    """A method that declares to read no logits, or no features, has the same losses without."""
    bench = Bench.of(method, make_setup)
    if bench.setup.teacher is None:
        return
    expected, reads = bench.losses(batch), method.reads_with(bench.distiller.config)
    for reading, without in WITHOUT.items():
        what = f"it declares to read no {str(reading.name).lower()}, and"
        if reading in reads:
            continue
        try:
            other = Bench.of(method, partial(_lacking, make_setup, without))
            found = other.losses(batch)
        except Exception as error:
            raise AssertionError(f"{what} without them: {error}") from error
        same = all(torch.equal(expected[name], found[name]) for name in expected)
        expect(same, f"{what} its losses change without them")


def _lacking(make_setup: MakeSetup, without: Callable[[TappedModel], TappedModel]) -> Setup:
    return with_teacher(make_setup(), without)


def without_classifier(network: TappedModel) -> TappedModel:
    """A copy that gives features alone."""
    model = copy.deepcopy(network.model)
    model.reset_classifier(0)
    return TappedModel(model, network.image_shape).eval().requires_grad_(False)


def without_features(network: TappedModel) -> TappedModel:
    """An ensemble of it alone, which gives its logits."""
    return Ensemble([network]).eval()


WITHOUT = {Reads.LOGITS: without_classifier, Reads.FEATURES: without_features}
"""What is lacking -> a teacher that lacks it, from one that does not."""


def with_teacher(setup: Setup, change: Callable[[TappedModel], TappedModel]) -> Setup:
    """The setup with another teacher, made from its own."""
    teacher = change(setup.require_teacher())

    def teacher_pass(taps: Sequence[str]) -> Iterator[tuple[Batch, Outputs]]:
        for batch, _ in setup.teacher_pass(()):
            with torch.no_grad():
                yield batch, teacher(batch.image, taps).float()

    return replace(setup, teacher=teacher, teacher_pass=teacher_pass)


CHECKS = (
    losses_are_finite_scalars_that_reach_the_student,
    randomness_comes_from_its_own_stream,
    saved_and_restored_it_continues_with_the_same_bits,
    every_further_view_counts,
    hard_batches_stay_finite,
    training_lowers_the_loss,
    the_deployed_network_maps_images_to_logits,
    a_step_works_on_a_gpu_that_is_not_there,
    losses_are_float32_whatever_the_networks_compute_in,
    what_grows_with_the_training_set_is_declared,
    a_teacher_without_what_is_not_read_is_enough,
)
"""Every check over a pair: ``check(method, make_setup, batch)``."""


def _mean_loss(bench: Bench, batch: Batch, draws: int = 8) -> float:
    """Mean total loss over several draws, on a copy, so that no state moves."""
    trial = copy.deepcopy(bench.distiller), copy.deepcopy(bench.setup.student)
    probe = Bench(replace(bench.setup, student=trial[1]), trial[0])
    with torch.no_grad():
        return sum(total(probe.losses(batch)).item() for _ in range(draws)) / draws


def _train(bench: Bench, batch: Batch, steps: int, rate: float = 1e-3) -> list[float]:
    optimizer = torch.optim.SGD(bench.parameters(), lr=rate)
    history = []
    for _ in range(steps):
        loss = total(bench.losses(batch))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(bench.parameters(), 1.0)
        optimizer.step()
        history.append(float(loss.detach()))
    return history


def _rows(batch: Batch, rows: Tensor) -> Batch:
    views = {name: image[rows] for name, image in batch.views.items()}
    return Batch(batch.image[rows], batch.label[rows], batch.index[rows], views)
