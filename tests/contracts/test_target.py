"""What every target promises; a new one is one more line in TARGETS."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import NotFound
from state.placements import FINAL, StaleGeneration
from state.specs import ServiceSpec
from tests.workers.node.world import SERVICE, make_database, open_world, until
from workers.targets.base import SeenReplica, Target

PATIENCE_S = 60


@dataclass(frozen=True)
class Place:
    """A target with something behind it that brings its wishes about, and a way to break what it runs."""

    target: Target
    spec: Callable[..., ServiceSpec]
    break_replica: Callable[[str], Awaitable[None]]

    async def alive(self) -> list[SeenReplica]:
        return [replica for replica in await self.target.observe(SERVICE) if replica.status not in FINAL]

    async def settled(self, count: int) -> list[SeenReplica]:
        """Wait for exactly so many replicas, all of them ready."""

        async def look() -> list[SeenReplica]:
            found = await self.alive()
            return found if len(found) == count and all(replica.status == "ready" for replica in found) else []

        return await until(look, PATIENCE_S)

    async def emptied(self) -> None:
        """Wait until nothing runs."""

        async def look() -> bool:
            return not await self.alive()

        await until(look, PATIENCE_S)


@asynccontextmanager
async def on_a_node(folder: Path, node_host: str | None = None) -> AsyncIterator[Place]:
    """The node with stand-ins for the model server."""
    await make_database(f"sqlite:///{folder / 'portside.db'}")
    async with open_world(folder, node_host=node_host) as world:

        async def kill(replica_id: str) -> None:
            os.kill(await world.pid(replica_id), signal.SIGKILL)

        await world.node().start()
        yield Place(world.target, world.spec, kill)


def on_a_node_over_tcp(folder: Path) -> AbstractAsyncContextManager[Place]:
    """The same, whose replicas are reached from other machines."""
    return on_a_node(folder, node_host="127.0.0.1")


TARGETS: dict[str, Callable[[Path], AbstractAsyncContextManager[Place]]] = {
    "node": on_a_node,
    "node over TCP": on_a_node_over_tcp,
}


@pytest.fixture(params=sorted(TARGETS))
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with TARGETS[request.param](tmp_path) as place:
        yield place


async def read(target: Target, replica_id: str, *, follow: bool = False, tail_bytes: int = 100_000) -> bytes:
    return b"".join([piece async for piece in target.logs(replica_id, follow=follow, tail_bytes=tail_bytes)])


async def test_what_is_applied_comes_to_be_and_can_be_reached(place: Place) -> None:
    await place.target.apply(place.spec(replicas=2))
    replicas = await place.settled(2)
    assert len({replica.address for replica in replicas}) == 2
    assert all(replica.address and replica.address.startswith(("unix://", "http://")) for replica in replicas)
    assert {(replica.revision_id, replica.generation) for replica in replicas} == {("rev_1", 1)}
    assert [replica.created_at for replica in replicas] == sorted(replica.created_at for replica in replicas)


async def test_applying_the_same_again_changes_nothing(place: Place) -> None:
    await place.target.apply(place.spec())
    before = await place.settled(1)
    for _ in range(3):
        await place.target.apply(place.spec())
    assert await place.settled(1) == before


async def test_an_older_generation_is_refused(place: Place) -> None:
    await place.target.apply(place.spec(generation=3))
    with pytest.raises(StaleGeneration):
        await place.target.apply(place.spec(generation=2))
    with pytest.raises(StaleGeneration):
        await place.target.remove(SERVICE, 2)
    assert len(await place.settled(1)) == 1


async def test_another_revision_takes_the_place_of_the_former(place: Place) -> None:
    await place.target.apply(place.spec())
    [old] = await place.settled(1)
    await place.target.apply(place.spec(generation=2, revision_id="rev_2"))

    async def look() -> bool:
        return [replica.revision_id for replica in await place.alive()] == ["rev_2"]

    await until(look, PATIENCE_S)
    assert [replica.id for replica in await place.settled(1)] != [old.id]


async def test_a_broken_replica_is_replaced_and_says_why_it_ended(place: Place) -> None:
    await place.target.apply(place.spec())
    [first] = await place.settled(1)
    await place.break_replica(first.id)

    async def look() -> list[SeenReplica]:
        return [replica for replica in await place.target.observe(SERVICE) if replica.status == "failed"]

    [failed] = await until(look, PATIENCE_S)
    assert failed.id == first.id
    assert failed.reason
    assert failed.message
    assert [replica.id for replica in await place.settled(1)] != [first.id]


async def test_what_is_removed_goes_and_may_be_removed_again(place: Place) -> None:
    await place.target.apply(place.spec(replicas=2))
    await place.settled(2)
    for _ in range(2):
        await place.target.remove(SERVICE, 2)
        await place.emptied()


async def test_a_service_that_was_never_applied_has_no_replicas_and_can_be_removed(place: Place) -> None:
    assert list(await place.target.observe("svc_unknown")) == []
    await place.target.remove("svc_unknown", 1)


async def test_ended_replicas_are_seen_until_a_newer_generation_is_applied(place: Place) -> None:
    await place.target.apply(place.spec(replicas=1))
    await place.settled(1)
    await place.target.remove(SERVICE, 1)
    await place.emptied()
    assert [replica.status for replica in await place.target.observe(SERVICE)] == ["stopped"]
    await place.target.apply(place.spec(generation=2, replicas=0))
    assert list(await place.target.observe(SERVICE)) == []


async def test_the_end_of_a_log_can_be_read(place: Place) -> None:
    await place.target.apply(place.spec())
    [replica] = await place.settled(1)
    everything = await read(place.target, replica.id)
    assert replica.id.encode() in everything
    assert everything.endswith(b"\n")
    assert len(await read(place.target, replica.id, tail_bytes=5)) <= 5


async def test_a_followed_log_ends_with_its_replica(place: Place) -> None:
    await place.target.apply(place.spec())
    [replica] = await place.settled(1)
    async with aclosing(place.target.logs(replica.id, follow=True, tail_bytes=100_000)) as pieces:  # type: ignore[type-var]  # the port says iterator, all are generators
        assert replica.id.encode() in await anext(pieces)
        await place.target.remove(SERVICE, 1)
        assert b"".join([piece async for piece in pieces]) == b""
    assert [seen.status for seen in await place.target.observe(SERVICE)] == ["stopped"]


async def test_the_log_of_no_replica_is_not_found(place: Place) -> None:
    with pytest.raises(NotFound, match="rep_unknown"):
        await read(place.target, "rep_unknown")
