"""What the CIFAR networks share: timm's classifier interface over a chain of named stages.

Shapes: B batch, C channels, H and W height and width, D pooled width, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from timm.layers import create_classifier
from timm.models import register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)  # CIFAR-100, as RepDistiller


class CifarNet(nn.Module):
    """A chain of stages, a closing layer, global average pooling and a linear classifier.

    Subclasses set the stages as attributes and call :meth:`finish`; what timm says of the ``task``
    they hand over. ``feature_info`` lists the stages in the order of RepDistiller's feature list
    (its stem first, where it has one).
    """

    pretrained_cfg: dict[str, Any]
    default_cfg: dict[str, Any]
    reference_names: ClassVar[Mapping[str, str]] = {r"^(linear|classifier(\.0)?)\.": "fc."}
    """Patterns of RepDistiller's and mdistiller's parameter names -> ours, applied in order."""

    def __init__(
        self,
        num_classes: int = 100,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.head_drop = nn.Dropout(drop_rate)
        self.pretrained_cfg = self.default_cfg = {
            "input_size": (in_chans, 32, 32),
            "num_classes": num_classes,
            "mean": MEAN,
            "std": STD,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "classifier": "fc",
            "url": "",
        }
        self._pool_type = global_pool

    def finish(
        self, stages: Sequence[tuple[str, int, int]], closing: nn.Module, num_features: int
    ) -> None:
        """Declare the chain.

        ``stages`` holds (attribute, channels, reduction of the image side); ``closing`` turns the
        last stage into the map that is pooled (nn.Identity when it is that map itself).
        """
        self.feature_info = [
            {"num_chs": channels, "reduction": reduction, "module": name}
            for name, channels, reduction in stages
        ]
        self.closing = closing
        self.num_features = self.head_hidden_size = num_features
        self.global_pool: nn.Module
        self.fc: nn.Module
        self.reset_classifier(self.num_classes)

    def get_classifier(self) -> nn.Module:
        """The linear classifier."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A fresh classifier; none (identity) for 0 classes.

        ``global_pool`` is timm's name of a pooling (``avg``, ``max``, ...; empty for none, which
        needs 0 classes); None keeps the present one.
        """
        self.num_classes = num_classes
        self._pool_type = self._pool_type if global_pool is None else global_pool
        self.global_pool, self.fc = create_classifier(
            self.num_features, num_classes, self._pool_type
        )

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [B, channels, H, W] -> the map [B, C, H', W'] that is pooled."""
        for info in self.feature_info:
            x = getattr(self, str(info["module"]))(x)
        closed: Tensor = self.closing(x)
        return closed

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map -> pooled feature [B, D] (``pre_logits``) or logits [B, K]."""
        pooled: Tensor = self.head_drop(self.global_pool(x))
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Images -> logits [B, K]."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """timm's interface: (map, stage maps), or the stage maps alone.

        ``indices`` are positions in ``feature_info``; a number n means the last n, None all.
        ``norm`` closes the last stage with the closing layer.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt {output_fmt!r}: only 'NCHW' is allowed")
        count = len(self.feature_info)
        listed = indices if indices is None or isinstance(indices, int) else list(indices)
        wanted, deepest = feature_take_indices(count, listed)
        maps = []
        for position, info in enumerate(self.feature_info):
            x = getattr(self, str(info["module"]))(x)
            if position in wanted:
                maps.append(self.closing(x) if norm and position == count - 1 else x)
            if stop_early and intermediates_only and position == deepest:
                return maps
        return maps if intermediates_only else (self.closing(x), maps)


def register(name: str, build: Callable[..., CifarNet]) -> None:
    """Make ``timm.create_model(name)`` call ``build(**options)``."""

    def entry(pretrained: bool = False, **options: Any) -> CifarNet:
        if pretrained:
            raise ValueError(f"{name} has no pretrained weights: train it with this suite")
        ignored = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
        for_network = {key: value for key, value in options.items() if key not in ignored}
        return build(**for_network)

    entry.__name__ = entry.__qualname__ = name
    entry.__module__ = getattr(build, "func", build).__module__  # a partial has none of its own
    entry.__doc__ = f"{name}, for 32x32 images."
    register_model(entry)


def init_he_fan_out(network: nn.Module) -> None:
    """He et al. 2015 with fan-out for convolutions, ones and zeros for batch normalisation."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def init_normal_fan_out(network: nn.Module, linear_std: float | None = None) -> None:
    """N(0, 2 / (kernel area * channels out)) for convolutions, and zero biases.

    ``linear_std`` also draws the classifier's weight; None leaves PyTorch's default.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            area = math.prod(module.kernel_size)
            nn.init.normal_(module.weight, 0, math.sqrt(2 / (area * module.out_channels)))
        elif isinstance(module, nn.Linear) and linear_std is not None:
            nn.init.normal_(module.weight, 0, linear_std)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
