"""A thousand who wait for operations of one API: half by `:wait`, half by a stream of events.

On the embedded platform and on an API over PostgreSQL. Some of the operations are ended one by one; their waiters are
timed from the `completed_at` of the operation, which lies before the commit, to the last byte of the answer. That all
wait for the same one, and are woken together, is told beside it.
"""

import asyncio
import base64
import json
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path

import uvloop

from benchmarks.counted import polls_in
from benchmarks.figures import Figure, load_in_words, quantile
from benchmarks.filling import fill_from_afar
from benchmarks.platform import MIB, Broken, OneProcess, fresh_folder, processor_s, running, running_api
from benchmarks.wakeup import MIGRATE_S, role_process
from benchmarks.wire import Address, length_of, request
from deploy.stack.child import StackFailed, free_port
from deploy.stack.postgres import PostgresServer

COUNT = 1000
OPERATIONS = COUNT // 2
SETTLE_S = 40.0
LOOK_S = 0.5
COUNTED_S = 5.0
ENDED = 100  # so many of the operations, while the waiters of the others go on waiting
APART_S = 0.01
ARRIVE_S = 0.01
WOKEN_MS = 150.0
POLLS_IN_50_MS = 1.0
GROWTH_MIB = 100.0
LATE_S = 90.0
TOGETHER = f"op_{OPERATIONS + 1}"


def measure() -> list[Figure]:
    """Embedded, then PostgreSQL."""
    try:
        return [*_embedded(), *_on_postgres()]
    except StackFailed as error:
        raise Broken(str(error)) from error


def _embedded() -> list[Figure]:
    with fresh_folder() as data:
        with running(data):
            pass  # it makes the database
        _fill(f"sqlite:///{data / 'portside.db'}")
        notes = data / "polls"
        with running(data, _noting(notes)) as platform:
            return _figures("SQLite", platform, notes)


def _on_postgres() -> list[Figure]:
    with fresh_folder() as folder, ExitStack() as ending:
        postgres = PostgresServer.start(folder / "postgres")
        ending.callback(postgres.stop)
        settings = {
            "PORTSIDE_DATABASE_URL": postgres.url,
            "PORTSIDE_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0",  # nobody is there, and nobody needs it
            "PORTSIDE_ARTIFACTS_URL": f"file://{folder / 'artifacts'}",
            "PORTSIDE_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
            "PORTSIDE_DATA": str(folder / "api"),
        }
        role_process(folder, "migrate", settings).run(MIGRATE_S)
        _fill(postgres.url)
        notes = folder / "polls"
        with running_api(settings, _noting(notes)) as api:
            return _figures("PostgreSQL", api, notes)


def _fill(url: str) -> None:
    fill_from_afar(url, "models", 2 * (OPERATIONS + 1))
    fill_from_afar(url, "operations", OPERATIONS + 1)


def _noting(notes: Path) -> Sequence[str]:
    return ("-m", "benchmarks.counted", str(notes))


def _figures(where: str, platform: OneProcess, notes: Path) -> list[Figure]:
    found = uvloop.run(_Waiting(platform, notes).all())
    p50, p99, worst = (quantile(found.woken_ms, share) for share in (0.5, 0.99, 1.0))
    told = f"{worst:.0f} ms, p99 {p99:.0f}, p50 {p50:.0f} of {len(found.woken_ms)}"
    print(f"  {where}: woken {told}; {found.polls:.2f} polls in 50 ms; {load_in_words()}", flush=True)
    return [
        Figure(f"{COUNT} waiters, committed → woken, all, {where}", f"≤ {WOKEN_MS:g} ms", told, worst <= WOKEN_MS),
        Figure(
            "  queries of the hub in 50 ms",
            f"≤ {POLLS_IN_50_MS:g}",
            f"{found.polls:.2f}",
            found.polls <= POLLS_IN_50_MS,
        ),
        Figure("  memory they take", f"≤ {GROWTH_MIB:g} MiB", f"{found.growth:.0f} MiB", found.growth <= GROWTH_MIB),
        Figure("  processor time of the process while they wait", "", f"{100 * found.share:.0f} % of a core"),
        Figure("  all wait for one operation: until the last is woken", "", f"{max(found.together_ms):.0f} ms"),
    ]


class _Waiting:
    """The clients, and what was measured of them and of the process."""

    def __init__(self, platform: OneProcess, notes: Path) -> None:
        self._platform, self._notes, self._pid = platform, notes, platform.process.pid
        self.woken_ms: list[float] = []
        self.together_ms: list[float] = []
        self.polls = self.growth = self.share = 0.0

    async def all(self) -> "_Waiting":
        before = self._resident()
        waiting = await self._start([f"op_{1 + number // 2}" for number in range(COUNT)])
        began, used = time.monotonic(), processor_s([self._pid])
        await asyncio.sleep(COUNTED_S)
        took_s = time.monotonic() - began
        self.polls = 0.05 * sum(began <= at for at in polls_in(self._notes)) / took_s
        self.share = (processor_s([self._pid]) - used) / took_s
        self.growth = (self._resident() - before) / MIB
        ended: list[float] = []
        reader, writer = await asyncio.open_connection(*self._platform.address)
        for number in range(1, ENDED + 1):
            ended.append(await _cancel(reader, writer, f"op_{number}"))
            await asyncio.sleep(APART_S)
        woken = await asyncio.gather(*waiting[: 2 * ENDED])
        self.woken_ms = [1000 * (at - ended[number // 2]) for number, at in enumerate(woken)]
        self.growth = max(self.growth, (self._resident() - before) / MIB)
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)
        waiting = await self._start([TOGETHER] * COUNT)
        end = await _cancel(reader, writer, TOGETHER)
        self.together_ms = [1000 * (at - end) for at in await asyncio.gather(*waiting)]
        writer.close()
        return self

    async def _start(self, operations: Sequence[str]) -> "list[asyncio.Task[float]]":
        """One waiter for each, by turns of either kind; they have all been heard."""
        kinds, address = (_wait, _follow), self._platform.address
        waiting = []
        for number, operation in enumerate(operations):
            waiting.append(asyncio.create_task(kinds[number % 2](address, operation)))
            await asyncio.sleep(ARRIVE_S)
        await self._settle()
        if ended := [one for one in waiting if one.done()]:
            raise Broken(f"{len(ended)} did not wait: {ended[0].exception() or 'answered'}")
        return waiting

    async def _settle(self) -> None:
        """Wait until the process has done what there was to do when they came."""
        used, deadline = 0.0, time.monotonic() + SETTLE_S
        while (now := processor_s([self._pid])) - used > LOOK_S / 4:
            if time.monotonic() > deadline:
                raise Broken(f"the process does not come to rest within {SETTLE_S:g} s")
            used = now
            await asyncio.sleep(LOOK_S)

    def _resident(self) -> int:
        """The memory of the process, in bytes."""
        pages = int(Path(f"/proc/{self._pid}/statm").read_text("utf-8").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


async def _wait(address: Address, operation: str) -> float:
    """Wait by `:wait`; when the whole answer was there."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request("GET", f"/api/v1/operations/{operation}:wait?timeout=60"))
    with closing(writer):
        async with asyncio.timeout(LATE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(length_of(head))
        at = time.time()
    if b'"canceled"' not in body:
        raise Broken(f"a wait was answered {head[9:12].decode()} {body[:200].decode(errors='replace')}")
    return at


async def _follow(address: Address, operation: str) -> float:
    """Wait by the stream of events; when the last one was there."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request("GET", f"/api/v1/operations/{operation}/events"))
    with closing(writer):
        async with asyncio.timeout(LATE_S):
            await reader.readuntil(b"event: done\n")
        return time.time()


async def _cancel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, operation: str) -> float:
    """End an operation; when that was, as it says itself."""
    writer.write(request("POST", f"/api/v1/operations/{operation}:cancel"))
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(length_of(head))
    if b'"canceled"' not in body:
        raise Broken(f":cancel was answered {head[9:12].decode()} {body[:300].decode(errors='replace')}")
    return datetime.fromisoformat(json.loads(body)["completed_at"]).timestamp()
