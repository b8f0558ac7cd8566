"""Stage features, pooled feature and logits of any timm classifier in one forward pass.

Names of the taps:

``stage0`` .. ``stageN``
    Feature maps [C, H, W] in the order of the model's own ``feature_info``. A network with a stem
    entry has it as ``stage0``, so ``stage2`` is ``layer2`` of a ResNet. Networks whose blocks all
    have one resolution (ViT, MLP-Mixer) have four: the ends of the four quarters of their depth.
``stage0_preact`` .. ``stageN_preact``
    The same before its last activation: what enters the ReLU that ends the stage; for networks
    that activate first (wide ResNet), the stage after the batch normalisation that reads it; the
    stage itself where it ends in neither.
``map``
    The last feature map [C, H, W], as the head reads it (patch tokens laid out as a map).
``pooled``
    The input [D] of the final linear classifier.
``logits``
    The output [K]; always there. K is 0 for a network without a classifier (timm's
    ``num_classes=0``), whose ``pooled`` is what a classifier would read.

Everything comes from timm's ``feature_info``, ``forward_features``, ``forward_intermediates``,
``forward_head`` and ``get_classifier``: no list of model names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from suite.interface.errors import UserError
from suite.interface.preactivations import Place, Watch

PREACT = "_preact"


class UnsupportedModel(UserError):
    """The model does not offer what was asked of it; the message says what."""


@dataclass(frozen=True)
class Outputs:
    """What one network says about one batch."""

    logits: Tensor
    """[B, K]."""
    taps: dict[str, Tensor] = field(default_factory=dict)
    """Name of the tap -> [B, ...]."""
    views: dict[str, Outputs] = field(default_factory=dict)
    """Name of a further view of the images (``Distiller.views``) -> outputs for it."""

    def __getitem__(self, tap: str) -> Tensor:
        return self.taps[tap]

    def float(self) -> Outputs:
        """The same outputs in float32, the precision of every loss."""
        return Outputs(
            self.logits.float(),
            {name: tap.float() for name, tap in self.taps.items()},
            {name: view.float() for name, view in self.views.items()},
        )


class TappedModel(nn.Module):
    """A timm classifier whose forward returns :class:`Outputs`.

    The constructor runs one image of zeros through the network to learn the shapes.

    Args:
        model: A timm classifier.
        image_shape: (channels, height, width) of one input.

    Raises:
        UnsupportedModel: The network has no single linear classifier.
    """

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.model: Any = model
        self.image_shape = image_shape
        self._stages = _stage_indices(model)
        self._preacts: dict[str, Place] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        """Shape of every tap without the batch axis, ``logits`` included."""
        self.shapes = self._probe()
        self.head = Head(self)

    @property
    def classifier(self) -> nn.Linear | nn.Conv2d:
        """The final linear layer: nn.Linear, or an equivalent 1x1 convolution.

        Raises:
            UnsupportedModel: The classifier is something else.
        """
        layer = self.model.get_classifier()
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            raise UnsupportedModel(
                f"{type(self.model).__name__}: needs one linear classifier, "
                f"has {type(layer).__name__}"
            )
        return layer

    @property
    def has_classifier(self) -> bool:
        """False for timm's ``num_classes=0``: it gives features alone."""
        return not isinstance(self.model.get_classifier(), nn.Identity)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stage taps, shallow to deep."""
        return tuple(self._stages)

    @property
    def widest(self) -> int:
        """Values of one image's largest stage."""
        return max(math.prod(self.shapes[stage]) for stage in self.stages)

    def check(self, taps: Sequence[str]) -> None:
        """Refuse taps that this network does not have.

        Args:
            taps: Names of taps.

        Raises:
            UnsupportedModel: One of them does not exist; the message lists those that do.
        """
        for tap in taps:
            if tap not in self.shapes:
                raise UnsupportedModel(
                    f"{type(self.model).__name__} has no tap {tap!r}, only {', '.join(self.shapes)}"
                )

    def forward(self, image: Tensor, taps: Sequence[str] = ()) -> Outputs:
        """One forward pass.

        Args:
            image: [B, channels, H, W].
            taps: Names of inner activations to return beside the logits.

        Returns:
            Logits [B, K] and the taps asked for, each [B, ...].

        Raises:
            UnsupportedModel: A tap does not exist.
        """
        self.check(taps)
        found: dict[str, Tensor] = {}
        last_layer = self.classifier if self.has_classifier else self.model.get_classifier()
        handles = [
            last_layer.register_forward_pre_hook(
                lambda _, args: found.__setitem__("pooled", args[0].flatten(1))
            )
        ]
        handles += [self._preacts[tap].watch(tap, found) for tap in taps if tap in self._preacts]
        try:
            last, stages = self._features(image, self._plain_stages(taps))
            logits = self.model.forward_head(last)
            logits = logits if self.has_classifier else logits.new_empty(len(logits), 0)
        finally:
            for handle in handles:
                handle.remove()
        found = stages | {f"{stage}{PREACT}": it for stage, it in stages.items()} | found
        found["logits"] = logits
        if "map" in taps:
            found["map"] = self._as_map(last)
        return Outputs(logits, {tap: found[tap] for tap in taps})

    def _plain_stages(self, taps: Sequence[str]) -> list[str]:
        """The stages whose maps are needed as they are."""
        wanted = {tap.removesuffix(PREACT) for tap in taps if tap not in self._preacts}
        return [stage for stage in self._stages if stage in wanted]

    def _features(self, image: Tensor, stages: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        if not stages:
            return self.model.forward_features(image), {}
        last, maps = self.model.forward_intermediates(
            image, indices=[self._stages[s] for s in stages], output_fmt="NCHW"
        )
        return last, dict(zip(stages, maps, strict=True))

    def _as_map(self, last: Tensor) -> Tensor:
        """Output of forward_features as [B, C, H, W]."""
        if last.ndim == 3:  # tokens [B, prefix + H*W, C]
            _, height, width = self._grid
            patches = last[:, -height * width :].transpose(1, 2)
            return patches.reshape(*patches.shape[:2], height, width)
        if self._channels_last:
            return last.permute(0, 3, 1, 2)
        return last

    def _from_map(self, feature_map: Tensor) -> Tensor:
        """Inverse of :meth:`_as_map`; tokens with a class token cannot be restored."""
        if self._tokens:
            if self._prefix_tokens:
                raise UnsupportedModel(
                    f"{type(self.model).__name__}: its head reads a class token, not a feature map"
                )
            return feature_map.flatten(2).transpose(1, 2)
        return feature_map.permute(0, 2, 3, 1) if self._channels_last else feature_map

    def _probe(self) -> dict[str, tuple[int, ...]]:
        image = torch.zeros(1, *self.image_shape)
        training = self.model.training
        self.model.eval()
        with torch.no_grad():
            with Watch(self.model) as watch:
                last, maps = self.model.forward_intermediates(image, output_fmt="NCHW")
            self._grid = tuple(maps[-1].shape[1:])
            channels, height, width = self._grid
            self._tokens = last.ndim == 3
            self._prefix_tokens = last.shape[1] - height * width if self._tokens else 0
            self._channels_last = last.shape[1:] == (height, width, channels)
            shapes = {name: tuple(maps[i].shape[1:]) for name, i in self._stages.items()}
            for name, i in self._stages.items():
                place = watch.preactivation(maps[i])
                if place is not None:
                    self._preacts[f"{name}{PREACT}"] = place
            shapes |= {f"{name}{PREACT}": shape for name, shape in shapes.items()}
            self.shapes = shapes | {"map": (), "pooled": ()}
            probe = self.forward(image, ("map", "pooled"))
        self.model.train(training)
        inner = {name: tuple(probe[name].shape[1:]) for name in ("map", "pooled")}
        return shapes | inner | {"logits": tuple(probe.logits.shape[1:])}


class Head:
    """The classifier of a network as a function of its last feature map or pooled feature.

    ``pools_linearly`` is True when the head is exactly global average pooling and the linear
    classifier; then gradients through it have a closed form.
    """

    def __init__(self, tapped: TappedModel) -> None:
        self._tapped = tapped
        self.pools_linearly = tapped.has_classifier and self._measure()

    @property
    def weight(self) -> Tensor:
        """[K, D] weight of the linear classifier."""
        return self._tapped.classifier.weight.flatten(1)

    @property
    def bias(self) -> Tensor:
        """[K] bias of the linear classifier (zeros when it has none)."""
        bias = self._tapped.classifier.bias
        return self.weight.new_zeros(len(self.weight)) if bias is None else bias

    def from_pooled(self, pooled: Tensor) -> Tensor:
        """The classifier alone.

        Args:
            pooled: [B, D].

        Returns:
            Logits [B, K].
        """
        return nn.functional.linear(pooled, self.weight, self.bias)

    def from_map(self, feature_map: Tensor) -> Tensor:
        """The whole head, pooling included.

        Args:
            feature_map: [B, C, H, W].

        Returns:
            Logits [B, K].

        Raises:
            UnsupportedModel: The head reads a class token.
        """
        logits: Tensor = self._tapped.model.forward_head(self._tapped._from_map(feature_map))
        return logits

    def _measure(self) -> bool:
        channels, *grid = self._tapped.shapes["map"]
        if self._tapped.shapes["pooled"] != (channels,):
            return False
        probe = torch.linspace(-1, 1, 2 * channels * grid[0] * grid[1])
        feature_map = probe.sin().view(2, channels, *grid)
        training = self._tapped.model.training
        self._tapped.model.eval()
        try:
            with torch.no_grad():
                through_head = self.from_map(feature_map)
                through_mean = self.from_pooled(feature_map.mean((2, 3)))
        except UnsupportedModel:
            return False
        finally:
            self._tapped.model.train(training)
        return torch.allclose(through_head, through_mean, atol=1e-5)


def _stage_indices(model: Any) -> dict[str, int]:
    """Tap name -> index for forward_intermediates; see the module docstring for the rule."""
    for needed in ("feature_info", "forward_intermediates", "forward_head", "get_classifier"):
        if not hasattr(model, needed):
            raise UnsupportedModel(f"{type(model).__name__} is no timm classifier: no {needed}")
    info = list(model.feature_info)
    count, reductions = len(info), {entry["reduction"] for entry in info}
    if len(reductions) > 1 or count <= 4:
        return {f"stage{i}": i for i in range(count)}
    return {f"stage{i}": (i + 1) * count // 4 - 1 for i in range(4)}
