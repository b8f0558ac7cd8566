"""How and where to run: what changes no number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from suite.config_base import Closed

Determinism = Literal["require", "prefer", "off"]


class Runtime(Closed):
    """How and where to run; nothing here changes a result beyond floating-point order."""

    runs_root: Path = Path("runs")
    data_root: Path = Path("data")
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = Field(1, ge=1)
    nodes: int = Field(1, ge=1)
    threads: int | None = Field(None, ge=1)
    """CPU threads of torch in one run. Their number changes the last bits of sums on a CPU, so None
    is one thread there, however a run is started and whatever else the machine trains; several
    runs train side by side instead. Beside a GPU None leaves torch's choice."""
    fast: bool = True
    """What changes no number beyond floating-point order: the frozen teacher's batch normalisation
    folded into its convolutions, channels_last where it pays, the optimizer in one kernel."""
    pack: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = "auto"
    """At most so many runs that share images, order and teacher train side by side in one process.
    ``auto``: 8 on a GPU, 4 on a CPU, fewer where that would leave workers idle; image folders 1."""
    graphs: bool = True
    """One GPU: whole steps are recorded and replayed as CUDA graphs, where the method allows it."""
    deterministic: Determinism = "prefer"
    """Deterministic kernels, so that a resumed run ends with the same bits. ``prefer``: where there
    are any; the record claims the same bits only if every operation had one (on a CPU always, see
    ``docs/run_store.md``). ``require``: an operation without one fails the run, so that what ends
    has the same bits. ``off``: the fastest kernels, and nothing is claimed."""
    workers: int | None = Field(None, ge=0)
    """Data-loading processes of each rank of a run (image folders only); None: the cores of the
    machine or of the SLURM job, shared among the processes that train on them."""
    checkpoint_seconds: float = Field(60.0, ge=0)
    """Save at the end of the first step after so many seconds, and after the last epoch."""
    feature_epochs: int = Field(6, ge=0)
    """Keep the features after so many epochs (8 kB a feature and epoch); 0: only at the end."""
    stage_features: bool = False
    """Keep the features of all stages of both networks, for the similarity of their layers."""
    tracker: str = "wandb"
    """Where runs are shown while they train: a file of ``suite/tracking/trackers``, or ``none``."""

    @property
    def data_cache(self) -> Path:
        """What is known of large image folders; no experiment has a name with a dot before it."""
        return self.runs_root / ".data"
