"""Whether this machine can do what the suite asks of it, with a cure for each fault.

Every check is a function that looks at one thing and returns findings; none changes anything.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from suite.interface.errors import UserError

Grade = Literal["ok", "note", "fault"]
LEAST_FREE_BYTES = 2 * 10**9  # of the disk that keeps the runs
LEAST_SHARED_BYTES = 2 * 10**9  # of /dev/shm, through which loading processes hand over images


@dataclass(frozen=True)
class Finding:
    """What one check saw."""

    subject: str
    grade: Grade
    """``note``: works, but somebody may want it otherwise. ``fault``: something will fail."""
    text: str
    cure: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What the checks look at beside the machine itself."""

    runs_root: Path
    data_root: Path
    cluster: Path | None = None
    shared_memory: Path = Path("/dev/shm")


def examine(surroundings: Surroundings) -> Iterator[Finding]:
    """Every check, in the order of a run: a check that raises is itself a finding."""
    for check in CHECKS:
        try:
            yield from check(surroundings)
        except Exception as error:  # noqa: BLE001  (the other checks go on)
            yield Finding(check.__name__, "fault", f"{type(error).__name__}: {error}".strip())


def python_and_packages(_: Surroundings) -> Iterator[Finding]:
    """Python and every package that pyproject.toml asks for, against its floor."""
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    for text in metadata.requires("dskd-bench") or []:
        wanted = Requirement(text)
        if wanted.marker is not None:  # an extra, which nobody has to have
            continue
        install = f"pip install '{wanted}'"
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            yield Finding(wanted.name, "fault", "not installed", install)
            continue
        fits = wanted.specifier.contains(version, prereleases=True)
        needed = "" if fits else f", needed: {wanted.specifier}"
        yield Finding(wanted.name, "ok" if fits else "fault", version + needed, install)


def torch_and_torchvision(_: Surroundings) -> Iterator[Finding]:
    """timm imports torchvision, whose operators exist for one build of torch alone."""
    import torch

    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        cure = "install both from the same index, in versions that belong together"
        reason = " ".join(str(error).split())
        text = f"does not load beside torch {torch.__version__}: {reason}"
        yield Finding("torchvision", "fault", text, cure)
        return
    versions = f"torch {torch.__version__} and torchvision {torchvision.__version__}"
    yield Finding("torchvision", "ok", f"{versions} load together")


def devices(_: Surroundings) -> Iterator[Finding]:
    """Cores, memory and GPUs that this process may use."""
    import torch

    from suite.device.machine import Machine

    machine = Machine.here("auto")
    yield Finding("machine", "ok", str(machine))
    if shutil.which("nvidia-smi") and not machine.gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hidden = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible!r})"
        text = f"a driver is here, torch (CUDA {torch.version.cuda}) sees no GPU{hidden}"
        cure = "install a torch for this driver's CUDA, or unset the variable"
        yield Finding("gpu", "fault", text, cure)
    for number, name in enumerate(machine.gpus):
        card = torch.cuda.get_device_properties(number)
        yield Finding("gpu", "ok", f"{name}: {card.name}, {card.total_memory / 1e9:.0f} GB")


def shared_memory(surroundings: Surroundings) -> Iterator[Finding]:
    """Loading processes of image folders hand batches over through shared memory."""
    folder = surroundings.shared_memory
    if not folder.is_dir():
        return
    total = shutil.disk_usage(folder).total
    grade: Grade = "ok" if total >= LEAST_SHARED_BYTES else "note"
    cure = "for image folders: --workers 0, or start the container with --shm-size=8g"
    yield Finding("shared memory", grade, f"{folder}: {total / 1e9:.1f} GB", cure)


def run_store(surroundings: Surroundings) -> Iterator[Finding]:
    """The run store must take files, replace them in one step, and have room."""
    root = surroundings.runs_root
    existing = next(folder for folder in (root, *root.resolve().parents) if folder.is_dir())
    cure = "another place: --runs-root or DSKD_RUNS_ROOT"
    try:
        with tempfile.TemporaryDirectory(dir=existing) as folder:
            target, replacement = Path(folder, "old"), Path(folder, "new")
            target.write_text("old")
            replacement.write_text("new")
            replacement.replace(target)
    except OSError as error:
        yield Finding("run store", "fault", f"{root}: cannot be written: {error.strerror}", cure)
        return
    free = shutil.disk_usage(existing).free
    grade: Grade = "ok" if free >= LEAST_FREE_BYTES else "fault"
    yield Finding("run store", grade, f"{root}: {free / 1e9:.1f} GB free", cure)


def data_sets(surroundings: Surroundings) -> Iterator[Finding]:
    """Which data sets can be trained on now."""
    from suite import data
    from suite.data.listing import ELSEWHERE

    for name in data.names(surroundings.data_root):
        *_, files = data.describe(name, surroundings.data_root)
        folder = Path(files.partition("{")[0])  # of image folders: before {train,val}
        if files == data.NO_FILES or folder.exists():
            yield Finding(f"data: {name}", "ok", files)
        else:
            yield Finding(f"data: {name}", "note", f"{folder} is not there", ELSEWHERE)


def slurm(surroundings: Surroundings) -> Iterator[Finding]:
    """Whether SLURM answers, keeps accounts, and what its jobs would ask for."""
    from sweeps.slurm.cluster import Cluster
    from sweeps.slurm.jobs import available

    if shutil.which("sbatch") is None:
        yield Finding("slurm", "note", "not installed: sweeps run as processes of this machine")
    elif not available():
        cure = "ask `scontrol ping`; until it does: --executor local"
        yield Finding("slurm", "fault", "sbatch is here, its controller does not answer", cure)
    elif shutil.which("sacct") is None:
        yield Finding("slurm", "note", "answers, without accounting (sacct): ends of jobs unknown")
    else:
        yield Finding("slurm", "ok", "answers")
    try:
        wanted = Cluster.load(surroundings.cluster)
    except UserError as error:
        yield Finding("cluster file", "fault", str(error), "see sweeps/clusters/default.yaml")
        return
    asks = f"{wanted.gpus} GPUs, {wanted.cpus} cpus, {wanted.memory_gb} GB, {wanted.minutes} min"
    yield Finding("cluster file", "ok", f"a job asks for {asks}")


def tracker(_: Surroundings) -> Iterator[Finding]:
    """Where W&B would send runs; nothing is asked of the network."""
    from suite.tracking.wandb_destination import Destination

    try:
        target = Destination.from_environment(os.environ)
    except UserError as error:
        yield Finding("W&B", "fault", str(error))
        return
    if target.mode == "offline" and not target.has_key:
        yield Finding("W&B", "note", "no key: runs are kept offline", "wandb login, then sync")
    else:
        where = f", {target.base_url}" if target.base_url else ""
        yield Finding("W&B", "ok", f"{target.mode}{where}, project {target.project}")


STYLES = {"ok": "green", "note": "yellow", "fault": "bold red"}
Check = Callable[[Surroundings], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    python_and_packages,
    torch_and_torchvision,
    devices,
    shared_memory,
    run_store,
    data_sets,
    slurm,
    tracker,
)


def line(finding: Finding) -> Any:
    """One line; the cure of what is not well at its end."""
    from rich.text import Text

    cure = "" if finding.grade == "ok" or not finding.cure else f" -> {finding.cure}"
    return Text.assemble(
        (f"{finding.grade:7}", STYLES[finding.grade]), f"{finding.subject:21} {finding.text}{cure}"
    )
