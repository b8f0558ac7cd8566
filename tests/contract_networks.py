"""Small networks of every kind, by timm name, for the contract of the methods."""

from timm.models import register_model
from timm.models.mlp_mixer import MlpMixer

VIT = {"patch_size": 8, "depth": 4, "embed_dim": 32, "num_heads": 2}


@register_model
def contract_mixer(pretrained=False, **options):  # noqa: ARG001  (timm's calling convention)
    """timm's own mixers are too large for a contract."""
    known = {name: options[name] for name in ("img_size", "num_classes", "in_chans")}
    return MlpMixer(patch_size=8, num_blocks=4, embed_dim=32, **known)
