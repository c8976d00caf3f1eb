"""A webhook receiver that can keep its callers waiting, so that a kill finds a delivery under way."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LONGEST_HOLD_S = 30.0


@dataclass(frozen=True)
class Received:
    """One POST."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """Remembers every POST at once; answers 204 while its gate is open."""

    def __init__(self) -> None:
        self.url = ""
        self.gate = threading.Event()
        self.gate.set()
        self._received: list[Received] = []

    def take(self, received: Received) -> None:
        self._received.append(received)

    @property
    def received(self) -> tuple[Received, ...]:
        return tuple(self._received)

    def count(self, event_id: str) -> int:
        return sum(each.event_id == event_id for each in self.received)


class Server(ThreadingHTTPServer):
    """So many callers may wait for a receiver that is busy: whom it turns away comes again in five minutes."""

    request_queue_size = 128
    daemon_threads = True


@contextmanager
def listening() -> Iterator[Receiver]:
    """A receiver on a free port of loopback, for the length of the block."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            announced = int(self.headers["content-length"])
            body = self.rfile.read(announced)
            if len(body) < announced:  # the caller was killed while it sent
                return
            receiver.take(Received({name.lower(): value for name, value in self.headers.items()}, body))
            receiver.gate.wait(LONGEST_HOLD_S)
            with suppress(ConnectionError):  # the caller was killed meanwhile
                self.send_response(204)
                self.end_headers()

        def handle(self) -> None:
            with suppress(ConnectionError):  # likewise, before it had sent everything
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        receiver.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
