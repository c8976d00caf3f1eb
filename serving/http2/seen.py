"""Which streams a client has opened, so that a frame for one that is not open can be told apart (RFC 9113, 5.1).

Numbers only grow, so that little has to be remembered: the last one, those that were left out, and those that we ended
while their client may not have known.
"""

from typing import Final

from serving.http2.faults import ConnectionFault, ErrorCode, StreamFault

MOST_LEFT: Final = 1024  # streams that were ended before their client was done
MOST_GAPS: Final = 64


class SeenStreams:
    """Remembers for one connection."""

    def __init__(self) -> None:
        self.last_id, self._next_id = 0, 1
        self._left: dict[int, None] = {}  # in the order in which they were ended
        self._gaps: list[range] = []

    def open(self, stream_id: int) -> bool:
        """A new stream; False for one that we have ended. Raises `ConnectionFault` for one that cannot be opened."""
        if stream_id >= self._next_id and stream_id & 1:
            if stream_id != self._next_id:
                self._gaps = [*self._gaps[1 - MOST_GAPS :], range(self._next_id, stream_id)]
            self.last_id, self._next_id = stream_id, stream_id + 2
            return True
        if stream_id in self._left:
            return False
        if not stream_id & 1 or any(stream_id in gap for gap in self._gaps):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"the stream {stream_id} cannot be opened any more")
        raise ConnectionFault(ErrorCode.STREAM_CLOSED, f"the stream {stream_id} is closed")

    def leave(self, stream_id: int) -> None:
        """We have ended it, and its client may still send."""
        self._left[stream_id] = None
        if len(self._left) > MOST_LEFT:
            del self._left[next(iter(self._left))]

    def check_data(self, stream_id: int) -> None:
        """Data for a stream that is not open. Raises `ConnectionFault`, `StreamFault` where it could not be sent."""
        if stream_id not in self._left:
            self.check_other(stream_id)
            raise StreamFault(ErrorCode.STREAM_CLOSED, "the stream is closed")

    def check_other(self, stream_id: int) -> None:
        """A reset or a window for a stream that is not open. Raises `ConnectionFault` where there was none yet."""
        if stream_id > self.last_id or not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"there is no stream {stream_id} yet")
