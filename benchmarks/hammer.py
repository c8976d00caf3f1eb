"""`python -m benchmarks.hammer ADDRESS CONNECTIONS SECONDS < REQUEST`: as many requests as the server answers.

Prints requests per second as a number. The request comes encoded; answers are only measured and counted.
"""

import asyncio
import subprocess
import sys
import time
from typing import cast

import uvloop

from benchmarks.platform import ROOT, Broken
from benchmarks.wire import Address, length_of


class Client(asyncio.Protocol):
    """One connection that sends the next request when the answer is complete."""

    def __init__(self, ask: bytes) -> None:
        self._ask, self._received = ask, b""
        self.count = self.refused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its base class
        self._transport.write(self._ask)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0 or len(self._received) < end + 4 + length_of(self._received[:end]):
            return
        self.count += 1
        self.refused += self._received[9:12] != b"200"
        self._received = b""
        self.answered()

    def answered(self) -> None:
        """Go on after an answer."""
        self._transport.write(self._ask)


async def hammer(address: Address, ask: bytes, connections: int, seconds: float) -> float:
    """Requests per second over all connections."""
    loop, clients = asyncio.get_running_loop(), [Client(ask) for _ in range(connections)]
    for client in clients:
        if isinstance(address, str):
            await loop.create_unix_connection(lambda client=client: client, address)  # type: ignore[misc]  # bound now
        else:
            await loop.create_connection(lambda client=client: client, *address)  # type: ignore[misc]  # bound now
    before, began = sum(client.count for client in clients), time.perf_counter()
    await asyncio.sleep(seconds)
    took_s = time.perf_counter() - began
    if refused := sum(client.refused for client in clients):
        sys.exit(f"{refused} requests were not answered 200")
    return (sum(client.count for client in clients) - before) / took_s


def rate(address: Address, ask: bytes, connections: int, seconds: float) -> float:
    """Requests per second, measured by a process of its own."""
    where = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
    command = [sys.executable, "-m", "benchmarks.hammer", where, str(connections), str(seconds)]
    done = subprocess.run(command, cwd=ROOT, input=ask, stdout=subprocess.PIPE, timeout=seconds + 60, check=False)
    if done.returncode:
        raise Broken("the load generator failed")
    return float(done.stdout)


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    return (host, int(port)) if colon else text


if __name__ == "__main__":
    ask = sys.stdin.buffer.read()
    print(uvloop.run(hammer(_address(sys.argv[1]), ask, int(sys.argv[2]), float(sys.argv[3]))))
