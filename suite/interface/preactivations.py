"""Where in a network a stage's map is before its last activation, seen in one forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


@dataclass(frozen=True)
class Place:
    """A tensor of a forward pass: what a module takes (before it overwrites it) or gives."""

    module: nn.Module
    given: bool

    def watch(self, name: str, found: dict[str, Tensor]) -> RemovableHandle:
        """Keep the tensor under ``name`` in ``found`` from now on; the handle ends it."""
        if self.given:
            return self.module.register_forward_hook(
                lambda _, __, out: found.__setitem__(name, out)
            )
        overwrites = getattr(self.module, "inplace", False)
        return self.module.register_forward_pre_hook(
            lambda _, args: found.__setitem__(name, args[0].clone() if overwrites else args[0])
        )


class Watch:
    """Sees which activations and batch normalisations take and give which tensors."""

    def __init__(self, model: nn.Module) -> None:
        kinds = (nn.ReLU, nn.ReLU6, nn.BatchNorm2d)
        self._modules = [it for it in model.modules() if isinstance(it, kinds)]
        self._calls: list[tuple[nn.Module, Tensor, Tensor]] = []

    def __enter__(self) -> Self:
        def note(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
            self._calls.append((module, args[0], out))

        self._handles = [module.register_forward_hook(note) for module in self._modules]
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    def preactivation(self, stage: Tensor) -> Place | None:
        """Where the stage's map is before its last activation; None where it is the map itself."""
        for module, _, given in reversed(self._calls):
            if not isinstance(module, nn.BatchNorm2d) and _same(given, stage):
                return Place(module, given=False)
        for module, taken, _ in self._calls:
            if isinstance(module, nn.BatchNorm2d) and _same(taken, stage):
                return Place(module, given=True)
        return None


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape
