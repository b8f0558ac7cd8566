"""From an image file to the pixels of a view, in one of two ways.

``pillow`` is torchvision's ImageFolder with Pillow images, byte for byte. ``torchvision`` decodes
JPEG files with torchvision's own decoder into tensors that are resized as bytes: the same crops,
pixels that differ by rounding, in half the time. Shapes: H and W of the file, S side of a view.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision import transforms
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.functional import center_crop, pil_to_tensor

from suite.data import shards
from suite.data.base import DataError

RESIZE_RATIO = 256 / 224  # Resize(256), CenterCrop(224)
JPEG = b"\xff\xd8\xff"
"""How a JPEG file begins."""
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # of random crops (Szegedy et al. 2015)


class Reader(NamedTuple):
    """The steps of one way; images are whatever ``decode`` gives."""

    decode: Callable[[str], Any]  # a file's RGB image; raises DataError
    random: Callable[[Any], Any]  # crop of random size, mirrored at random; global random stream
    plain: Callable[[Any], Any]  # the middle
    to_bytes: Callable[[Any], Tensor]  # [3, S, S] uint8


def reader(decoder: str | None, size: int) -> Reader:
    """Of views with ``size`` pixels a side; ``decoder`` as :class:`suite.config.DataConfig`'s."""
    if decoder is None:
        random = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
        plain = [transforms.Resize(round(size * RESIZE_RATIO)), transforms.CenterCrop(size)]
        return Reader(decode, transforms.Compose(random), transforms.Compose(plain), pil_to_tensor)
    tensors = _Tensors(size)
    return Reader(decode_as_tensor, tensors.random, tensors.plain, _as_it_is)


def decode(path: str) -> Image.Image:
    """The RGB image. Raises :class:`DataError` for all that Pillow raises on damaged files."""
    try:
        with shards.opened(path) as file:
            image = Image.open(file).convert("RGB")
    except UnidentifiedImageError:
        raise DataError(f"image {path} cannot be read: it is no image that Pillow knows") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"image {path} cannot be read: {reason}") from None
    return image


def decode_as_tensor(path: str) -> Tensor:
    """The RGB image [3, H, W] uint8; what the JPEG decoder refuses, Pillow reads or explains."""
    try:
        content = shards.content(path)
        if content.startswith(JPEG):
            raw = torch.frombuffer(bytearray(content), dtype=torch.uint8)
            decoded: Tensor = decode_jpeg(raw, mode=ImageReadMode.RGB)
            return decoded
    except (OSError, RuntimeError):
        pass
    tensor: Tensor = pil_to_tensor(decode(path))
    return tensor


def _as_it_is(image: Tensor) -> Tensor:
    return image


class _Tensors:
    """Views of tensors: crops are resized as bytes, without a copy before."""

    def __init__(self, size: int) -> None:
        self._size = size

    def random(self, image: Tensor) -> Tensor:
        """With the draws of torchvision's RandomResizedCrop and RandomHorizontalFlip."""
        top, left, height, width = transforms.RandomResizedCrop.get_params(
            image, list(AREA), list(ASPECT)
        )
        crop = image[:, top : top + height, left : left + width]
        view = _resized(crop, self._size, self._size)
        return view.flip(2) if float(torch.rand(1)) < 0.5 else view

    def plain(self, image: Tensor) -> Tensor:
        """As torchvision's Resize and CenterCrop."""
        height, width = image.shape[1:]
        shorter = round(self._size * RESIZE_RATIO)
        scaled = [shorter * side // min(height, width) for side in (height, width)]
        view: Tensor = center_crop(_resized(image, *scaled), [self._size, self._size])
        return view


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    size = (height, width)
    return interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]
