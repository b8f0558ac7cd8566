"""Policies that change a training image after its crop and flip: timm's and torchvision's own.

Shapes: C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from suite.data.base import DataError
from suite.data.views import Change
from suite.interface.errors import brief
from suite.interface.rng import seeded_libraries

TRIVIAL = "trivial"
Made = Callable[[Any], Any]  # PIL image -> PIL image


class Policy:
    """``data.auto_augment``: what it does with an image depends on (seed, epoch, index) alone."""

    def __init__(self, notation: str, mean: Sequence[float], size: int) -> None:
        """``mean`` of each channel for values in 0..1 fills what moves in; ``size`` of the side.

        Raises :class:`DataError` for a notation that timm does not read.
        """
        if len(mean) != 3:
            raise DataError(
                f"data.auto_augment {brief(notation)}: policies are for images of 3 channels, and "
                f"these have {len(mean)}"
            )
        self._made = _made(notation, tuple(min(255, round(255 * value)) for value in mean), size)

    @classmethod
    def of(cls, notation: str | None, mean: Sequence[float], size: int) -> Policy | None:
        """The policy of ``data.auto_augment``; None for none."""
        return None if notation is None else cls(notation, mean, size)

    def change(self, seed: int, epoch: int) -> Change:
        """What it does with the images of an epoch."""

        def changed(image: Any, index: int) -> Any:
            with seeded_libraries(seed, "augment", epoch, "policy", index):
                if not isinstance(image, torch.Tensor):
                    return self._made(image)
                return pil_to_tensor(self._made(to_pil_image(image)))

        return changed


@cache
def _made(notation: str, fill: tuple[int, ...], size: int) -> Made:
    from timm.data import auto_augment as timms  # seconds, for those who need it
    from torchvision.transforms import TrivialAugmentWide

    if notation == TRIVIAL:
        trivial: Made = TrivialAugmentWide()
        return trivial
    settings = {"translate_const": int(size * 0.45), "img_mean": fill}  # timm create_transform
    makers = {"rand": timms.rand_augment_transform, "augmix": timms.augment_and_mix_transform}
    make = makers.get(notation.partition("-")[0], timms.auto_augment_transform)
    try:
        made: Any = make(notation, settings)
    except (AssertionError, ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"data.auto_augment {brief(notation)}: neither {TRIVIAL!r} nor in timm's notation, "
            f"such as 'rand-m9-mstd0.5-inc1' ({type(error).__name__}: {error})"
        ) from None
    groups = made.policy if hasattr(made, "policy") else [made.ops]
    for operation in (it for group in groups for it in group):
        if operation.name.startswith("Posterize"):
            operation.aug_fn = _posterize
    changed: Made = made
    return changed


def _posterize(image: Any, bits: int, **_: Any) -> Any:
    """Keep so many bits of each value. timm asks for 0 of them at its largest magnitude, a black
    image, which Pillow 13 refuses.
    """
    from timm.data import auto_augment as timms

    if bits < 1:
        return image.point(lambda _: 0)
    return timms.posterize(image, bits)  # type: ignore[no-untyped-call]
