"""Where a number came from: code, versions, device."""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from suite.record import read_json

PACKAGES = ("suite", "baselines")
"""The code that decides what a run computes; sweeps and analysis do not."""
GIT_NOTE = "git.json"
"""Beside the packages of a copy: what :func:`git_state` says of the original."""
LIBRARIES = ("dskd-bench", "torch", "torchvision", "timm", "lightning-fabric", "numpy")


def provenance(device: torch.device) -> dict[str, Any]:
    """Commit, source hash, versions and device, for the run's record."""
    return {
        **git_state(),
        "source_sha256": source_sha256(),
        "versions": {"python": platform.python_version(), **_versions()},
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "hostname": platform.node(),
    }


@functools.cache
def source_sha256() -> str:
    """Hash of the Python files that decide what a run computes (names and bytes)."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


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


def git_state() -> dict[str, Any]:
    """Commit of the code and whether it has changed since; a copy has them noted when made."""
    root = Path(__file__).resolve().parent.parent
    noted: dict[str, Any] | None = read_json(root / GIT_NOTE)
    if noted is not None:
        return noted
    commit = _git_output(root, "rev-parse", "HEAD")
    changes = _git_output(root, "status", "--porcelain", "--", *PACKAGES)
    return {"git_commit": commit, "git_dirty": None if changes is None else bool(changes)}


def _git_output(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = None
    return found
