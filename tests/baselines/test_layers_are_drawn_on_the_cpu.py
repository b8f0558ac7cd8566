"""What a method draws when it is made comes from a seeded generator, on a GPU as on a CPU.

While methods are made, torch's global generator of the CPU is seeded; those of GPUs are not. So
nothing may be drawn on a device named in the code without a generator. Found without a GPU, since
the device is named all the same.
"""

import pytest
import torch
from method_setup import make_setup
from torch.overrides import TorchFunctionMode

from suite import methods

RANDOM = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like"}
IN_PLACE = {"uniform_", "normal_", "random_", "bernoulli_", "exponential_", "log_normal_"}
IN_PLACE |= {name for name in dir(torch.nn.init) if name.endswith(("uniform_", "normal_"))}


class NoUnseededDraws(TorchFunctionMode):
    """Raises AssertionError at one."""

    def __init__(self):
        super().__init__()
        self._placed = []  # made on a device that was named; kept, so that no memory is used again

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        placed = kwargs.get("device") is not None or name.endswith("_like")
        if kwargs.get("generator") is None:
            assert not (name in RANDOM and placed), f"{name} on a device without a generator"
            drawn = args[0] if args else kwargs.get("tensor")  # torch.nn.init's name for it
            there = name in IN_PLACE and any(
                drawn.data_ptr() == tensor.data_ptr() for tensor in self._placed
            )
            assert not there, f"{name} of a tensor on a device without a generator"
        out = func(*args, **kwargs)
        if placed and isinstance(out, torch.Tensor):
            self._placed.append(out)
        return out


CASES = [(name, {}) for name in methods.names()]
CASES += [("dskd", {"teacher_head": "untrained"}), ("lshfm", {"hash_bits": 64})]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_method_draws_nothing_on_the_device_without_a_generator(name, options):
    side = 64 if name == "wkd_f" else 32  # it needs maps of several pixels
    method, setup = methods.find(name), make_setup(image_size=side)
    with NoUnseededDraws():
        method(method.Config.model_validate(options), setup)


def test_such_a_draw_is_found():
    place = torch.device("cpu")
    for draw in (
        lambda: torch.randn(2, device=place),
        lambda: torch.rand_like(torch.zeros(2)),
        lambda: torch.nn.Linear(2, 2, device=place),
        lambda: torch.empty(2, device=place).uniform_(),
        lambda: torch.nn.init.kaiming_uniform_(torch.empty(2, 2, device=place)),
    ):
        with NoUnseededDraws(), pytest.raises(AssertionError, match="without a generator"):
            draw()
    with NoUnseededDraws():
        torch.nn.Linear(2, 2).to(place)
        torch.randn(2, generator=torch.Generator(place), device=place)
