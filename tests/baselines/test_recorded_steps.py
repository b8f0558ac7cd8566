"""A recorded step of every method trains as its Python code does: all that changes is in tensors.

A step is recorded once and replayed over epochs, so a number or a tensor that a method puts in the
place of another, instead of changing it in place, would stay what it was.
"""

import copy

import pytest
import torch
from method_setup import make_batch, make_progress, make_setup, run_both
from tape_recorder import TapeRecorder

from baselines.crd import ContrastSampler
from suite import methods
from suite.interface.distiller import Batch
from suite.interface.rng import seeded_globals

CASES = [(name, {}) for name in methods.names()]
CASES += [
    ("dskd", {"hash_bias": "median"}),
    ("crd", {"bank_dtype": "float16"}),
]
SIDES = {"wkd_f": 64}  # it needs maps of several pixels
STEPS = 4


class Steps:
    """A method with its own copy of everything, trained by SGD."""

    def __init__(self, name, options):
        teacher = None if name == "scratch" else "test_resnet"
        self.setup = make_setup(teacher_name=teacher, image_size=SIDES.get(name, 32))
        method = methods.find(name)
        with seeded_globals(0, name):
            self.method = method(method.Config.model_validate(options), self.setup)
        self.stream = self.setup.draws.generator
        self.parameters = [*self.setup.student.parameters(), *self.method.parameters()]

    def inputs(self, seed):
        """Label, index and the image of each view."""
        batch = make_batch(self.setup, seed=seed, views=self.method.views())
        return batch.label, batch.index, batch.image, *batch.views.values()

    def step(self, label, index, image, *views):
        for parameter in self.parameters:
            parameter.grad = None
        batch = Batch(image, label, index, dict(zip(self.method.views(), views, strict=True)))
        outputs = run_both(self.setup, self.method, batch)
        terms = self.method.losses(batch, *outputs, make_progress())
        torch.stack(list(terms.values())).sum().backward()
        return [parameter.grad for parameter in self.parameters], self.method.diagnostics()

    def train(self, step, batches):
        """Parameters, buffers and diagnostics after every step."""
        history = []
        for inputs in batches:
            gradients, diagnostics = step(*inputs)
            with torch.no_grad():
                for parameter, gradient in zip(self.parameters, gradients, strict=True):
                    if gradient is not None:
                        parameter.sub_(0.01 * gradient)
            state = {**self.setup.student.state_dict(), **self.method.state_dict(), **diagnostics}
            history.append(copy.deepcopy(state))
        return history


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_recorded_step_trains_as_the_method_does(name, options, monkeypatch):
    # CRD's way to draw on a GPU; on a CPU numpy draws, which no tape sees
    monkeypatch.setattr(ContrastSampler, "_by_shuffle", ContrastSampler._by_keys)
    eager, recorded = Steps(name, options), Steps(name, options)
    first, *batches = (eager.inputs(seed) for seed in range(STEPS + 1))
    for steps in (eager, recorded):
        steps.step(*first)  # what a method does only at its start
    place = [tensor.clone() for tensor in first]
    replay = TapeRecorder()(lambda: recorded.step(*place), [recorded.stream])

    def replayed(*inputs):
        for tensor, value in zip(place, inputs, strict=True):
            tensor.copy_(value)
        return replay()

    expected, found = eager.train(eager.step, batches), recorded.train(replayed, batches)
    for one, other in zip(expected, found, strict=True):
        assert one.keys() == other.keys()
        different = [key for key in one if not torch.equal(one[key], other[key])]
        assert not different
