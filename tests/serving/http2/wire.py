"""A client of HTTP/2 that sends frames as they are told, right or wrong, and shows those that come back."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from serving.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
)
from serving.http2.hpack import Decoder

DEADLINE_S = 60
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
HELLO = PREFACE + frame(SETTINGS, 0, 0, b"")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of a reset or of a farewell."""
        return int.from_bytes(self.payload[4:8] if self.kind == GOAWAY else self.payload)


class FrameWire:
    """One connection to a server under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer, self._decoder = reader, writer, Decoder(2**16)

    def send(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def frame(self) -> Frame | None:
        """The next frame; None where the server has closed."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3]))
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
        return Frame(head[3], head[4], int.from_bytes(head[5:]), payload)

    async def next(self, *kinds: int) -> Frame:
        """The next frame of these kinds."""
        while (found := await self.frame()) is not None:
            if found.kind in kinds:
                return found
        raise ConnectionError("the server has closed")

    async def headers(self) -> dict[bytes, bytes]:
        """The fields of the next block."""
        return dict(self._decoder.decode((await self.next(HEADERS)).payload))

    async def status(self) -> tuple[int, str]:
        """How the next call ends: code and text."""
        while True:
            fields = await self.headers()
            if b"grpc-status" in fields:
                return int(fields[b"grpc-status"]), fields.get(b"grpc-message", b"").decode()

    async def ends_with(self) -> int:
        """The error code of the server's farewell, after which it closes."""
        code = (await self.next(GOAWAY)).code
        while await self.frame() is not None:
            pass
        return code

    async def resets_with(self) -> int:
        """The error code with which the next stream is reset."""
        return (await self.next(RST_STREAM)).code

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


async def connect(port: int) -> FrameWire:
    """A connection that has said hello."""
    wire = FrameWire(*await asyncio.open_connection("127.0.0.1", port))
    wire.send(HELLO)
    return wire


def block(fields: Mapping[str, str] | Iterable[tuple[str, str]]) -> bytes:
    """A header block of literals."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return b"".join(b"\x00" + _text(name.encode()) + _text(value.encode()) for name, value in pairs)


def head(path: str = INFER, **more: str) -> bytes:
    """The block of a call's head; underscores stand for dashes."""
    told = {":method": "POST", ":scheme": "http", ":path": path, "te": "trailers", "content-type": "application/grpc"}
    return block({**told, **{name.replace("_", "-"): value for name, value in more.items()}})


def opened(stream_id: int, path: str = INFER, **more: str) -> bytes:
    """The frame that begins a call."""
    return frame(HEADERS, END_HEADERS, stream_id, head(path, **more))


def prefixed(message: bytes, *, mark: int = 0) -> bytes:
    """A message of gRPC."""
    return bytes([mark]) + len(message).to_bytes(4) + message


def data(stream_id: int, payload: bytes, *, is_last: bool = False) -> bytes:
    """Frames of data."""
    parts = [payload[at : at + 16_384] for at in range(0, len(payload), 16_384)] or [b""]
    frames = [frame(DATA, 0, stream_id, part) for part in parts[:-1]]
    return b"".join([*frames, frame(DATA, END_STREAM if is_last else 0, stream_id, parts[-1])])


def called(stream_id: int, message: bytes, path: str = INFER, **more: str) -> bytes:
    """All of a call."""
    return opened(stream_id, path, **more) + data(stream_id, prefixed(message), is_last=True)


def _text(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)]) + text
    length, rest = bytearray([127]), len(text) - 127
    while rest >= 128:
        length.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*length, rest]) + text
