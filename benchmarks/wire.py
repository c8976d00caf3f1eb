"""A minimal keep-alive HTTP/1.1 client on a blocking socket: it must cost next to nothing beside what it measures."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Address: TypeAlias = "tuple[str, int] | str"  # host and port, or the path of a unix socket
TIMEOUT_S = 120.0
RECEIVE_BYTES = 64 * 1024


class ConnectionEnded(ConnectionError):
    """The server closed the connection in place of an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response."""

    status: int
    body: bytes

    @property
    def document(self) -> Mapping[str, Any]:
        """The body's JSON object."""
        found: Mapping[str, Any] = json.loads(self.body)
        return found


class Connection:
    """One connection; requests one after another."""

    def __init__(self, address: Address, timeout_s: float = TIMEOUT_S) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
        else:
            self.socket = socket.socket(socket.AF_INET)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request; bytes are sent as they are, any other body as JSON."""
        return self.exchange(request(method, path, body, headers))

    def exchange(self, data: bytes) -> Answer:
        """Send a request that is already encoded, and read its answer."""
        self.socket.sendall(data)
        return self.answer()

    def answer(self) -> Answer:
        """The next answer: its head, then as many bytes as the head says."""
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        length = length_of(received[:end])
        body = received[end + 4 :]
        while len(body) < length:
            body += self._more()
        return Answer(int(received[9:12]), body)

    def _more(self) -> bytes:
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionEnded("the server closed the connection instead of answering")
        return data


def request(method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a request."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    given = {"host": "127.0.0.1", "content-length": str(len(data)), **(headers or {})}
    if data and not isinstance(body, bytes):
        given["content-type"] = "application/json"
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    return "\r\n".join(lines).encode() + data


def length_of(head: bytes) -> int:
    """The content length that a response's head names; 0 where it names none."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
