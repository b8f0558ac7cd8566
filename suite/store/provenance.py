"""Where a number came from: code, versions, device."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import PIL
import torch
from PIL import features as pillow

from suite import methods
from suite.store import source
from suite.store.commit import git_state

RUN = "suite.train.run"
"""All that a run imports, directly or not, can change its numbers, but for :data:`NO_NUMBERS`."""
NO_NUMBERS = {
    "suite.interface.errors": "texts of errors",
    "suite.device.machine": "says what the machine has",
    "suite.device.memory": "refuses methods that need more memory than there is",
    "suite.store.commit": "says which commit the code is",
    "suite.store.provenance": "says where numbers come from",
    "suite.store.source": "finds and hashes the code",
}
"""Modules that a run imports and that cannot change its numbers, with the reason."""
LIBRARIES = ("dskd-bench", "torch", "torchvision", "timm", "lightning-fabric", "numpy")


def provenance(
    device: torch.device, method: str | None = None, found_by_name: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Commit, code, versions and device, for the record; see :func:`code_of_run`."""
    code = code_of_run(method, found_by_name)
    return {
        **git_state(),
        "source_sha256": source.combined(code),
        "source_modules": code,
        "versions": library_versions(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "hostname": platform.node(),
    }


@functools.cache
def code_of_run(method: str | None = None, found_by_name: tuple[str, ...] = ()) -> dict[str, str]:
    """Module -> hash, for all modules that can change the numbers of a run of ``method``.

    These are what :data:`RUN`, the method's own file and the modules ``found_by_name`` (the data
    set's) import; other methods and data sets are not among them.
    The files are read when this is first asked for, so ask before training.
    """
    packages = dict(source.RUNS)
    own = (*(() if method is None else methods.modules(method)), *found_by_name)
    for package in {name.partition(".")[0] for name in own} - set(packages):  # installed
        module_spec = find_spec(package)
        if module_spec is not None and module_spec.origin is not None:
            file = Path(module_spec.origin)
            packages[package] = file.parents[1] if file.stem == "__init__" else file.parent
    return source.hashes(source.behind((RUN, *own), packages, NO_NUMBERS))


def library_versions() -> dict[str, str | None]:
    """Versions of Python and of all libraries that can change numbers."""
    versions = {library: _version(library) for library in LIBRARIES}
    return {"python": platform.python_version(), **versions, **decoder_versions()}


def decoder_versions() -> dict[str, str]:
    """Pillow, which decodes and resizes image files here, and what it decodes JPEG and WebP with.

    Pillow-SIMD, which has the same module name, has its own name here.
    """
    turbo = pillow.check_feature("libjpeg_turbo")
    versions = {
        "pillow" if _version("pillow-simd") is None else "pillow-simd": PIL.__version__,
        "libjpeg-turbo" if turbo else "libjpeg": (
            pillow.version_feature("libjpeg_turbo") if turbo else pillow.version_codec("jpg")
        ),
        "libwebp": pillow.version("webp"),
    }
    return {name: str(number) for name, number in versions.items() if number is not None}


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({_cpu_model()})"


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
