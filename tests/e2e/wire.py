"""Requests byte by byte, as no client library would send them, and what must be true of every refusal."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.e2e.platform import RunningPlatform

# What hangs does so until the client goes. The longest that the platform takes on purpose is `cli.connection.HEAD_S`;
# beside other tests on two cores an answer may have to wait for its turn.
ANSWER_S = 20.0
PATIENCE_S = 70.0  # longer than any `Prefer: wait=60`
Headers = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What came back, and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def pointers(self) -> list[str]:
        return [error["pointer"] for error in self.document.get("errors", [])]


@dataclass(frozen=True)
class Wire:
    """Connections to one platform."""

    url: str
    patience_s: float = PATIENCE_S
    host: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", urlsplit(self.url).netloc)

    def open(self) -> socket.socket:
        name, _, port = self.host.partition(":")
        return socket.create_connection((name, int(port)), timeout=self.patience_s)

    def send(self, data: bytes, *, ends: bool = False) -> Answer:
        """The answer to these bytes; `ends` closes our half of the connection after them."""
        began = time.monotonic()
        with self.open() as connection:
            connection.sendall(data)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection, method=data.partition(b" ")[0].decode("latin-1"))
            response.begin()
            body = response.read()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, body, time.monotonic() - began)

    def ask(self, method: str, path: str, body: bytes = b"", headers: Headers | None = None) -> Answer:
        return self.send(self.request(method, path, body, headers))

    def ask_json(self, method: str, path: str, document: object, headers: Headers | None = None) -> Answer:
        sent = {"Content-Type": "application/json", **(headers or {})}
        return self.ask(method, path, json.dumps(document).encode(), sent)

    def request(self, method: str, path: str, body: bytes = b"", headers: Headers | None = None) -> bytes:
        sent = {"Host": self.host, "Content-Length": str(len(body)), **(headers or {})}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def form(*parts: tuple[str, bytes], boundary: bytes = b"XX", ends: bool = True) -> bytes:
    """A multipart body; a part's name may carry further parameters (`file"; filename="a`)."""
    made = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (boundary, name.encode(), content)
        for name, content in parts
    )
    return made + (b"--" + boundary + b"--\r\n" if ends else b"")


def must_refuse(answer: Answer, status: int | Sequence[int], code: str = "", pointer: str | None = None) -> None:
    """A 4xx problem that says what, which field, and says it soon."""
    told = answer.body[:500]
    assert answer.status in ((status,) if isinstance(status, int) else status), told
    assert 400 <= answer.status < 500, told
    assert answer.headers["content-type"].startswith("application/problem+json"), told
    problem = answer.document
    assert problem["status"] == answer.status
    assert all(isinstance(problem[name], str) for name in ("type", "title", "detail", "instance", "code")), told
    assert problem["detail"], told
    if code:
        assert problem["code"] == code, told
    if pointer is not None:
        assert pointer in answer.pointers, told
    assert answer.seconds < ANSWER_S


def must_refuse_inference(answer: Answer) -> None:
    """The same in the words of the Open Inference Protocol."""
    assert 400 <= answer.status < 500, answer.body[:500]
    assert isinstance(answer.document["error"], str)
    assert answer.seconds < ANSWER_S


def partial_files(running: RunningPlatform) -> list[Path]:
    """What the store has begun to write and not finished."""
    folder = running.data / "artifacts" / "partial"
    return list(folder.iterdir()) if folder.exists() else []


class Pulse:
    """Feels from aside how long a platform takes for the simplest answer, and how large it becomes."""

    def __init__(self, running: RunningPlatform) -> None:
        self.worst_s = 0.0
        self.peak_bytes = 0
        self._wire = Wire(running.url)
        self._process = psutil.Process(running.process.pid)
        self._loop = f"/proc/{running.process.pid}/task/{running.process.pid}/schedstat"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feel, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _feel(self) -> None:
        """Without the time that the platform's loop, or we, waited for a processor: that is other tests' doing."""
        ours = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        while not self._stop.wait(0.03):
            queued_s = _queued_s(self._loop) + _queued_s(ours)
            took_s = self._wire.ask("GET", "/healthz").seconds
            queued_s = _queued_s(self._loop) + _queued_s(ours) - queued_s
            self.worst_s = max(self.worst_s, took_s - queued_s)
            self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)


def _queued_s(thread: str) -> float:
    """How long a thread has stood in the run queue (Linux, Documentation/scheduler/sched-stats); else nothing."""
    try:
        return int(Path(thread).read_text("ascii").split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0
