"""What is told to who calls nothing that there is, or speaks no gRPC at all."""

from dataclasses import dataclass
from typing import Final

from serving.http2.faults import ErrorCode
from serving.http2.frames import DEFAULT_WINDOW
from serving.http2.stream import Carrier, Stream

NOTHING: Final = b""  # trailers without a field


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to each request with a head that is refused."""

    block: bytes
    body: bytes = b""
    is_at_once: bool = True

    def open(self, connection: Carrier, stream_id: int) -> Stream:
        """See `Opening`."""
        return Refusal(connection, stream_id, (self.block, self.body), is_at_once=self.is_at_once)


class Refusal(Stream):
    """A stream that is told no: at once where a caller might wait, else once it has said all."""

    __slots__ = ("_answer", "_is_at_once", "_is_told", "_left_bytes")

    def __init__(self, connection: Carrier, stream_id: int, answer: tuple[bytes, bytes], *, is_at_once: bool) -> None:
        """`answer` is a block, and a body if there is one."""
        super().__init__(connection, stream_id)
        self._answer, self._left_bytes = answer, DEFAULT_WINDOW
        self._is_at_once, self._is_told = is_at_once, False

    def opened(self) -> None:
        """See `Stream`."""
        if self._is_at_once:
            self._tell()

    def received(self, data: bytes) -> None:
        """See `Stream`."""
        self._left_bytes -= len(data)
        if self._left_bytes <= 0:
            self._tell()

    def ended(self) -> None:
        """See `Stream`."""
        self._tell()

    def expire(self, now: float, request_s: float) -> None:
        """See `Stream`."""
        if not self._is_told and now - self.seen_at > request_s:
            self.connection.reset(self.id, ErrorCode.CANCEL)

    def gone(self) -> None:
        """See `Stream`."""

    def _tell(self) -> None:
        if self._is_told:
            return
        self._is_told = True
        block, body = self._answer
        if body:
            self.connection.begin(self, block)
            self.connection.finish(self, NOTHING, body)
        else:
            self.connection.finish(self, block)
