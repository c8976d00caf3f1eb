"""From a placement's spec to a program that can be started: its files, command line and environment."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from core.secrets import Vault
from core.settings import MIB, Settings
from state.revisions import config_of
from state.specs import ServiceSpec
from storage.cache import ArtifactCache
from storage.digests import Digest
from workers.children import child_environment, serving_command
from workers.node.config_files import lay_out
from workers.node.processes import Program
from workers.node.sockets import http_address


@dataclass(frozen=True, slots=True)
class Launch:
    """What a model server is told on its command line. `memory_mb` None is without a limit, `socket` None is TCP.

    `runtime` is what it must be: some of `engine`, `engine_version`, `python`.
    """

    replica_id: str
    service: str
    model: str
    version: str
    model_file: Path
    signature_file: Path
    socket: Path | None
    threads: int
    memory_mb: int | None
    gpu: int
    parent_fd: int
    runtime: Mapping[str, str] = field(default_factory=dict)


Command = Callable[[Launch], Sequence[str]]
STDIN = 0
TOKEN_VARIABLE = "PORTSIDE_REPLICA_TOKEN"  # noqa: S105  (a name; in an environment only its owner reads the token)


def model_server(settings: Settings) -> Command:
    """The command line of `python -m serving` for one replica."""

    def command(launch: Launch) -> Sequence[str]:
        arguments = {
            "--model": launch.model_file,
            "--signature": launch.signature_file,
            "--socket": launch.socket,
            "--listen-fd": STDIN if launch.socket is None else None,
            "--token-env": TOKEN_VARIABLE if launch.socket is None else None,
            "--name": launch.service,
            "--service": launch.service,
            "--model-name": launch.model,
            "--version": launch.version,
            "--replica": launch.replica_id,
            "--threads": launch.threads,
            "--memory-mb": launch.memory_mb,
            "--gpu": launch.gpu or None,
            "--max-body-mb": ceil(settings.max_predict_bytes / MIB),
            "--grace-s": settings.drain_s,
            "--parent-fd": launch.parent_fd,
            "--engine": launch.runtime.get("engine"),
            "--engine-version": launch.runtime.get("engine_version"),
            "--python-version": launch.runtime.get("python"),
        }
        given = [(name, str(value)) for name, value in arguments.items() if value is not None]
        return serving_command(settings, *(part for pair in given for part in pair))

    return command


@dataclass(frozen=True, slots=True)
class Place:
    """Where one replica lives on this machine: on a unix socket, or on a port of `host`."""

    folder: Path
    scratch: Path  # what it unpacks
    log_path: Path
    cache: Path
    parent_fd: int
    host: str | None = None

    @property
    def socket(self) -> Path | None:
        """The unix socket that its model server listens on."""
        return self.folder / "s" if self.host is None else None

    @property
    def config(self) -> Path:
        """Where its config files lie."""
        return self.folder / "config"

    def address(self, port: int | None) -> str | None:
        """What gateways read in its row; `port` is that of its process, once there is one."""
        if self.host is None:
            return f"unix://{self.socket}"
        return None if port is None else http_address(self.host, port)


async def prepare(
    spec: ServiceSpec, replica_id: str, place: Place, cache: ArtifactCache, vault: Vault, command: Command
) -> Program:
    """Make the replica's files. Raises PlatformError (the artifact, a secret) and OSError (our own folders)."""
    model_file = await cache.path(Digest.parse(spec.digest))
    signature_file = place.folder / "signature.json"
    await asyncio.to_thread(_write_files, place, signature_file, spec.signature)
    config_files = config_of(vault, spec.config_sealed, spec.revision_id)
    await lay_out(place.config, config_files)
    threads = max(1, ceil(spec.cpu))
    launch = Launch(
        replica_id=replica_id,
        service=spec.service,
        model=spec.model,
        version=spec.version,
        model_file=model_file.absolute(),  # the child has another current folder
        signature_file=signature_file,
        socket=place.socket,
        threads=threads,
        memory_mb=spec.memory_mb,
        gpu=spec.gpu,
        parent_fd=place.parent_fd,
        runtime=spec.runtime or {},
    )
    defaults = {"OMP_NUM_THREADS": str(threads), "TMPDIR": str(place.scratch)}
    variables = {**defaults, **_variables(spec, replica_id, vault), "PORTSIDE_CONFIG_DIR": str(place.config)}
    if place.host is not None:
        variables[TOKEN_VARIABLE] = vault.replica_token(replica_id)
    environment = child_environment(place.cache, variables)
    return Program(command(launch), environment, place.folder, place.log_path, place.parent_fd, place.host)


def _write_files(place: Place, signature_file: Path, signature: Mapping[str, object]) -> None:
    place.log_path.parent.mkdir(parents=True, exist_ok=True)
    place.folder.mkdir(mode=0o700, exist_ok=True)
    place.scratch.mkdir(mode=0o700, exist_ok=True)
    signature_file.write_text(json.dumps(signature), "utf-8")


def _variables(spec: ServiceSpec, replica_id: str, vault: Vault) -> dict[str, str]:
    """The user's own variables, and the given ones, which they may not change."""
    sealed = spec.env_sealed
    users: dict[str, str] = json.loads(vault.open(sealed, f"revision:{spec.revision_id}")) if sealed else {}
    given = {
        "PORTSIDE_SERVICE": spec.service,
        "PORTSIDE_MODEL": spec.model,
        "PORTSIDE_VERSION": spec.version,
        "PORTSIDE_REPLICA": replica_id,
    }
    return {**users, **given}
