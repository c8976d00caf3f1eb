"""A thousand duplicates of one request at the same moment: two APIs, each a process of its own, on one PostgreSQL.

Every connection is open before the first byte is sent. What counts is that there is one effect, that everybody has the
same answer, and that nobody is turned away; how long it takes is told beside it.
"""

import asyncio
import base64
import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import Figure, in_words
from benchmarks.platform import Broken, fresh_folder
from benchmarks.wakeup import MIGRATE_S, role_process
from benchmarks.wire import Connection, request
from deploy.stack.child import StackFailed, free_port
from deploy.stack.postgres import PostgresServer

COUNT = 1000
APIS = ("api-1", "api-2")
PATH = "/api/v1/webhooks"
BODY = {"url": "https://example.com/"}
LATE_S = 120.0


def measure() -> list[Figure]:
    """One storm; an API that was just started, and then once more, when all are replays."""
    try:
        with fresh_folder() as folder, ExitStack() as ending:
            ports = _start_apis(folder, ending)
            figures = _storm(ports, "fresh") + _storm(ports, "all replays")
            with Connection(("127.0.0.1", ports[0])) as api:
                made = int(api.call("GET", f"{PATH}?count=true&page_size=1").document["total"])
    except StackFailed as error:
        raise Broken(str(error)) from error
    return [Figure(f"{COUNT} duplicates at once, 2 APIs, PostgreSQL", "1 effect", f"{made}", made == 1), *figures]


def _storm(ports: Sequence[int], what: str) -> list[Figure]:
    began = time.perf_counter()
    answers = asyncio.run(_send_all(ports))
    took_s = time.perf_counter() - began
    statuses = Counter(status for status, _, _ in answers)
    bodies = {body for _, body, _ in answers}
    told = ", ".join(f"{count} of {status}" for status, count in sorted(statuses.items()))
    return [
        Figure(f"  {what}: answers", "all 201, alike", f"{told}; {len(bodies)} body", set(statuses) == {201}),
        Figure(f"  {what}: time", "", f"{took_s:.2f} s in all; {in_words([s for *_, s in answers], 's')}"),
    ]


async def _send_all(ports: Sequence[int]) -> list[tuple[int, bytes, float]]:
    """Status, body and seconds of each answer."""
    data = request("POST", PATH, BODY, {"idempotency-key": "storm", "connection": "close"})
    streams = [await asyncio.open_connection("127.0.0.1", ports[n % len(ports)]) for n in range(COUNT)]

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bytes, float]:
        began = time.perf_counter()
        writer.write(data)
        async with asyncio.timeout(LATE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read()
        writer.close()
        return int(head.split(b" ", 2)[1]), body, time.perf_counter() - began

    return list(await asyncio.gather(*(one(*stream) for stream in streams)))


def _start_apis(folder: Path, ending: ExitStack) -> list[int]:
    postgres = PostgresServer.start(folder / "postgres")
    ending.callback(postgres.stop)
    settings = {
        "PORTSIDE_DATABASE_URL": postgres.url,
        "PORTSIDE_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0",  # nobody is there, and nobody needs it
        "PORTSIDE_ARTIFACTS_URL": f"file://{folder / 'artifacts'}",
        "PORTSIDE_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
    }
    role_process(folder, "migrate", settings).run(MIGRATE_S)
    processes = [role_process(folder, name, settings) for name in APIS]
    for process in processes:
        process.start()
        ending.callback(process.stop, 15.0)
    for process in processes:
        process.await_ready()
    return [int(process.recipe.settings["PORTSIDE_PORT"]) for process in processes]
