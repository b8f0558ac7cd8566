"""Images in the normalisation of the network, whatever that of the data set is.

A network that was trained elsewhere expects images normalised with its own mean and standard
deviation. The batch keeps the data set's normalisation, since teacher and students share it; the
network converts it to its own, with one multiply-add on its input.

Shapes: B images, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from suite.config import Normalisation
from suite.models.pretrained import weights_of


def of_pretrained(name: str, channels: int) -> Normalisation | None:
    """What timm's weights of a network were trained with; None where timm has no weights of it.

    For images with another number of channels it is the mean over the weights' channels.
    """
    weights = weights_of(name)
    if weights is None:
        return None

    def fitted(values: Sequence[float]) -> tuple[float, ...]:
        same = len(values) == channels
        return tuple(values) if same else (sum(values) / len(values),) * channels

    return Normalisation(mean=fitted(weights.mean), std=fitted(weights.std))


def apply(model: nn.Module, of_network: Normalisation, of_data: Normalisation) -> None:
    """Have a network renormalise its images from ``of_data`` to ``of_network``.

    Names of weights and the network's state stay as they are.
    """
    mean, std = torch.tensor(of_network.mean), torch.tensor(of_network.std)
    gain = torch.tensor(of_data.std) / std
    shift = (torch.tensor(of_data.mean) - mean) / std
    model.register_buffer("input_gain", gain.view(-1, 1, 1), persistent=False)  # [C, 1, 1]
    model.register_buffer("input_shift", shift.view(-1, 1, 1), persistent=False)
    network: Any = type(model)
    model.__class__ = _renormalising(network)


@cache
def _renormalising(network: Any) -> type[nn.Module]:
    """A subclass whose two methods that take images renormalise them first."""

    class Renormalising(network):  # type: ignore[misc]
        def forward_features(self, x: Tensor, *args: Any, **options: Any) -> Any:
            return super().forward_features(_renormalised(self, x), *args, **options)

        def forward_intermediates(self, x: Tensor, *args: Any, **options: Any) -> Any:
            return super().forward_intermediates(_renormalised(self, x), *args, **options)

    Renormalising.__name__ = Renormalising.__qualname__ = network.__name__
    Renormalising.__module__ = network.__module__
    return Renormalising


def _renormalised(model: Any, image: Tensor) -> Tensor:
    """[B, C, H, W] from the data set's normalisation to the network's."""
    return torch.addcmul(model.input_shift, image, model.input_gain)
