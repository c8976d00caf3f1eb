"""The production shape for the campaign: real PostgreSQL, Redis and MinIO, two API processes, two workers, the node.

The same commands and settings as docker-compose.yml (through `deploy.stack`), with the campaign's own on top.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from deploy.stack.compose import read_compose
from deploy.stack.process import INHERITED, Recipe
from deploy.stack.recipes import EVERY_ROLE, Addresses, Plan
from deploy.stack.topology import Options, Topology
from storage.access import S3Access
from tests.crash.drive import small_drive
from tests.crash.forge import Forge
from tests.crash.installation import QUICK, Installation, Member, Server, Store


def stack(
    folder: Path, forge: Forge, settings: Mapping[str, str] | None = None, *, store: Store = "s3"
) -> Installation:
    """The servers run; the members are not started yet. With a directory for a store nobody can reach MinIO."""
    traps = {"PORTSIDE_FAILPOINTS": f"@{folder / 'trap'}", "PORTSIDE_FAILPOINTS_LOG": str(folder / "sprung")}
    shared = {"PORTSIDE_ARTIFACTS_URL": f"file://{folder / 'artifacts'}"} if store == "directory" else {}
    extra = {EVERY_ROLE: {**QUICK, **traps, **shared, **(settings or {})}}
    ending = ExitStack()
    drive = small_drive(folder / "minio" / "drive", ending)
    topology = Topology(folder, Options(durable=False, supervised=False, extra=extra), ending)
    addresses = Addresses(topology.postgres.url, topology.redis.url, topology.minio.endpoint)
    migration = Plan(read_compose(topology.variables), folder, addresses, extra).migration()
    members = [_member(process.recipe, forge) for process in topology.processes]
    access = S3Access(topology.minio.endpoint, "us-east-1", topology.minio.access_key, topology.minio.secret_key)
    servers: dict[str, Server] = {"postgres": topology.postgres, "redis": topology.redis, "minio": topology.minio}
    if store == "directory":
        topology.minio.stop()
        del servers["minio"]
    return Installation(
        kind="stack",
        folder=folder,
        members=members,
        urls=list(topology.api_urls),
        database_url=topology.postgres.url,
        artifacts_url=members[0].environment["PORTSIDE_ARTIFACTS_URL"],
        access=access if store == "s3" else None,
        token=topology.token,
        servers=servers,
        migration=_member(migration, forge),
        drive=drive if store == "s3" else None,
        lease_s=float(members[0].environment["PORTSIDE_LEASE_S"]),
        ending=ending,
    )


def _member(recipe: Recipe, forge: Forge) -> Member:
    recipe.folder.mkdir(parents=True, exist_ok=True)
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment = {**inherited, **recipe.settings}
    return Member(recipe.name, recipe.role, recipe.command, environment, recipe.folder / "output.log", forge)
