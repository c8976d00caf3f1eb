"""What goes wrong with the servers of a platform of several processes: PostgreSQL, Redis, MinIO."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from dramatiq import Message

from deploy.stack.redis import RedisServer
from state.worktables import LANES
from tests.crash.faults import EVERYWHERE, Chosen, Fault, Kill, Scene, full_disk
from tests.crash.installation import Server
from tests.crash.workload import predictions, services, uploads, verbs
from workers.broker.open import open_broker

HEAVY = (uploads, services, verbs)
MESSAGES = 200


def outage(server: str, how: str, strike: Callable[[Scene, Server], Awaitable[None]]) -> Chosen:
    """One thing that happens to one server, while everything works."""

    def chosen(chance: random.Random) -> Fault:
        async def meet(scene: Scene) -> None:
            await asyncio.sleep(0.6 * scene.chance.random())
            await strike(scene, scene.site.servers[server])

        return Fault(f"{server} {how}", meet, (predictions, chance.choice(HEAVY)))

    return chosen


async def killed(scene: Scene, server: Server) -> None:
    """SIGKILL, and back after a while on the same data."""
    names = {id(each): name for name, each in scene.site.servers.items()}
    scene.kills.append(Kill(server.pid, names[id(server)], "SIGKILL", time.time_ns() // 1000))
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(scene.chance.uniform(0.1, 1.5))
    await asyncio.to_thread(server.restart)


async def paused(scene: Scene, server: Server) -> None:
    """Connections stay, and nobody answers for longer than a lease."""
    await asyncio.to_thread(server.pause)
    await asyncio.sleep(scene.site.lease_s * scene.chance.uniform(1.1, 1.6))
    await asyncio.to_thread(server.resume)


async def flushed(scene: Scene, server: Server) -> None:
    """Redis forgets everything, twice."""
    assert isinstance(server, RedisServer)
    for _ in range(2):
        await asyncio.to_thread(server.flush)
        await asyncio.sleep(0.3 * scene.chance.random())


async def duplicated(scene: Scene, server: Server) -> None:
    """Many wake-ups that nobody sent: for work that is done, that never was, of other lanes, in any order."""
    assert isinstance(server, RedisServer)
    ids = [*scene.client.ledger.ids[-30:], "op_that_never_was", "prd_that_never_was"]
    lanes = [scene.chance.choice(list(LANES)) for _ in range(MESSAGES)]
    hints = [(lane, scene.chance.choice(ids)) for lane in lanes]
    await asyncio.to_thread(_send, server.url, hints)


def _send(url: str, hints: Sequence[tuple[str, str]]) -> None:
    broker = open_broker(url)
    for lane in LANES:
        broker.declare_queue(lane)
    for lane, hint in hints:
        broker.enqueue(Message(queue_name=lane, actor_name=f"wake_{lane}", args=(lane, hint), kwargs={}, options={}))
    broker.close()


def full_store(chance: random.Random) -> Fault:
    """MinIO's drive is full for a while; a process' own disk where it has no drive of its own."""

    async def strike(scene: Scene) -> None:
        if scene.site.drive is None:
            return await full_disk(chance).strike(scene)
        filler = scene.site.drive / "filler"
        await asyncio.to_thread(_fill, filler)
        await asyncio.sleep(scene.chance.uniform(0.5, 1.5))
        filler.unlink()
        return None

    return Fault("store full", strike, (uploads, predictions))


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as opened:
        try:
            while True:
                opened.write(bytes(1024 * 1024))
        except OSError:
            return


WITH_SERVERS: Sequence[Chosen] = (
    *EVERYWHERE,
    outage("postgres", "killed", killed),
    outage("postgres", "paused", paused),
    outage("redis", "killed", killed),
    outage("redis", "paused", paused),
    outage("redis", "flushed", flushed),
    outage("redis", "sends what nobody sent", duplicated),
    outage("minio", "killed", killed),
    outage("minio", "paused", paused),
    full_store,
)
