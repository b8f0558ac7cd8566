"""Memory that a method needs for the training set as a whole, against what a device has."""

from __future__ import annotations

import torch

from suite import methods
from suite.config import MethodSpec
from suite.device.machine import memory_bytes
from suite.interface.errors import UserError


def kept(method: MethodSpec, train_size: int) -> int:
    """Bytes that the method keeps for so many training images (:meth:`Distiller.memory`)."""
    kind = methods.find(method.name)
    return kind.memory(kind.Config.model_validate(method.options), train_size)


def of_device(device: torch.device) -> int:
    """Bytes of a GPU; for a CPU those of the machine, or of the container or job on it."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return memory_bytes()


def require(method: MethodSpec, train_size: int, room: int) -> None:
    """Raise :class:`UserError` if the method alone keeps more than ``room`` bytes."""
    needed = kept(method, train_size)
    if needed > room:
        raise UserError(
            f"method {method.name}: keeps {readable(needed)} for {train_size:,} training images, "
            f"and the device has {readable(room)}"
        )


def note(method: MethodSpec, train_size: int, least: int = 10**9) -> str | None:
    """A line on what the method keeps, None below ``least`` bytes."""
    needed = kept(method, train_size)
    if needed < least:
        return None
    return (
        f"{method.name} keeps {readable(needed)} on the device for {train_size:,} training images"
    )


def readable(size: int) -> str:
    """Bytes as a person reads them."""
    return f"{size / 1e9:.1f} GB" if size >= 10**8 else f"{size / 1e6:.1f} MB"
