"""One process of Portside in the stack: the command and the settings of its compose service, on a port of its own."""

import http.client
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.stack.child import Child, StackFailed

ROOT = Path(__file__).resolve().parents[2]
READY_S = 180.0  # alone it is a second or two
STOP_S = 40.0
ANSWER_S = 2.0
# Beside its settings a container has only what its image says; so has a process here.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "PORTSIDE_JAVA_HOME")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to start it; `health` is a URL that answers 200 when it is ready, `figures` a `host:port` for Prometheus."""

    name: str
    role: str
    command: Sequence[str]
    settings: Mapping[str, str]
    health: str
    figures: str
    folder: Path


class PortsideProcess:
    """One API, worker or node, which may live several times. Safe to use from several threads."""

    def __init__(self, recipe: Recipe, source: Path = ROOT) -> None:
        """`source` is the folder of the release that the next `start` runs; it may be changed."""
        self.recipe, self.source = recipe, source
        self._child: Child | None = None
        self._is_wanted = False
        self._turn = threading.RLock()

    @property
    def name(self) -> str:
        """As compose names containers: `worker-2`."""
        return self.recipe.name

    @property
    def role(self) -> str:
        """`api`, `worker` or `node`."""
        return self.recipe.role

    @property
    def pid(self) -> int:
        """The process id of its present or last life."""
        return self._started().pid

    @property
    def address(self) -> str:
        """The `host:port` that its health check asks: an API's own, the others' for Prometheus."""
        return self.recipe.health.split("/")[2]

    @property
    def log(self) -> Path:
        """Where its output goes, life after life."""
        return self.recipe.folder / "output.log"

    @property
    def is_running(self) -> bool:
        """Whether there is a process; it may be stopped (`pause`)."""
        return self._child is not None and self._child.status is None

    @property
    def has_died(self) -> bool:
        """Whether it has ended although nobody called `stop`."""
        return self._is_wanted and not self.is_running

    def start(self) -> None:
        """Start it, without waiting for anything; nothing happens while it runs."""
        with self._turn:
            self._is_wanted = True
            if self.is_running:
                return
            if self._child is not None:
                self._child.kill()  # it has ended, and its guard must not outlive it
            self.recipe.folder.mkdir(parents=True, exist_ok=True)
            inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
            environment = {**inherited, **self.recipe.settings, "PYTHONPATH": str(self.source)}
            command = [sys.executable, "-P", "-m", "portside", *self.recipe.command]
            self._child = Child.start(command, self.log, environment=environment, folder=self.recipe.folder)

    def run(self, timeout_s: float) -> str:
        """Start it and wait for its own end; its output. Raises `StackFailed` unless that is a good one."""
        self.start()
        self._is_wanted = False
        status, child = self._started().wait(timeout_s), self._started()
        child.stop(0)
        if status:
            raise StackFailed(f"{self.name} ended with status {status}: {child.last_words()}")
        return self.log.read_text("utf-8", errors="replace")

    def await_ready(self, timeout_s: float = READY_S) -> None:
        """Wait until it answers. Raises `StackFailed` when it does not, or ends."""
        self._started().await_ready(self.is_ready, timeout_s, self.name)

    def is_ready(self) -> bool:
        """Whether its health check passes."""
        return answers(self.recipe.health)

    def kill(self) -> None:
        """SIGKILL to it and everything it has started, as `docker kill` does."""
        with self._turn:
            self._started().kill()

    def pause(self) -> None:
        """SIGSTOP to it and everything it has started, as `docker pause` does."""
        self._started().pause()

    def resume(self) -> None:
        """SIGCONT to all of them."""
        self._started().resume()

    def restart(self) -> None:
        """End it in order, if it runs, and start it again; returns when it is ready."""
        with self._turn:
            self.stop()
            self.start()
        self.await_ready()

    def stop(self, grace_s: float = STOP_S) -> int:
        """SIGTERM, and SIGKILL after the grace; its exit status. It stays away until `start`."""
        with self._turn:
            self._is_wanted = False
            return self._started().stop(grace_s) if self._child is not None else 0

    def _started(self) -> Child:
        if self._child is None:
            raise StackFailed(f"{self.name} was never started")
        return self._child


def answers(url: str) -> bool:
    """Whether a GET is answered 200."""
    address, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(address, timeout=ANSWER_S)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
