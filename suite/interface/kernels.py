"""What is known of torch's kernels on a GPU: which are not deterministic, how many there are."""

from __future__ import annotations

from math import ceil
from typing import Any

from torch import Tensor

NONDETERMINISTIC = {
    "avg_pool3d_backward": "AvgPool3d backward",
    "_adaptive_avg_pool2d_backward": "AdaptiveAvgPool2d backward",
    "_adaptive_avg_pool3d_backward": "AdaptiveAvgPool3d backward",
    "adaptive_max_pool2d_backward": "AdaptiveMaxPool2d backward",
    "fractional_max_pool2d_backward": "FractionalMaxPool2d backward",
    "fractional_max_pool3d_backward": "FractionalMaxPool3d backward",
    "max_unpool2d": "MaxUnpool2d",
    "max_unpool3d": "MaxUnpool3d",
    "upsample_linear1d_backward": "linear interpolation backward",
    "upsample_bilinear2d_backward": "bilinear interpolation backward",
    "_upsample_bilinear2d_aa_backward": "bilinear interpolation backward",
    "upsample_bicubic2d_backward": "bicubic interpolation backward",
    "_upsample_bicubic2d_aa_backward": "bicubic interpolation backward",
    "upsample_trilinear3d_backward": "trilinear interpolation backward",
    "reflection_pad1d_backward": "ReflectionPad1d backward",
    "reflection_pad2d_backward": "ReflectionPad2d backward",
    "reflection_pad3d_backward": "ReflectionPad3d backward",
    "nll_loss2d_forward": "NLLLoss of maps",
    "_ctc_loss_backward": "CTCLoss backward",
    "put_": "put_",
    "histc": "histc",
    "median.dim": "median with indices",
    "nanmedian.dim": "nanmedian with indices",
    "grid_sampler_2d_backward": "grid_sample backward",
    "grid_sampler_3d_backward": "grid_sample backward",
}
"""ATen's operations -> names, of those that raise on CUDA in deterministic mode: documentation of
``torch.use_deterministic_algorithms``, torch 2.15. ``bincount`` with weights and ``scatter_reduce``
other than sum and mean are in :func:`nondeterministic`. Not listed there and not known here: fused
attention, whose backward warns on a GPU."""
NO_KERNEL = {
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
    *(
        "_unsafe_view",
        "lift_fresh",
        "_local_scalar_dense",
        "set_",
    ),
}
TENSORS_AT_ONCE = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}
"""Lists of tensors -> tensors in one launch (``depth_to_max_tensors``, MultiTensorApply.cuh)."""
CHUNK, CHUNKS_AT_ONCE = 65536, 320  # values and chunks (kChunkSize, depth_to_max_blocks, ibid.)


def nondeterministic(func: Any, args: Any, kwargs: Any) -> str | None:
    """The name of an operation without a deterministic CUDA kernel, None for all others."""
    name, overload = func._schema.name.removeprefix("aten::"), func._overloadname
    if name == "bincount" and kwargs.get("weights", args[1] if len(args) > 1 else None) is not None:
        return "bincount with weights"
    if name.startswith("scatter_reduce") and args[4] not in ("sum", "mean"):
        return f"scatter_reduce {args[4]}"
    return NONDETERMINISTIC.get(name) or NONDETERMINISTIC.get(f"{name}.{overload}")


def copies_sizes(func: Any, args: Any) -> bool:
    """Whether it copies sizes from the host, which a recording forbids.

    In deterministic mode torch's ``_scatter_via_index_put`` does so for all but vectors
    (TensorAdvancedIndexing.cpp, torch 2.6); ``gather`` calls it in its backward pass.
    """
    name = func._schema.name.removeprefix("aten::").removesuffix("_")
    by_index = name in ("scatter_add", "scatter_reduce") or (
        name == "scatter" and func._overloadname.startswith("src")
    )
    return bool(by_index and args[0].ndim > 1)


def launched(func: Any, args: Any) -> int:
    """Kernels of one operation.

    None for views and empty memory, two or three for a convolution's backward pass, as many as it
    takes for lists of tensors; one for all others, which is the least that a GPU launches.
    """
    name = func._schema.name.removeprefix("aten::")
    if name in NO_KERNEL or _is_view(func):
        return 0
    if name == "convolution_backward":
        return sum(bool(wanted) for wanted in args[-1])  # gradients of input, weight and bias
    if name.startswith(("_foreach", "_fused")):
        return _of_lists(args)
    return 1


def _is_view(func: Any) -> bool:
    aliases = [it.alias_info for it in func._schema.returns]
    return any(it is not None and not it.is_write for it in aliases)


def _of_lists(args: Any) -> int:
    lists: list[list[Tensor]] = [
        it for it in args if isinstance(it, list) and it and isinstance(it[0], Tensor)
    ]
    tensors = TENSORS_AT_ONCE[min(max(len(lists), 1), 5)]
    chunks = sum(ceil(it.numel() / CHUNK) for it in lists[0])
    return max(ceil(len(lists[0]) / tensors), ceil(chunks / CHUNKS_AT_ONCE))
