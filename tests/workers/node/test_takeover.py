"""Several nodes on one PostgreSQL: one works, the others stand by; who slept through its lease does no harm."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, update

from deploy.stack.postgres import PostgresServer
from state.tables import History, Replica
from tests.workers.node.world import World, is_running, open_world, until
from workers.targets.base import SeenReplica

LEASE_S = 4.0  # the node's own is shorter: see `workers.node.lease`
LOCAL = "127.0.0.1"


@dataclass
class OtherNode:
    """A node in a process of its own, and what it logs."""

    process: Process
    lines: list[str]

    async def says(self, words: str) -> None:
        """Wait until it logs these words."""

        async def look() -> bool:
            return any(words in line for line in self.lines)

        await until(look)


@asynccontextmanager
async def other_node(root: Path, data: Path, url: str, lease_s: float = LEASE_S) -> AsyncIterator[OtherNode]:
    """A started node on a data folder of its own; killed at the end."""
    settings = {"DATABASE_URL": url, "NODE_HOST": LOCAL, "LEASE_S": str(lease_s)}
    environment = {**os.environ, **{f"PORTSIDE_{name}": value for name, value in settings.items()}}
    command = (sys.executable, "-m", "tests.workers.node.node_only", str(data))
    process = await create_subprocess_exec(*command, cwd=root, env=environment, stdout=PIPE)
    node = OtherNode(process, [])
    reading = asyncio.create_task(_read(node))
    try:
        await node.says("started")
        yield node
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _read(node: OtherNode) -> None:
    assert node.process.stdout is not None
    async for line in node.process.stdout:
        node.lines.append(line.decode())


@asynccontextmanager
async def here(data: Path, url: str, lease_s: float = LEASE_S) -> AsyncIterator[World]:
    """The installation as a process of this test sees it."""
    async with open_world(data, database_url=url, node_host=LOCAL, lease_s=lease_s) as world:
        yield world


async def pids(world: World) -> list[int]:
    return [await world.pid(replica.id) for replica in await world.seen("ready")]


async def moves_of(world: World, replica_id: str) -> list[str]:
    async with world.database.read() as session:
        query = select(History.move).where(History.resource_id == replica_id).order_by(History.sequence)
        return list(await session.scalars(query))


async def test_a_second_node_waits_says_so_and_takes_over_from_one_that_was_killed(
    repository_root: Path, tmp_path: Path, shared_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with here(tmp_path / "b", shared_database) as world:
        async with other_node(repository_root, tmp_path / "a", shared_database) as first:
            await world.target.apply(world.spec(replicas=2))
            served = {replica.id for replica in await world.ready(2)}
            children = await pids(world)
            await world.node().start()

            async def waits() -> bool:
                return caplog.text.count("is the node of this installation; this one waits") == 1

            await until(waits)
            assert {replica.id for replica in await world.ready(2)} == served
            first.process.kill()
            killed_at = time.monotonic()
            await world.ended("failed", 2)
            assert not served & {replica.id for replica in await world.ready(2)}
            assert time.monotonic() - killed_at < 0.6 * LEASE_S + 15  # one on a machine of one's own
            assert not any(map(is_running, children))
        assert caplog.text.count("this one waits") == 1


async def test_a_node_that_slept_through_its_lease_writes_nothing_and_stands_by(
    repository_root: Path, tmp_path: Path, shared_database: str
) -> None:
    async with (
        here(tmp_path / "b", shared_database, lease_s=10) as world,  # it is not to lose its own, even if it is slow
        other_node(repository_root, tmp_path / "a", shared_database, lease_s=2) as sleeper,
    ):
        await world.target.apply(world.spec(replicas=2))
        old = await world.ready(2)
        children = await pids(world)
        async with world.database.write() as session:  # as on another machine, where the successor cannot end them
            await session.execute(update(Replica).values(boot_id="another"))
        sleeper.process.send_signal(signal.SIGSTOP)
        successor = world.node()
        await successor.start()
        await world.ended("failed", 2)
        await world.ready(2)
        assert all(map(is_running, children))
        await world.target.apply(world.spec(replicas=3, generation=2))
        new = [replica.id for replica in await world.ready(3)]
        sleeper.process.send_signal(signal.SIGCONT)
        await sleeper.says("another node has taken over")

        async def ended() -> bool:
            return not any(map(is_running, children))

        await until(ended)
        assert [replica.id for replica in await world.ready(3)] == new
        assert [await moves_of(world, replica.id) for replica in old] == [["create", "ready", "fail"]] * 2
        assert [await moves_of(world, replica_id) for replica_id in new] == [["create", "ready"]] * 3
        await successor.stop(2)
        await sleeper.says("this is the node of the installation now")
        assert not set(new) & {replica.id for replica in await world.ready(3)}


async def test_a_node_that_starts_again_in_its_folder_need_not_wait_for_its_own_lease(
    repository_root: Path, tmp_path: Path, shared_database: str
) -> None:
    async with here(tmp_path / "a", shared_database, lease_s=60) as world:
        async with other_node(repository_root, tmp_path / "a", shared_database, lease_s=60):
            await world.target.apply(world.spec())
            [old] = await world.ready(1)
        started = time.monotonic()
        await world.node().start()
        [new] = await world.ready(1)
        assert time.monotonic() - started < 20  # one on a machine of one's own; the lease has half a minute left
        assert new.id != old.id


async def test_replicas_outlive_the_database_and_what_happened_meanwhile_is_put_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer
) -> None:
    url = postgres.create_database("going_away", template="template_of_tests")
    async with here(tmp_path, url, lease_s=2) as world:
        await world.node().start()
        await world.target.apply(world.spec(replicas=2))
        lost, kept = await world.ready(2)
        lost_pid, kept_pid = await world.pid(lost.id), await world.pid(kept.id)
        await asyncio.to_thread(postgres.kill)
        try:
            os.kill(lost_pid, signal.SIGKILL)

            async def noticed() -> bool:
                return "the node cannot see what is wanted" in caplog.text

            await until(noticed)
            # Longer than the lease: nobody else has taken it, so nothing has changed.
            until_over = time.monotonic() + 1.5
            await until(lambda: _past(until_over))
            assert is_running(kept_pid)
        finally:
            await asyncio.to_thread(postgres.restart)

        async def lost_is_told() -> list[SeenReplica]:
            # A node that stood still for longer than its lease starts nothing, and has said so of others before.
            return [replica for replica in await world.seen("failed") if replica.id == lost.id]

        [ended] = await until(lost_is_told)
        assert ended.reason == "killed"
        assert kept.id in {replica.id for replica in await world.ready(2)}
        assert await world.pid(kept.id) == kept_pid


async def _past(instant: float) -> bool:
    return time.monotonic() > instant
