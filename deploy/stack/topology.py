"""The compose file's topology as processes on this machine: same commands, same settings, other hosts, ports and paths.

`Topology.start(folder)` gives a platform to deploy to, and to kill parts of; `stop` leaves no process behind.
"""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

from deploy.stack.child import free_port
from deploy.stack.compose import read_compose, read_variables
from deploy.stack.front import Front
from deploy.stack.minio import MinioServer
from deploy.stack.postgres import PostgresServer
from deploy.stack.process import ROOT, PortsideProcess
from deploy.stack.prometheus import PrometheusServer
from deploy.stack.recipes import LOOPBACK, ROLES, Addresses, Plan
from deploy.stack.redis import RedisServer
from deploy.stack.supervision import Supervision

MIGRATE_S = 120.0
Server = TypeVar("Server", PostgresServer, RedisServer, MinioServer)
SECRETS = ROOT / "deploy" / "secrets.sh"


@dataclass(frozen=True, slots=True)
class Options:
    """What may differ between `make stack`, tests and crash campaigns.

    `durable`: PostgreSQL syncs to the disk. `supervised`: who dies is started again, as compose does it. `extra`:
    settings by role, or for every process under the key `""`. `source`: the folder of the release that is run.
    """

    port: int | None = None
    durable: bool = True
    supervised: bool = True
    prometheus: bool = False
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    source: Path = ROOT


@dataclass(frozen=True, slots=True)
class Servers:
    """What Portside keeps its state in."""

    postgres: PostgresServer
    redis: RedisServer
    minio: MinioServer

    @classmethod
    def start(cls, folder: Path, variables: Mapping[str, str], ending: ExitStack, *, durable: bool) -> Self:
        """All at once, because each spends its start waiting; `ending` stops those that have started."""
        access_key, secret_key = (variables[f"PORTSIDE_S3_{kind}_KEY"] for kind in ("ACCESS", "SECRET"))

        def begin(start: Callable[[], Server]) -> Server:
            server = start()
            ending.callback(server.stop)  # here, not by who waits: that one may be interrupted
            return server

        with ThreadPoolExecutor(3) as pool:
            postgres = pool.submit(begin, lambda: PostgresServer.start(folder / "postgres", durable=durable))
            redis = pool.submit(
                begin, lambda: RedisServer.start(folder / "redis", password=variables["REDIS_PASSWORD"])
            )
            minio = pool.submit(
                begin, lambda: MinioServer.start(folder / "minio", access_key=access_key, secret_key=secret_key)
            )
        return cls(postgres.result(), redis.result(), minio.result())

    @property
    def addresses(self) -> Addresses:
        """For the processes' settings."""
        return Addresses(self.postgres.url, self.redis.url, self.minio.endpoint)


class Topology:
    """A running stack: `postgres`, `redis` and `minio`, Portside's `processes`, and the proxy before them."""

    def __init__(self, folder: Path, options: Options, ending: ExitStack) -> None:
        self.folder, self._options, self._ending = folder, options, ending
        self._port = options.port or free_port()
        self.variables = _variables(folder, self._port)
        servers = Servers.start(folder, self.variables, ending, durable=options.durable)
        self.postgres, self.redis, self.minio = servers.postgres, servers.redis, servers.minio
        self._plan = Plan(read_compose(self.variables), folder, servers.addresses, options.extra)
        self.processes = tuple(PortsideProcess(recipe, options.source) for recipe in self._plan.recipes())
        self.front: Front | None = None
        self.prometheus: PrometheusServer | None = None

    @classmethod
    def start(cls, folder: Path, options: Options = Options()) -> Self:
        """Everything, ready to be called; goes on with what the folder has from before. Raises `StackFailed`."""
        with ExitStack() as ending:
            topology = cls(folder.absolute(), options, ending)
            topology.migrate()
            topology._start_processes()
            topology._start_front()
            topology._ending = ending.pop_all()
        return topology

    @property
    def url(self) -> str:
        """The one address."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def api_urls(self) -> tuple[str, ...]:
        """Each API process by itself, without the proxy."""
        return tuple(f"http://{process.address}" for process in self.of_role("api"))

    @property
    def token(self) -> str:
        """The first token, an administrator's."""
        return self.variables["PORTSIDE_ADMIN_TOKEN"]

    @property
    def pids(self) -> Mapping[str, int]:
        """Who is who, for whoever wants to look or to kill."""
        servers = {"postgres": self.postgres.pid, "redis": self.redis.pid, "minio": self.minio.pid}
        return {**{process.name: process.pid for process in self.processes}, **servers}

    def of_role(self, role: str) -> Sequence[PortsideProcess]:
        """The processes of `api`, `worker` or `node`."""
        return [process for process in self.processes if process.role == role]

    def process(self, name: str) -> PortsideProcess:
        """One process by its name, such as `worker-2`."""
        return next(process for process in self.processes if process.name == name)

    def migrate(self, source: Path | None = None) -> str:
        """Run the one-shot `migrate` of a release; what it said. Raises `StackFailed`."""
        return PortsideProcess(self._plan.migration(), source or self._options.source).run(MIGRATE_S)

    def stop(self) -> None:
        """End all of it, in order; the folder stays."""
        self._ending.close()

    def _start_processes(self) -> None:
        self._ending.callback(self._stop_processes)
        for process in self.processes:
            process.start()
        for process in self.processes:
            process.await_ready()
        if self._options.supervised:
            supervision = Supervision(self.processes)
            supervision.start()
            self._ending.callback(supervision.stop)

    def _start_front(self) -> None:
        apis = [process.address for process in self.of_role("api")]
        self.front = Front.start(self.folder / "proxy", apis, self._port)
        self._ending.callback(self.front.stop)
        if self._options.prometheus:
            targets = {role: [process.recipe.figures for process in self.of_role(role)] for role in ROLES}
            self.prometheus = PrometheusServer.start(self.folder / "prometheus", targets)
        if self.prometheus is not None:
            self._ending.callback(self.prometheus.stop)

    def _stop_processes(self) -> None:
        """The node last, so that what drains is still served; those before it at once, because a drain takes time."""
        with ThreadPoolExecutor(len(self.processes)) as pool:
            for roles in (("api", "worker"), ("node",)):
                stopping = [pool.submit(process.stop) for process in self.processes if process.role in roles]
                for future in stopping:
                    future.result()


def _variables(folder: Path, port: int) -> dict[str, str]:
    """The env file, made on first use as a user makes it, and what a stack on loopback adds to it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "env"
    if not file.exists():
        made = subprocess.run(["/bin/sh", str(SECRETS)], capture_output=True, text=True, check=True, timeout=60)
        file.touch(mode=0o600)
        file.write_text(made.stdout, "utf-8")
    here = {"PORTSIDE_PUBLIC_URL": f"http://{LOOPBACK}:{port}", "PORTSIDE_ALLOW_PRIVATE_WEBHOOKS": "true"}
    return {**read_variables(file), **here}
