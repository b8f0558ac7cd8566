"""timm's pretrained weights: checked against the data, and looked for on this machine first."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import huggingface_hub as hub
import timm
from huggingface_hub.constants import HF_HUB_CACHE
from timm.models import PretrainedCfg

from suite.interface.errors import UserError, shortened
from suite.models.weights import weights_sha256

ANSWER_SECONDS = 5.0
"""How long the server of the weights may take to answer; huggingface_hub alone tries for a minute.
"""
SAFE = {"pytorch_model.bin": "model.safetensors"}  # timm prefers it where a model has both


def options_for(name: str) -> dict[str, Any]:
    """Further arguments of ``timm.create_model`` for pretrained weights of ``name``.

    Names the file where it lies in the cache of Hugging Face, so that no network is needed. Raises
    :class:`UserError` when there are no such weights, and when they can neither be found nor be
    fetched.
    """
    weights = _require_weights(name)
    if not weights.hf_hub_id or weights.custom_load:
        return {}
    return _file_or_network(name, weights)


def has_classifier(name: str) -> bool:
    """False for weights that timm has without a classifier (DINOv2, MAE ...)."""
    weights = weights_of(name)
    return weights is None or weights.num_classes != 0


def check_classes(name: str, num_classes: int) -> None:
    """Raise :class:`UserError` when the weights are for other classes: the head would be random."""
    weights = _require_weights(name)
    if weights.num_classes != num_classes:
        raise UserError(
            f"model {name}: its pretrained weights are for {weights.num_classes} classes, the "
            f"data have {num_classes}; set fine_tune: true (it is then trained on the data first, "
            "with a new classifier), pretrained: false (trained from random weights), or "
            "checkpoint: FILE"
        )


@cache
def pretrained_sha256(name: str) -> str:
    """Hash of timm's weights of ``name``, as timm loads them. Raises :class:`UserError`."""
    network = timm.create_model(name, pretrained=True, **options_for(name))
    return weights_sha256(network.state_dict())


def weights_of(name: str) -> PretrainedCfg | None:
    """timm's description of its weights of a network; None where it has no weights of it."""
    weights = timm.get_pretrained_cfg(name)
    return weights if weights is not None and weights.has_weights else None


def _require_weights(name: str) -> PretrainedCfg:
    weights = weights_of(name)
    if weights is None:
        raise UserError(
            f"model {name}: timm has no pretrained weights of it; allowed: pretrained: false (the "
            "teacher is then trained first), or checkpoint: FILE"
        )
    return weights


def _file_or_network(name: str, weights: PretrainedCfg) -> dict[str, Any]:
    repository, _, revision = str(weights.hf_hub_id).partition("@")
    file_name = weights.hf_hub_filename or "pytorch_model.bin"
    for file in dict.fromkeys((SAFE.get(file_name, file_name), file_name)):
        cached = hub.try_to_load_from_cache(repository, file, revision=revision or None)
        if isinstance(cached, str) and Path(cached).is_file():
            return {"pretrained_cfg_overlay": {"file": cached}}
    try:
        url = hub.hf_hub_url(repository, SAFE.get(file_name, file_name), revision=revision or None)
        hub.get_hf_file_metadata(url, timeout=ANSWER_SECONDS)
    except hub.errors.EntryNotFoundError:
        return {}  # it answers; timm knows the other names
    except Exception as error:  # noqa: BLE001  (whatever the client of the day raises)
        reason = shortened(" ".join(str(error).split()) or type(error).__name__)
        raise UserError(
            f"model {name}: its pretrained weights are not in {HF_HUB_CACHE}, and cannot be "
            f"fetched ({reason}); run `hf download {repository}` where there is a network, or "
            "give the teacher a checkpoint: FILE"
        ) from None
    return {}
