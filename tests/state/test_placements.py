"""The fence around what the node is asked to run."""

import pytest
from sqlalchemy import select

from state.database import Database
from state.placements import StaleGeneration, displace, place
from state.tables import Placement
from tests.state.rows import make_service


def wish(service_id: str, generation: int, replicas: int = 1) -> dict[str, object]:
    return {
        "service_id": service_id,
        "tenant_id": "ten_default",
        "generation": generation,
        "revision_id": f"rev_{generation}",
        "replicas": replicas,
        "fresh_since": 0,
        "spec": {"n": generation},
    }


async def test_a_newer_or_equal_generation_replaces_and_an_older_is_refused(database: Database) -> None:
    async with database.write() as session:
        service = await make_service(session)
        for generation in (1, 3, 3):
            await place(session, wish(service.id, generation))
    with pytest.raises(StaleGeneration, match="generation 2"):
        async with database.write() as session:
            await place(session, wish(service.id, 2))
    with pytest.raises(StaleGeneration):
        async with database.write() as session:
            await displace(session, service.id, 2)
    async with database.read() as session:
        row = (await session.scalars(select(Placement))).one()
    assert (row.generation, row.revision_id, row.spec) == (3, "rev_3", {"n": 3})


async def test_displacing_keeps_the_fence(database: Database) -> None:
    async with database.write() as session:
        service = await make_service(session)
        await place(session, wish(service.id, 1))
        await displace(session, service.id, 2)
    with pytest.raises(StaleGeneration):
        async with database.write() as session:
            await place(session, wish(service.id, 1))
    async with database.read() as session:
        row = (await session.scalars(select(Placement))).one()
    assert (row.generation, row.replicas) == (2, 0)


async def test_a_deploy_that_comes_after_the_deletion_finds_a_tombstone(database: Database) -> None:
    async with database.write() as session:
        service = await make_service(session)
        await displace(session, service.id, 2)
    with pytest.raises(StaleGeneration):
        async with database.write() as session:
            await place(session, wish(service.id, 1))
    async with database.write() as session:
        await place(session, wish(service.id, 3))


async def test_displacing_what_does_not_exist_is_fine(database: Database) -> None:
    async with database.write() as session:
        await displace(session, "svc_unknown", 1)
    async with database.read() as session:
        assert (await session.scalars(select(Placement))).one_or_none() is None
