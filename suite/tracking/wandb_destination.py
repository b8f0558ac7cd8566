"""Where W&B gets runs: online when a key is configured, in offline folders otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from suite.interface.errors import unknown
from suite.tracking.tracker import TrackerError

DEFAULT_PROJECT = "dskd-bench"
MODES = {  # WANDB_MODE -> what we do; wandb itself knows the two old names
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}


ELSEWHERE = {"seconds", "has_key"}  # no part of the address


@dataclass(frozen=True)
class Destination:
    """One destination; its :meth:`address` says whether a run was already sent there."""

    mode: Literal["online", "offline", "disabled"]
    project: str = DEFAULT_PROJECT
    entity: str | None = None
    base_url: str | None = None
    seconds: float = 30.0
    """Limit of one call of wandb."""
    has_key: bool = True
    """False: offline since no key is configured, not since somebody wants it so."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], seconds: float = 30.0) -> Destination:
        """Read WANDB_MODE, WANDB_PROJECT, WANDB_ENTITY and, if needed, whether there is a key.

        Raises :class:`TrackerError` for a mode that does not exist. Never prompts.
        """
        chosen = environment.get("WANDB_MODE")
        if chosen and chosen not in MODES:
            raise TrackerError(unknown("WANDB_MODE", chosen, MODES))
        has_key = bool(chosen) or _has_key()
        mode: Any = MODES[chosen] if chosen else ("online" if has_key else "offline")
        project = environment.get("WANDB_PROJECT") or DEFAULT_PROJECT
        entity = environment.get("WANDB_ENTITY") or None
        base_url = _base_url() if mode == "online" else None
        return cls(mode, project, entity, base_url, seconds, has_key)

    def address(self) -> dict[str, str | None]:
        """What ``wandb.json`` keeps of the destination."""
        return {key: value for key, value in asdict(self).items() if key not in ELSEWHERE}


def _base_url() -> str:
    """The server, from WANDB_BASE_URL or wandb's settings files."""
    import wandb

    return str(wandb.setup().settings.base_url)


def _has_key() -> bool:
    """Whether wandb finds credentials of its server: environment, netrc or settings files."""
    import wandb
    from wandb.sdk.lib import wbauth

    try:
        credentials = wbauth.authenticate_session(
            host=_base_url(), source="dskd-bench", prompt=False, update_session=False
        )
    except wandb.errors.AuthenticationError:
        return True  # a key is configured but malformed: going online will say so
    return credentials is not None
