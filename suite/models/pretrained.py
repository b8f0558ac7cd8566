"""timm's pretrained weights: checked against the data, and looked for on this machine first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub as hub
import timm
from huggingface_hub.constants import HF_HUB_CACHE
from timm.models import PretrainedCfg

from suite.interface.errors import UserError, shortened

ANSWER_SECONDS = 5.0
"""How long the server of the weights may take to answer; huggingface_hub alone tries for a minute.
"""
SAFE = {"pytorch_model.bin": "model.safetensors"}  # timm prefers it where a model has both


def options_for(name: str, num_classes: int) -> dict[str, Any]:
    """Further arguments of ``timm.create_model`` for pretrained weights of ``name``.

    Names the file where it lies in the cache of Hugging Face, so that no network is needed. Raises
    :class:`UserError` when there are no such weights, when they are for another number of classes
    (timm would then make a random head), and when they can neither be found nor be fetched.
    """
    weights = timm.get_pretrained_cfg(name)
    if weights is None or not weights.has_weights:
        raise UserError(
            f"model {name}: timm has no pretrained weights of it; allowed: pretrained: false (the "
            "teacher is then trained first), or checkpoint: FILE"
        )
    if weights.num_classes != num_classes:
        raise UserError(
            f"model {name}: its pretrained weights are for {weights.num_classes} classes, the "
            f"data have {num_classes}; set pretrained: false (the teacher is then trained first), "
            "or checkpoint: FILE"
        )
    if not weights.hf_hub_id or weights.custom_load:
        return {}
    return _file_or_network(name, weights)


def _file_or_network(name: str, weights: PretrainedCfg) -> dict[str, Any]:
    place, _, revision = str(weights.hf_hub_id).partition("@")
    wanted = weights.hf_hub_filename or "pytorch_model.bin"
    for file in dict.fromkeys((SAFE.get(wanted, wanted), wanted)):
        found = hub.try_to_load_from_cache(place, file, revision=revision or None)
        if isinstance(found, str) and Path(found).is_file():
            return {"pretrained_cfg_overlay": {"file": found}}
    try:
        url = hub.hf_hub_url(place, SAFE.get(wanted, wanted), revision=revision or None)
        hub.get_hf_file_metadata(url, timeout=ANSWER_SECONDS)
    except hub.errors.EntryNotFoundError:
        return {}  # it answers; timm knows the other names
    except Exception as error:  # noqa: BLE001  (whatever the client of the day raises)
        reason = shortened(" ".join(str(error).split()) or type(error).__name__)
        raise UserError(
            f"model {name}: its pretrained weights are not in {HF_HUB_CACHE}, and cannot be "
            f"fetched ({reason}); run `hf download {place}` where there is a network, or give the "
            "teacher a checkpoint: FILE"
        ) from None
    return {}
