"""The contract that every method keeps, for the suite's own methods and for yours.

Each check is a function of a method and a way to set it up; it raises AssertionError with the
fact that does not hold. ``tests/test_every_method.py`` runs all of them over all methods.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from suite.interface.distiller import Batch, Distiller, Progress, Setup
from suite.interface.rng import seeded_globals
from suite.interface.taps import Outputs

MakeSetup = Callable[[], Setup]
PROGRESS = Progress(epoch=1, epochs=4, step=0, steps_per_epoch=4)


def expect(holds: bool, fact: str) -> None:
    """Raise AssertionError unless the fact holds."""
    if not holds:
        raise AssertionError(fact)


@dataclass
class Bench:
    """A method on a pair, ready for batches."""

    setup: Setup
    distiller: Distiller

    @classmethod
    def of(cls, method: type[Distiller], make_setup: MakeSetup) -> Bench:
        """Built as the harness builds it. Raises UnsupportedPair where the pair does not fit."""
        setup = make_setup()
        if not method.uses_teacher:
            setup = replace(setup, teacher=None)
        with seeded_globals(0, "contract"):
            return cls(setup, method(method.Config(), setup))

    def losses(self, batch: Batch, scale: float = 1.0) -> dict[str, Tensor]:
        """Terms for a batch, logits multiplied by ``scale``; the student in training mode."""
        self.setup.student.train()
        self.distiller.train()
        student = self.setup.student(batch.image, self.distiller.student_taps()).float()
        teacher = Outputs(student.logits.new_empty(0))
        if self.setup.teacher is not None:
            with torch.no_grad():
                outputs = self.setup.teacher(batch.image, self.distiller.teacher_taps())
            teacher = Outputs(outputs.logits * scale, outputs.taps).float()
        student = Outputs(student.logits * scale, student.taps)
        return self.distiller.losses(batch, student, teacher, PROGRESS)

    def parameters(self) -> list[Tensor]:
        """Everything the optimizer trains."""
        return [*self.setup.student.parameters(), *self.distiller.parameters()]


def total(terms: dict[str, Tensor]) -> Tensor:
    """The sum that the engine optimises."""
    return torch.stack(list(terms.values())).sum()


def config_is_closed_and_frozen(method: type[Distiller]) -> None:
    """Defaults suffice, unknown options are refused, values cannot be changed."""
    config = method.Config()
    expect(bool(method.paper), "paper is empty")
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


def a_step_reads_no_value_back(
    method: type[Distiller], make_setup: MakeSetup, batch: Batch
) -> None:
    """After the first, steps need no tensor's value in Python: a GPU would be waited for.

    Such a step can be recorded as a CUDA graph, too. The message names the line that reads.
    """
    bench = Bench.of(method, make_setup)
    _train(bench, batch, steps=1)
    with _ChecksOfOneHot() as allowed, _NoReadBack(allowed):
        total(bench.losses(batch)).backward()  # type: ignore[no-untyped-call]


class _NoReadBack(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises AssertionError where a tensor's value decides what Python does or a shape is."""

    def __init__(self, allowed: _ChecksOfOneHot) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._allowed = allowed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READ_BACK and not self._allowed.inside:
            raise AssertionError(f"{_line()}: the step calls {func}, which waits for the device")
        if func in INDEXED and any(it is not None and it.dtype == torch.bool for it in args[1]):
            raise AssertionError(
                f"{_line()}: the step indexes by a mask, which waits for the device"
            )
        return func(*args, **(kwargs or {}))


class _ChecksOfOneHot(TorchFunctionMode):
    """Knows when ``one_hot`` checks the range of its labels.

    Given the number of classes it does so on a CPU only (ATen's Onehot.cpp): no GPU waits for it.
    Without the number it reads the largest label everywhere.
    """

    inside = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        number = kwargs.get("num_classes", args[1] if len(args) > 1 else -1)
        self.inside = func is torch.nn.functional.one_hot and number > 0
        try:
            return func(*args, **kwargs)
        finally:
            self.inside = False


def _line() -> str:
    """``file:line`` of the code that called torch; the backward pass has none of its own."""
    library = str(Path(torch.__file__).parent)
    ours = (_line.__name__, "__torch_dispatch__", "__torch_function__")
    frames = [it for it in traceback.extract_stack() if not it.filename.startswith(library)]
    while frames[-1].name in ours:
        frames.pop()
    caller = frames[-1]
    return "backward pass" if caller.filename == __file__ else f"{caller.filename}:{caller.lineno}"


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


READ_BACK = {
    torch.ops.aten._local_scalar_dense.default,  # item(), float(), bool()
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.equal.default,
    torch.ops.aten._unique2.default,
}
INDEXED = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default}
"""Rows chosen by a mask make a shape that only the device knows."""


CHECKS = (
    losses_are_finite_scalars_that_reach_the_student,
    randomness_comes_from_its_own_stream,
    saved_and_restored_it_continues_with_the_same_bits,
    hard_batches_stay_finite,
    training_lowers_the_loss,
    the_deployed_network_maps_images_to_logits,
    a_step_reads_no_value_back,
    what_grows_with_the_training_set_is_declared,
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
    return Batch(batch.image[rows], batch.label[rows], batch.index[rows])
