"""`python -m benchmarks.crowd ADDRESS CLIENTS SECONDS < REQUEST`: clients that ask again as soon as they are answered.

Prints requests per second and the latencies' p50 and p99 in seconds as JSON. The request comes encoded.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass

import uvloop

from benchmarks.figures import quantile
from benchmarks.hammer import Client
from benchmarks.platform import ROOT, Broken


@dataclass(frozen=True, slots=True)
class Seen:
    """What the clients saw."""

    rate: float
    p50_s: float
    p99_s: float


class TimedClient(Client):
    """A client that notes how long each answer took."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.taken_s: list[float] = []
        self._asked = time.perf_counter()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        before = self.count
        super().data_received(data)
        if self.count > before:
            now = time.perf_counter()
            self.taken_s.append(now - self._asked)
            self._asked = now


async def crowd(port: int, ask: bytes, clients: int, seconds: float) -> Seen:
    """Let so many clients ask for so long, after a fifth of the time to get going."""
    loop, all_of_them = asyncio.get_running_loop(), [TimedClient(ask) for _ in range(clients)]
    for client in all_of_them:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]  # bound now
    await asyncio.sleep(seconds / 5)
    for client in all_of_them:
        client.taken_s.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    took_s = time.perf_counter() - began
    if refused := sum(client.refused for client in all_of_them):
        sys.exit(f"{refused} requests were not answered 200")
    taken_s = [each for client in all_of_them for each in client.taken_s]
    return Seen(len(taken_s) / took_s, quantile(taken_s, 0.5), quantile(taken_s, 0.99))


def ask_in_a_crowd(port: int, ask: bytes, clients: int, seconds: float, cores: Collection[int]) -> Seen:
    """What clients in a process of their own see, which runs on these cores."""
    command = [sys.executable, "-m", "benchmarks.crowd", str(port), str(clients), str(seconds)]
    command = ["taskset", "-c", ",".join(map(str, cores)), *command] if cores else command
    done = subprocess.run(command, cwd=ROOT, input=ask, stdout=subprocess.PIPE, timeout=seconds + 60, check=False)
    if done.returncode:
        raise Broken("the load generator failed")
    return Seen(**json.loads(done.stdout))


if __name__ == "__main__":
    seen = uvloop.run(crowd(int(sys.argv[1]), sys.stdin.buffer.read(), int(sys.argv[2]), float(sys.argv[3])))
    print(json.dumps({"rate": seen.rate, "p50_s": seen.p50_s, "p99_s": seen.p99_s}))
