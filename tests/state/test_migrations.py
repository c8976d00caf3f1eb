"""One history that runs on both databases and ends in exactly the tables that the code knows."""

import asyncio

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, inspect, select

from state.database import Database
from state.installation import Counter
from state.migrate import add_token, migrate
from state.samples import Sample
from state.tables import Base, Tenant, Token, User
from tests.state.rows import VAULT


async def test_the_migrated_schema_is_the_one_the_code_knows(database: Database) -> None:
    differences: list[object] = []

    def compare(connection: Connection) -> None:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences.extend(compare_metadata(context, Base.metadata))

    await database.run_sync(compare)
    assert {Counter.__tablename__, Sample.__tablename__} < Base.metadata.tables.keys()  # from every module with tables
    assert differences == []


async def test_partial_indexes_are_there_with_their_conditions(database: Database) -> None:
    found: dict[str, tuple[bool, str]] = {}

    def look(connection: Connection) -> None:
        where = f"{database.dialect}_where"
        for table in Base.metadata.tables:
            for index in inspect(connection).get_indexes(table):
                options = index.get("dialect_options", {})
                if where in options:
                    found[str(index["name"])] = (bool(index["unique"]), str(options[where]))

    await database.run_sync(look)
    assert found["uq_models_name"][0]
    assert found["uq_services_name"][0]
    assert found["uq_operations_holder"][0]
    assert "running" in found["uq_operations_holder"][1]
    assert {
        f"ix_{table}_{kind}" for table in ("operations", "predictions", "deliveries") for kind in ("due", "lease")
    } <= set(found)


async def test_migrating_again_changes_nothing(database: Database) -> None:
    async with database.read() as session:
        before = (await session.scalars(select(Tenant.webhook_secret_sealed))).all()
    await migrate(database, VAULT)
    async with database.read() as session:
        assert (await session.scalars(select(Tenant.webhook_secret_sealed))).all() == before
        assert await session.scalar(select(func.count()).select_from(User)) == 1


async def test_two_starters_at_once_migrate_once(empty: Database) -> None:
    await asyncio.gather(migrate(empty, VAULT), migrate(empty, VAULT))
    async with empty.read() as session:
        assert set(await session.scalars(select(Counter.name))) == {"routing_version", "schema_floor", "backfilled"}


async def test_two_starters_store_the_first_token_once(database: Database) -> None:
    await asyncio.gather(*(add_token(database, "0" * 64, "first start") for _ in range(2)))
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Token)) == 1
