"""A small webhook receiver on loopback: keeps what arrives, as a user's own service would."""

import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cli.failure import CommandFailed


@dataclass(frozen=True, slots=True)
class Received:
    """One request: its headers, in lower case, and its body's bytes."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where webhooks may be sent, and what came."""

    url: str
    inbox: "queue.Queue[Received]" = field(default_factory=queue.Queue)

    def next(self, timeout_s: float) -> Received:
        """The next request. Raises `CommandFailed` when none comes in time."""
        try:
            return self.inbox.get(timeout=timeout_s)
        except queue.Empty as error:
            raise CommandFailed(f"No webhook arrived at {self.url} within {timeout_s:g} s.") from error


@contextmanager
def listening() -> Iterator[Receiver]:
    """A receiver on a free port, for the length of the block."""
    inbox: queue.Queue[Received] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            inbox.put(Received({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the demo says what arrived."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook", inbox)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
