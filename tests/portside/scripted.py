"""A real HTTP server that does what a script says, one step for each request, and remembers what it was sent."""

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from portside import Portside, Retries

QUICK = Retries(first_pause_s=0.001)


@dataclass(frozen=True)
class Say:
    """An answer; a dict is JSON."""

    status: int = 200
    document: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


class Drop:
    """Take the request and close the connection."""


class Hang:
    """Take the request and say nothing until the test ends."""


Step = Say | Drop | Hang


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Scripted(ThreadingHTTPServer):
    """Listens on loopback; `seen` are the requests in their order."""

    daemon_threads = True

    def __init__(self, steps: tuple[Step, ...]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._steps = deque(steps)
        self._played = threading.Event()
        self.seen: list[Seen] = []
        self.over = threading.Event()
        if not steps:
            self._played.set()

    def next_step(self) -> Step:
        """What this request meets."""
        step = self._steps.popleft()
        if not self._steps:
            self._played.set()
        return step

    def has_played(self, within_s: float = 30) -> bool:
        """Whether the whole script was done; who did not wait for an answer may have asked only just now."""
        return self._played.wait(within_s)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Scripted
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append(Seen(self.command, self.path, headers, body))
        step = self.server.next_step()
        if isinstance(step, Hang):
            self.server.over.wait(60)
        if not isinstance(step, Say):
            self.close_connection = True
            return
        content = json.dumps(step.document).encode()
        self.send_response(step.status)
        for name, value in {"content-type": "application/json", **step.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@contextmanager
def scripted(*steps: Step) -> Iterator[Scripted]:
    """A server for the length of the block, which must have done its whole script by then."""
    server = Scripted(steps)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
        assert server.has_played(), "the script was not played to its end"
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def asking(*steps: Step, retries: Retries = QUICK, timeout_s: float = 30) -> Iterator[tuple[Scripted, Portside]]:
    """Such a server and a client of it."""
    with scripted(*steps) as server, Portside(server.url, retries=retries, timeout_s=timeout_s) as platform:
        yield server, platform
