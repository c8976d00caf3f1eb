"""`python -m benchmarks.crowd ADDRESS CLIENTS SECONDS RATE < REQUEST`: clients that ask again once they are answered.

At a rate, if that is not 0, each asks at its own times; where its last answer is late, that lateness counts. Prints
requests per second and the latencies' p50 and p99 in seconds as JSON. The request comes encoded.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

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

    def __init__(self, ask: bytes, every_s: float = 0.0, first_s: float = 0.0) -> None:
        """It asks at these times, the first of them from now; without any, as soon as it is answered."""
        super().__init__(ask)
        self.taken_s: list[float] = []
        self._every_s, self._next = every_s, time.perf_counter() + first_s
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._go_on(time.perf_counter())

    def answered(self) -> None:
        now = time.perf_counter()
        self.taken_s.append(now - self._due)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        self._due = self._next if self._every_s else now
        self._next += self._every_s
        if self._due > now:
            asyncio.get_running_loop().call_later(self._due - now, self._send_now)
        else:
            self._transport.write(self._ask)

    def _send_now(self) -> None:
        self._due = time.perf_counter()  # that the timer is late is no fault of the server
        self._transport.write(self._ask)


async def crowd(port: int, ask: bytes, clients: int, seconds: float, per_s: float) -> Seen:
    """Let so many clients ask for so long, after a fifth of the time to get going."""
    loop, every_s = asyncio.get_running_loop(), clients / per_s if per_s else 0.0
    all_of_them = [TimedClient(ask, every_s, every_s * number / clients) for number in range(clients)]
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


def ask_in_a_crowd(
    port: int, ask: bytes, clients: int, seconds: float, cores: Collection[int], per_s: float = 0.0
) -> Seen:
    """What clients in a process of their own see, which runs on these cores; `per_s` of 0 is as fast as it goes."""
    command = [sys.executable, "-m", "benchmarks.crowd", str(port), str(clients), str(seconds), str(per_s)]
    command = ["taskset", "-c", ",".join(map(str, cores)), *command] if cores else command
    done = subprocess.run(command, cwd=ROOT, input=ask, stdout=subprocess.PIPE, timeout=seconds + 60, check=False)
    if done.returncode:
        raise Broken("the load generator failed")
    return Seen(**json.loads(done.stdout))


if __name__ == "__main__":
    port, clients, seconds, per_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    seen = uvloop.run(crowd(port, sys.stdin.buffer.read(), clients, seconds, per_s))
    print(json.dumps({"rate": seen.rate, "p50_s": seen.p50_s, "p99_s": seen.p99_s}))
