"""Whether the other side of a connection is gone for good, or has only said its last."""

import asyncio
import select
import sys


def has_hung_up(transport: asyncio.Transport | None) -> bool:
    """Whether the other side reads no answer either. A unix socket tells; over TCP a closed one looks half closed."""
    connected = None if transport is None else transport.get_extra_info("socket")
    if connected is None or sys.platform != "linux":
        return False
    poll = select.poll()
    poll.register(connected.fileno(), 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))
