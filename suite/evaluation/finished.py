"""A finished run as a network again, for images of any kind.

Shapes: B images, C channels, S side of an image, D width of the pooled feature, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from suite import data, models
from suite.config import DataConfig, RunSpec, Runtime, parse
from suite.data import sets
from suite.data.folder import SIZE
from suite.interface.errors import UserError
from suite.interface.rng import generator, seeded_globals
from suite.interface.taps import TappedModel
from suite.models import BareTask
from suite.store.record import RunDirectory
from suite.train.build import build_distiller, make_fabric
from suite.train.footprint import PASS_IMAGES

LUMINANCE = (0.299, 0.587, 0.114)
"""Of red, green and blue (ITU-R BT.601), as Pillow turns colours to grey."""


@dataclass(frozen=True)
class FinishedRun:
    """What a run has trained, frozen and in evaluation mode on its device."""

    spec: RunSpec
    fabric: Fabric
    task: BareTask
    """What the run was trained for."""
    body: TappedModel
    """The student, whose features can be read."""
    deployed: nn.Module
    """Normalised images [B, C, S, S] -> logits [B, K]; the student, or what the method ships."""

    def normalised(self, pixels: Tensor) -> Tensor:
        """Pixel values as the network knows them from its training.

        Args:
            pixels: [B, 1 or 3, S, S] in 0..1. Colours become grey by their luminance, grey becomes
                three equal colours, where the network wants it.

        Returns:
            [B, C, S, S] on the run's device.

        Raises:
            UserError: A number of channels that cannot be changed into the network's.
        """
        mean, std = (
            torch.tensor(it, device=self.fabric.device).view(-1, 1, 1)
            for it in (self.task.mean, self.task.std)
        )
        pixels = pixels.to(self.fabric.device)
        return (with_channels(pixels, self.task.image_shape[0]) - mean) / std

    @torch.no_grad()
    def pooled(self, pixels: Tensor) -> Tensor:
        """What enters the student's classifier: [B, D] float32, of ``pixels`` [B, ., S, S]."""
        with self.fabric.autocast():
            outputs = self.body(self.normalised(pixels), ("pooled",))
        return torch.as_tensor(outputs.float()["pooled"])


def read(run: RunDirectory, runtime: Runtime) -> FinishedRun:
    """Build the network of a finished run and load its weights.

    Args:
        run: Where it lies.
        runtime: The device; where teachers and data are, which are needed only for methods that
            ship more than the student.

    Returns:
        The run, ready for images.

    Raises:
        UserError: The run is not finished, its files are damaged, or the weights do not fit.
    """
    spec = parse(RunSpec, run.read_config() or {}, str(run.config))
    weights = models.weights_of_run(run, f"run {run.path}")
    fabric = make_fabric(spec.config, runtime)
    task = task_of(spec.config.data)
    student = spec.config.student.model_copy(update={"initial": None})
    with seeded_globals(0, "evaluation"):
        body = models.create(student, task).to(fabric.device)
    deployed: nn.Module = body.model
    if weights.keys() != deployed.state_dict().keys():
        deployed = _shipped(spec, runtime, fabric, body)
    models.load_weights(deployed, weights, f"run {run.path}")
    for network in (body, deployed):
        network.eval().requires_grad_(False)
    return FinishedRun(spec, fabric, task, body, deployed)


def task_of(config: DataConfig) -> BareTask:
    """Classes, size and normalisation of a run's images, without reading one.

    Args:
        config: The run's.

    Returns:
        What networks are made for.

    Raises:
        DataError: There is no such data set.
    """
    normalisation = data.normalisation(config.name)
    if data.in_folders(config.name):
        data.require_contents(config)
        classes = config.contents.classes if config.contents is not None else 0
        channels, size = len(normalisation.mean), SIZE
    else:
        source = sets.find(config.name)
        classes, channels, size = config.classes or source.num_classes, source.channels, source.size
    side = config.image_size or size
    return BareTask(classes, (channels, side, side), normalisation.mean, normalisation.std)


def with_channels(pixels: Tensor, channels: int) -> Tensor:
    """Grey images in colour or colours in grey.

    Args:
        pixels: [B, 1 or 3, S, S] in 0..1.
        channels: 1 or 3.

    Returns:
        [B, channels, S, S]

    Raises:
        UserError: Another number of channels.
    """
    if pixels.shape[1] == channels:
        return pixels
    if (pixels.shape[1], channels) == (1, 3):
        return pixels.expand(-1, 3, -1, -1)
    if (pixels.shape[1], channels) == (3, 1):
        weights = torch.tensor(LUMINANCE, device=pixels.device).view(1, 3, 1, 1)
        return (pixels * weights).sum(dim=1, keepdim=True)
    raise UserError(
        f"images of {pixels.shape[1]} channels for a network of {channels}: allowed are 1 and 3"
    )


def _shipped(spec: RunSpec, runtime: Runtime, fabric: Fabric, body: TappedModel) -> nn.Module:
    """The network of a method that ships more than the student, with weights still to be loaded."""
    config = spec.config
    images = config.data.model_copy(update={"eval_splits": ()})
    loaded = data.load(images, runtime.data_root, cache=runtime.data_cache)
    teacher = None
    if config.teacher is not None:
        teacher = models.load_teacher(config.teacher, loaded, runtime.runs_root).to(fabric.device)
    stream = generator(0, "evaluation", device=fabric.device)
    method = build_distiller(config, loaded, body, teacher, fabric, stream, PASS_IMAGES)
    return method.deploy(body)
