"""Several frozen networks as one teacher: the mean of their logits, and no features.

Shapes: B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from suite.interface.taps import Outputs, TappedModel


class MeanOfLogits(nn.Module):
    """Images to the mean of the networks' logits [B, K], in float32.

    At any temperature its probabilities are the networks' geometric mean, normalised: one of the
    two means that Hinton et al. 2015 (Sec. 1) name for ensembles. You et al. 2017 (KDD) take the
    other, the arithmetic mean of the softened probabilities.

    Args:
        networks: Classifiers of the same classes.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> Tensor:
        """image [B, channels, H, W] -> [B, K]."""
        return torch.stack([network(image).float() for network in self.networks]).mean(0)


class Ensemble(TappedModel):
    """A teacher of several networks. It has logits, and neither taps nor a head.

    Args:
        members: Networks for the same images and classes.
    """

    def __init__(self, members: Sequence[TappedModel]) -> None:
        nn.Module.__init__(self)  # there is no one network to look into
        self.model = MeanOfLogits([member.model for member in members])
        self.image_shape = members[0].image_shape
        self.shapes = {"logits": members[0].shapes["logits"]}
        self._widest = max(member.widest for member in members)

    @property
    def has_classifier(self) -> bool:
        """True."""
        return True

    @property
    def stages(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def widest(self) -> int:
        """Values of one image's largest stage in any of the networks."""
        return self._widest

    def forward(self, image: Tensor, taps: Sequence[str] = ()) -> Outputs:
        """image [B, channels, H, W] -> the mean of the logits [B, K].

        Raises:
            UnsupportedModel: ``taps`` names any but ``logits``.
        """
        self.check(taps)
        logits = self.model(image)
        return Outputs(logits, dict.fromkeys(taps, logits))
