"""What handlers are given: the open backends of this process, built once in `workers/boot.py`."""

from dataclasses import dataclass

from core.secrets import Vault
from core.settings import Settings
from state.claims import Claim, Work
from state.database import Database
from storage.base import ArtifactStore
from storage.cache import ArtifactCache
from workers.targets.base import Target


@dataclass(frozen=True, slots=True)
class Resources:
    """The outside world as a handler sees it."""

    settings: Settings
    database: Database
    store: ArtifactStore
    cache: ArtifactCache
    target: Target
    vault: Vault


@dataclass(frozen=True, slots=True)
class Held:
    """Work that this process holds: the claim, and the row as it was when claimed (do not write to it)."""

    claim: Claim
    row: Work
