"""`python -m benchmarks.pacer PORT PER_SECOND SECONDS < REQUEST`: requests at a steady rate, whatever is answered.

Open loop: each request has its moment, and a slow answer delays none after it. Keep-alive connections, and another one
whenever none is free. Says `ready` when it begins; prints one JSON object at the end.
"""

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import uvloop

from benchmarks.figures import quantile
from benchmarks.platform import ROOT, Broken, Platform
from benchmarks.wire import length_of

LATE_S = 30.0
KEPT_BYTES = 300
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that was not 200, `at_s` after the beginning; status 0 where there was none."""

    at_s: float
    status: int
    body: str


@dataclass(frozen=True, slots=True)
class Paced:
    """What came of all requests; the times are from the moment that a request was due to its whole answer."""

    sent: int
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    failures: Sequence[Failure]


@dataclass(slots=True)
class _Load:
    port: int
    ask: bytes
    began: float = 0.0
    free: list[Stream] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    async def send(self, due: float) -> None:
        try:
            async with asyncio.timeout(LATE_S):
                status, body = await self._exchange()
        except (OSError, EOFError, TimeoutError) as error:
            status, body = 0, repr(error).encode()
        self.took_ms.append(1000 * (time.perf_counter() - due))
        if status != 200:
            said = body[:KEPT_BYTES].decode(errors="replace")
            self.failures.append(Failure(round(due - self.began, 3), status, said))

    async def _exchange(self) -> tuple[int, bytes]:
        stream = None
        while self.free and stream is None:
            stream = self.free.pop()
            if stream[0].at_eof():  # closed while nobody asked on it, which a server may do
                stream = None
        reader, writer = stream or await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self.ask)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(length_of(head))
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self.free.append((reader, writer))
        return int(head[9:12]), body


async def pace(port: int, ask: bytes, per_second: float, seconds: float) -> Paced:
    """Send for so long, then wait for what is still under way."""
    load = _Load(port, ask)
    load.began = time.perf_counter()
    await load.send(load.began)  # the first connection is no part of it
    load.took_ms.clear()
    gc.freeze()
    gc.disable()
    print("ready", flush=True)
    load.began = time.perf_counter()
    count, under_way = round(per_second * seconds), set[asyncio.Task[None]]()
    for number in range(count):
        due = load.began + number / per_second
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        task = asyncio.create_task(load.send(due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    rate = count / (time.perf_counter() - load.began)
    if under_way:
        await asyncio.wait(under_way)
    p50, p99, worst = (quantile(load.took_ms, share) for share in (0.5, 0.99, 1.0))
    return Paced(count, rate, p50, p99, worst, load.failures)


class Pacer:
    """The load as a process of its own; it has begun when this is constructed."""

    def __init__(self, platform: Platform, ask: bytes, per_second: float, seconds: float) -> None:
        words = [str(platform.address[1]), str(per_second), str(seconds)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.pacer", *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(ask)
        self._process.stdin.close()
        self._process.stdin = None  # `communicate` would flush it
        self._process.stdout.readline()
        self.ends = time.monotonic() + seconds

    def result(self) -> Paced:
        """Wait for its end. Raises `Broken`."""
        try:
            said, _ = self._process.communicate(timeout=max(0.0, self.ends - time.monotonic()) + LATE_S + 10)
        except subprocess.TimeoutExpired:
            raise Broken("the load did not end") from None
        finally:
            with suppress(ProcessLookupError):
                self._process.kill()
        if self._process.returncode:
            raise Broken("the load generator failed")
        found = json.loads(said)
        return Paced(**{**found, "failures": [Failure(**one) for one in found["failures"]]})


if __name__ == "__main__":
    request_bytes = sys.stdin.buffer.read()
    found = uvloop.run(pace(int(sys.argv[1]), request_bytes, float(sys.argv[2]), float(sys.argv[3])))
    print(json.dumps(asdict(found)))
