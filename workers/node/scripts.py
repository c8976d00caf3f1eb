"""Where the scripts of a node live, and what they are started with: found out when the first one comes."""

import logging
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from core.secrets import Vault
from core.settings import Settings
from storage.cache import ArtifactCache
from workers.node.cgroups import remove_groups
from workers.node.environments import MAKING, Workshop
from workers.node.isolation import Isolation, isolation_of, open_folder, remove
from workers.node.runprogram import RunPlace
from workers.node.scriptfiles import ScriptPlace
from workers.node.scriptprogram import Stage

log = logging.getLogger(__name__)

ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104  (what is listened on, not called)
UNUSED_S, MAKING_S = 60 * 86_400, 86_400  # of an environment that nobody needs, of one that was never made
CHECKPOINTS, WORK, ENVIRONMENTS = "checkpoints", "work", "environments"


@dataclass(slots=True)
class ScriptHouse:
    """Everything that outlives one script."""

    settings: Settings
    cache: ArtifactCache
    vault: Vault
    parent_fd: int
    found: Isolation | None = None

    @property
    def isolation(self) -> Isolation:
        """What this machine offers."""
        if self.found is None:
            self.found = isolation_of(self.settings, prepares=True)
            log.info("of scripts is not limited: %s", "; ".join(self.found.gaps) or "nothing that could be")
        return self.found

    @property
    def _environments(self) -> Path:
        base = self.isolation.folder if self.isolation.has_users else self.settings.cache.absolute()
        return base / ENVIRONMENTS

    def stage(self) -> Stage:
        """What a script is started with. Raises `ScriptsNotIsolated`, OSError."""
        settings, isolation = self.settings, self.isolation
        # Others cannot go into our cache; what is made for them lies where they can.
        folder = open_folder(isolation, ENVIRONMENTS) if isolation.has_users else self._environments
        folder.mkdir(parents=True, exist_ok=True)
        cache = settings.cache.absolute() / "uv"
        limit_s, builds = settings.environment_timeout_s, not isolation.has_users
        workshop = Workshop(isolation.python, folder, cache, self.parent_fd, limit_s, builds)
        return Stage(settings, self.cache, self.vault, isolation, workshop, api_address(settings))

    def place(self, run_id: str, place: RunPlace) -> ScriptPlace:
        """Where one process lives; its checkpoint is the run's. Raises `ScriptsNotIsolated`, OSError."""
        folder = open_folder(self.isolation, WORK) / place.folder.name
        checkpoint = open_folder(self.isolation, CHECKPOINTS) / run_id
        return ScriptPlace(place.folder, folder, checkpoint, place.log_path, self.parent_fd)

    def checkpoints(self) -> list[str]:
        """The runs that have one here."""
        folder = self.isolation.folder / CHECKPOINTS
        return [each.name for each in folder.iterdir()] if folder.is_dir() else []

    def forget(self, run_ids: Collection[str]) -> None:
        """Remove the checkpoints of runs that have ended."""
        for run_id in run_ids:
            remove(self.isolation.folder / CHECKPOINTS / run_id)

    def clean(self) -> None:
        """Remove what processes of a former life worked in, and environments that nobody needed for long."""
        if self.isolation.cgroup is not None:
            remove_groups(self.isolation.cgroup, self.isolation.prefix)
        folder = self.isolation.folder / WORK
        for left in folder.iterdir() if folder.is_dir() else ():
            remove(left)
        for made in self._environments.glob("*"):
            kept_s = MAKING_S if made.name.startswith(MAKING) else UNUSED_S
            with suppress(FileNotFoundError):
                if made.is_dir() and made.stat().st_mtime < time.time() - kept_s:
                    remove(made)


def api_address(settings: Settings) -> str:
    """What a script calls: what was said, else what clients are told, else where the API is here."""
    if settings.script_api:
        return settings.script_api.rstrip("/")
    if settings.public_url:
        return settings.public_url.rstrip("/")
    address: Path = settings.data / "address"  # `cli.folder` writes it
    if address.is_file() and (said := address.read_text("utf-8").strip()) and urlsplit(said).hostname:
        return said.rstrip("/")
    return f"http://{ANY.get(settings.host, settings.host)}:{settings.port}"
