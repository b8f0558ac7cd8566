"""The time of a step on an H100 by a model, from operations that were counted; nothing measured.

An operation takes the longest of three: its FLOPs at a sustained rate, its bytes at a sustained
bandwidth, and its kernels at the least that one takes within a CUDA graph. One kernel follows the
other. What is launched one by one costs the host's time, which nothing hides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suite.interface.absent_gpu import Operation

BANDWIDTH = 3.35e12
"""Bytes a second (NVIDIA's data sheet of the H100 SXM, 80 GB HBM3)."""
BANDWIDTH_SHARE = 0.8
"""Assumed: what simple kernels reach of it. Maps that stay in the 50 MB of cache come faster."""
KERNEL_SECONDS = 2e-6
"""Assumed: the least from one kernel to the next within a graph."""
LAUNCH_SECONDS = 5e-6
"""Assumed: a launch from Python outside of a graph, the replay of a graph included."""


@dataclass(frozen=True)
class Arithmetic:
    """How a precision computes."""

    peak: float
    """FLOP/s of the data sheet, dense."""
    share: float
    """Assumed: what convolutions of 16 to 128 channels reach of it."""
    width: float = 1.0
    """Bytes moved, of those in float32."""

    def seconds(self, operations: Sequence[Operation]) -> float:
        """Of a step that asks for these operations."""
        recorded = (it for it in operations if it.recorded)
        outside = sum(it.launches for it in operations if not it.recorded)
        return sum(map(self._of_one, recorded)) + outside * LAUNCH_SECONDS

    def _of_one(self, operation: Operation) -> float:
        return max(
            operation.flops / (self.share * self.peak),
            self.width * operation.moved / (BANDWIDTH_SHARE * BANDWIDTH),
            operation.launches * KERNEL_SECONDS,
        )


ARITHMETIC = {
    "float32": Arithmetic(peak=67e12, share=0.5),
    "TF32": Arithmetic(peak=495e12, share=0.3),
    "bf16": Arithmetic(peak=989e12, share=0.3, width=0.5),
}
"""bf16 as a bound: all maps in half the bytes, and none of the casts, which are not counted."""


def products(operations: Sequence[Operation]) -> list[Operation]:
    """Those that would be left if convolutions and matrix products did all the rest in passing."""
    return [it for it in operations if it.flops or not it.recorded]


def floor_seconds(operations: Sequence[Operation]) -> float:
    """Of kernels that compute and move nothing: what their number alone costs."""
    inside = sum(it.launches for it in operations if it.recorded)
    outside = sum(it.launches for it in operations if not it.recorded)
    return inside * KERNEL_SECONDS + outside * LAUNCH_SECONDS
