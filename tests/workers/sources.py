"""A server of one file on a real socket, which breaks off, stalls, redirects and changes its file as it is told."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

NOW = "Mon, 05 Jan 2026 12:00:00 GMT"


@dataclass
class FileSource:
    """The n-th request meets the n-th of each list, the last one for ever; `cuts` are over when they are over."""

    contents: Sequence[bytes]
    cuts: Sequence[int] = ()  # after how many bytes the connection ends
    statuses: Sequence[str] = ("200 OK",)
    # Or `none`, as it says itself, or `ignored`, or `unconditional`: honoured whatever `If-Range` says.
    ranges: str = "honoured"
    most_at_once: int | None = None  # bytes of one answer to a range
    validator: str | Sequence[str] = "etag"  # or `weak`, or the time of its last change; of each request
    range_said: str | None = None  # in place of the true `Content-Range`
    says_length: bool = True
    is_chunked: bool = False  # without a length, the first answer has an end that can be told from a cut
    extra_head: str = ""
    stall: asyncio.Event | None = None  # waited for before the last byte
    asked: list[dict[str, str]] = field(default_factory=list)
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    port: int = 0

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"http://127.0.0.1:{self.port}/models/iris.onnx"

    @property
    def ranges_asked(self) -> list[str | None]:
        """The `Range` of each request."""
        return [headers.get("range") for headers in self.asked]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, unless the test is over before."""
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._answer(reader, writer)
        finally:
            writer.transport.abort()
            self.serving.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:] if line)}
        number = len(self.asked)
        self.asked.append({**headers, "path": lines[0].split(" ")[1]})
        content = self.contents[min(number, len(self.contents) - 1)]
        status = self.statuses[min(number, len(self.statuses) - 1)]
        tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        head = f"accept-ranges: {'none' if self.ranges == 'none' else 'bytes'}\r\n{self.extra_head}"
        validators = [self.validator] if isinstance(self.validator, str) else self.validator
        validator = validators[min(number, len(validators) - 1)]
        if validator in ("etag", "weak"):
            head += f"etag: {'W/' if validator == 'weak' else ''}{tag}\r\n"
        else:
            tag = validator
            head += f"date: {NOW}\r\nlast-modified: {tag}\r\n"
        part = content
        if "range" in headers and (self.ranges == "unconditional" or self._is_same(headers, tag)):
            start, status = int(headers["range"].removeprefix("bytes=").removesuffix("-")), "206 Partial Content"
            part = content[start:][: self.most_at_once]
            said = self.range_said or f"bytes {start}-{start + len(part) - 1}/{len(content)}"
            head += f"content-range: {said}\r\n"
        is_chunked = self.is_chunked and part is content
        head += "transfer-encoding: chunked\r\n" if is_chunked else ""
        if self.says_length and not is_chunked:
            head += f"content-length: {len(part)}\r\n"
        head = f"HTTP/1.1 {status}\r\nconnection: close\r\n{head}\r\n"
        if is_chunked:
            head, part = f"{head}{len(part):x}\r\n", part + b"\r\n0\r\n\r\n"
        await self._send(writer, head.encode(), part, self.cuts[number] if number < len(self.cuts) else None)

    def _is_same(self, headers: dict[str, str], tag: str) -> bool:
        return self.ranges == "honoured" and headers.get("if-range") == tag

    async def _send(self, writer: asyncio.StreamWriter, head: bytes, body: bytes, cut: int | None) -> None:
        if self.stall is not None:
            writer.write(head + body[:-1])
            await writer.drain()
            await self.stall.wait()
            writer.write(body[-1:])
        else:
            writer.write(head + body[:cut])
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def open_source(*contents: bytes, **options: object) -> AsyncIterator[FileSource]:
    """A listening source."""
    source = FileSource(contents, **options)  # type: ignore[arg-type]  # the dataclass names and checks them
    server = await asyncio.start_server(source.serve, "127.0.0.1", 0)
    source.port = server.sockets[0].getsockname()[1]
    try:
        yield source
    finally:
        server.close()
        hanging = list(source.serving)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        await server.wait_closed()
