"""A raw HTTP/1.1 client for tests: what is written are bytes, what is read are whole responses."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_S = 60


@dataclass(frozen=True, slots=True)
class Reply:
    """One response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection to a server under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self, *, to_head: bool = False) -> Reply:
        """The next response; `to_head` when it answers a HEAD and so has no body."""
        async with asyncio.timeout(DEADLINE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            length = 0 if to_head else int(headers.get("content-length", 0))
            return Reply(int(head[0].split()[1]), headers, await self._reader.readexactly(length))

    async def line(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.readline()

    async def is_closed(self) -> bool:
        """Whether the server ends the connection without a further byte."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.read(1) == b""

    def close(self) -> None:
        self.writer.close()

    async def end(self) -> None:
        """Close at once, whatever was not sent yet, and wait until nothing of the connection is left."""
        self.writer.transport.abort()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


async def connect(path: Path) -> Wire:
    return Wire(*await asyncio.open_unix_connection(str(path)))


def request(method: str, path: str, body: bytes | object = b"", **headers: str) -> bytes:
    """The bytes of a request; an object as its body is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: test"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if data or method == "POST":
        lines.append(f"content-length: {len(data)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data
