"""One installation that is killed and started again, as an outside client and the operating system see it."""

import json
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cli.client import Answer, Document, Platform
from cli.comparison import difference
from cli.failure import CommandFailed
from tests.crash.artifacts import EXAMPLES, Artifact
from tests.e2e.platform import RunningPlatform, until

OCTETS = {"content-type": "application/octet-stream"}
SETTLED_S = 60.0
GONE_S = 10.0
STEADY = "steady"  # the service that is running whenever the platform is killed


def records(file: str) -> tuple[list[object], list[object]]:
    """What to ask an example, and what it answers."""
    asked = json.loads((EXAMPLES / f"{file}.input.json").read_text("utf-8"))["inputs"]
    told = json.loads((EXAMPLES / f"{file}.expected.json").read_text("utf-8"))["outputs"]
    return asked, told


@dataclass
class Site:
    """A data folder and the life of the platform that runs on it now."""

    data: Path
    running: RunningPlatform
    api: Platform
    former: list[psutil.Process] = field(default_factory=list)

    @classmethod
    def open(cls, data: Path) -> "Site":
        running = RunningPlatform.start(data)
        return cls(data, running, running.client())

    def kill(self) -> None:
        """SIGKILL, first of all; then remember what the killed one has left."""
        self.running.send(signal.SIGKILL)
        self.former = self.processes()
        self.running.process.communicate()
        self.api.close()

    def restart(self) -> float:
        """Start on the same folder; answers the seconds until the steady service's first answer."""
        began = time.monotonic()
        self.running = RunningPlatform.start(self.data)
        self.api = self.running.client()
        until(lambda: self.answer_of(STEADY), SETTLED_S, "an answer after the restart")
        return time.monotonic() - began

    def close(self) -> None:
        """End the platform; nothing of it may be left."""
        self.api.close()
        if self.running.process.poll() is None:
            self.running.end()

    def processes(self) -> list[psutil.Process]:
        """Every process that names the data folder in its command line or its environment."""
        return [process for process in psutil.process_iter() if str(self.data) in _words(process)]

    def orphans(self) -> list[psutil.Process]:
        """Those of them that the running platform has not started."""
        family = {process.pid for process in self.running.family()}
        return [process for process in self.processes() if process.pid not in family]

    def children(self, word: str) -> list[psutil.Process]:
        """The platform's own children with this word on their command line."""
        return [child for child in self.running.family()[1:] if word in _words(child).split("\0")]

    def upload(self, model: str, artifact: Artifact, key: str, pieces: Iterator[bytes] | None = None) -> str:
        """The id of an accepted upload's operation."""
        headers = {**OCTETS, "idempotency-key": key}
        path = f"/api/v1/models/{model}/versions"
        return _operation(self.api.send("POST", path, pieces or artifact.content, headers=headers))

    def deploy(self, service: str, model: str, replicas: int = 1) -> str:
        """The id of an accepted deployment's operation."""
        wish = {"name": service, "model": model, "replicas": replicas}
        return self.ask("POST", "/api/v1/services", wish)

    def ask(self, method: str, path: str, wish: object = None) -> str:
        """The id of the operation that an accepted wish has made."""
        return _operation(self.api.call(method, path, wish))

    def succeeded(self, operation_id: str) -> Document:
        """The operation, which must succeed."""
        path = f"/api/v1/operations/{operation_id}"

        def final() -> Document | None:
            found = self.api.get(f"{path}:wait", timeout=10)
            return found if found["done"] else None

        found = until(final, SETTLED_S, f"the end of {operation_id}")
        assert found["status"] == "succeeded", found
        return found

    def service(self, name: str) -> Document:
        return self.api.get(f"/api/v1/services/{name}")

    def replicas(self, service: str, *statuses: str) -> list[Document]:
        query = {"status.in": ",".join(statuses)} if statuses else {}
        return list(self.api.items(f"/api/v1/services/{service}/replicas", **query))

    def answer_of(self, service: str, file: str = "iris.onnx") -> bool | None:
        """True for the right answer, nothing for none; a wrong one is an assertion's failure."""
        asked, told = records(file)
        try:
            given = self.api.call("POST", f"/api/v1/services/{service}/predict", {"inputs": asked})
        except CommandFailed:
            return None
        assert (wrong := difference(given.document["outputs"], told)) is None, wrong
        return True

    def delete_service(self, name: str) -> None:
        self.succeeded(self.ask("DELETE", f"/api/v1/services/{name}"))


def _operation(answer: Answer) -> str:
    """The answer itself may be the resource, where the operation has ended already."""
    return answer.headers["operation-location"].rpartition("/")[2]


def _words(process: psutil.Process) -> str:
    """A process' command line and environment; nothing for one that ends while we look, or has ended."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return "\0".join([*process.cmdline(), *(f"{name}={value}" for name, value in process.environ().items())])
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def gone(processes: Sequence[psutil.Process]) -> bool | None:
    """True when all of them have ended."""
    return None if any(map(_words, processes)) else True
