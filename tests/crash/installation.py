"""A platform as the campaign sees it: processes that can die, servers that can fail, the places that keep the data."""

import os
import resource
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import psutil

from deploy.stack.child import free_port
from deploy.stack.minio import REGION, MinioServer
from storage.access import S3Access
from tests.crash.forge import Forge
from workers.node.processes import start_time

QUICK = {
    # Short leases make a round short; the recovery at the default lease is measured by itself.
    "PORTSIDE_LEASE_S": "1.5",
    "PORTSIDE_POLL_S": "0.5",
    "PORTSIDE_DRAIN_S": "1",
    "PORTSIDE_SWEEP_S": "0.5",
    "PORTSIDE_BLOB_IDLE_S": "1.2",
    "PORTSIDE_LOG_LEVEL": "info",
}


DEAD_S = 5.0
Store = Literal["directory", "s3"]


class Server(Protocol):
    """A server that the platform needs (`deploy/stack`)."""

    @property
    def pid(self) -> int: ...

    def kill(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def restart(self) -> None: ...


@dataclass(frozen=True)
class Life:
    """A process beyond doubt; `started` is None for one that had died before we could look."""

    pid: int
    started: str | None

    @property
    def goes_on(self) -> bool:
        return self.started is not None and start_time(self.pid) == self.started


@dataclass
class Member:
    """One process of the platform: started, killed, frozen, started again."""

    name: str
    role: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    forge: Forge
    lives: list[Life] = field(default_factory=list)

    def start(self) -> None:
        pid = self.forge.start(self.arguments, self.environment, self.log)
        self.lives.append(Life(pid, start_time(pid)))

    @property
    def is_alive(self) -> bool:
        return bool(self.lives) and self.lives[-1].goes_on

    @property
    def pid(self) -> int:
        return self.lives[-1].pid

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            if self.is_alive:
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and until it is gone: who looks for the dead at once would take it for alive, and leave it dead."""
        self.send(signal.SIGKILL)
        deadline = time.monotonic() + DEAD_S
        while self.is_alive and time.monotonic() < deadline:
            time.sleep(0.002)

    def limit_files(self, size_bytes: int | None) -> None:
        """No file may be larger: every write beyond it fails, as on a full disk. None lifts the limit."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        soft = hard if size_bytes is None else size_bytes
        with suppress(ProcessLookupError):
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (soft, hard))


@dataclass
class Installation:
    """Members and servers over the same data, in `folder`."""

    kind: str
    folder: Path
    members: list[Member]
    urls: list[str]
    database_url: str
    artifacts_url: str
    token: str | None = None
    access: S3Access | None = None
    servers: Mapping[str, Server] = field(default_factory=dict)
    migration: Member | None = None  # the one-shot that makes the schema, where no member does it
    drive: Path | None = None  # the store's own small file system
    lease_s: float = float(QUICK["PORTSIDE_LEASE_S"])
    ending: ExitStack = field(default_factory=ExitStack)

    @property
    def trap(self) -> Path:
        """Arms the processes that run (`core.failpoints`, `@FILE`)."""
        return self.folder / "trap"

    @property
    def sprung(self) -> Path:
        return self.folder / "sprung"

    def arm(self, text: str) -> None:
        made = self.folder / "trap.new"
        made.write_text(f"{text} # {time.monotonic_ns()}", "utf-8")
        made.replace(self.trap)

    def disarm(self) -> None:
        self.trap.unlink(missing_ok=True)

    def hits(self) -> list[str]:
        """The failpoints that acted, in their order."""
        return [name for name, _, _ in self._strokes()]

    def struck(self) -> list[int]:
        """The processes in which they did."""
        return [int(pid) for _, _, pid in self._strokes()]

    def _strokes(self) -> list[list[str]]:
        lines = self.sprung.read_text("utf-8").splitlines() if self.sprung.exists() else []
        return [line.split() for line in lines]

    def of_role(self, *roles: str) -> list[Member]:
        return [member for member in self.members if member.role in roles]

    def dead(self) -> list[Member]:
        return [member for member in self.members if not member.is_alive]

    def model_servers(self) -> dict[int, psutil.Process]:
        """Every model server of this installation that lives on this machine, whoever started it."""
        return {process.pid: process for process in self._children("--replica")}

    def short_children(self) -> list[psutil.Process]:
        return list(self._children("inspect"))

    def _children(self, word: str) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = process.cmdline()
                if word in words and any(str(self.folder) in each for each in words):
                    yield process

    def close(self) -> None:
        """End everything, however it is."""
        self.disarm()
        for member in self.members:
            member.send(signal.SIGCONT)
            member.kill()
        for server in self.servers.values():
            server.resume()
        self.ending.close()


def environment_of(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """What a member is started with: nothing of the test session's own settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PORTSIDE_")}
    traps = {"PORTSIDE_FAILPOINTS": f"@{folder / 'trap'}", "PORTSIDE_FAILPOINTS_LOG": str(folder / "sprung")}
    return {**inherited, "NO_COLOR": "1", **QUICK, **traps, **settings}


def embedded(
    folder: Path, forge: Forge, settings: Mapping[str, str] | None = None, *, store: Store = "directory"
) -> Installation:
    """`portside up` on a folder: one process over SQLite and a directory, or MinIO, which runs. Not started yet."""
    data, port, ending = folder / "data", free_port(), ExitStack()
    data.mkdir(parents=True, exist_ok=True)
    minio = MinioServer.start(folder / "minio") if store == "s3" else None
    if minio is not None:
        ending.callback(minio.stop)
    arguments = ["up", "--data", str(data), "--port", str(port)]
    environment = environment_of(folder, {**(minio.environment if minio else {}), **(settings or {})})
    member = Member("platform", "platform", arguments, environment, folder / "platform.err", forge)
    return Installation(
        kind="embedded",
        folder=folder,
        members=[member],
        urls=[f"http://127.0.0.1:{port}"],
        database_url=f"sqlite:///{data / 'portside.db'}",
        artifacts_url=minio.url if minio else f"file://{data / 'artifacts'}",
        access=S3Access(minio.endpoint, REGION, minio.access_key, minio.secret_key) if minio else None,
        servers={"minio": minio} if minio else {},
        lease_s=float(environment["PORTSIDE_LEASE_S"]),
        ending=ending,
    )
