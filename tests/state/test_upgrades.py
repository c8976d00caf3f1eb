"""Expand → backfill → contract: what a release may meet in a database, and how it brings an older one up to itself."""

import asyncio

import pytest
from alembic import command
from sqlalchemy import Connection, select, text, update

from core.errors import DatabaseBusy
from core.failpoints import FailpointReached, arm
from state import backfills
from state.backfills import Backfill, backfill
from state.database import Database, WriteSession
from state.installation import Counter
from state.migrate import migrate
from state.migrations.newest import newest_schema
from state.migrations.scripts import config
from state.schema import FLOOR, OLDEST_SERVED, SchemaTooNew, SchemaTooOld, check, read_schema
from state.tables import Operation, Tenant
from tests.state.rows import VAULT, somebody_waits_for_a_lock

OLD_OPERATION = """
INSERT INTO operations (id, tenant_id, created_at, lane, status, priority, due_at, attempt, rescues, epoch,
    cancel_requested, since, sequence, kind, target_type, target_id, target_name, generation, actor, arguments)
VALUES ('op_{n}', 'ten_default', 1, 'control', 'succeeded', 100, 1, 1, 0, 1, false, 1, 1,
    'model.create', 'model', 'mdl_1', 'iris', 1, 'local', '{{}}')
"""
OLD_AUDIT = """
INSERT INTO audit (id, tenant_id, created_at, actor, action, target_type, target_id, target_name, operation_id,
    request_id)
VALUES ('aud_{n}', 'ten_default', 1, 'local', 'model.create', 'model', 'mdl_1', 'iris', 'op_{n}', 'req_{n}')
"""


async def bring_to(database: Database, revision: str) -> None:
    """The schema of an older release."""
    await database.run_sync(lambda connection: command.upgrade(config(connection), revision))


async def pretend(database: Database, revision: str, floor: int) -> None:
    """A newer release has migrated the database."""

    def write(connection: Connection) -> None:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
        connection.execute(update(Counter).where(Counter.name == FLOOR).values(value=floor))

    await database.run_sync(write)


async def test_rows_of_the_release_before_are_kept_and_completed(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfills, "BATCH", 2)  # several batches
    await bring_to(empty, "0002")
    async with empty.write() as session:
        for number in range(5):
            await session.execute(text(OLD_OPERATION.format(n=number)))
            await session.execute(text(OLD_AUDIT.format(n=number)))
        await session.execute(text(OLD_OPERATION.format(n="alone")))
    await migrate(empty, VAULT)
    async with empty.read() as session:
        rows = await session.execute(select(Operation.id, Operation.request_id))
        found = {row.id: row.request_id for row in rows}
    assert found == {**{f"op_{n}": f"req_{n}" for n in range(5)}, "op_alone": None}


async def test_each_migration_is_a_transaction_of_its_own(empty: Database) -> None:
    await bring_to(empty, "0003")
    arm("migration_step=raise@2")
    try:
        with pytest.raises(FailpointReached):
            await migrate(empty, VAULT)
    finally:
        arm(None)
    assert (await read_schema(empty)).revision == "0004"
    await migrate(empty, VAULT)
    assert (await read_schema(empty)).revision == newest_schema()


async def test_a_backfill_that_was_interrupted_goes_on_and_one_that_is_done_is_not_run_again(
    database: Database,
) -> None:
    calls: list[int] = []

    async def batch(session: WriteSession) -> int:
        calls.append(len(calls))
        if len(calls) == 2:
            raise DatabaseBusy("cut off")
        return 1 if len(calls) < 4 else 0

    step = [Backfill("0004", batch)]
    with pytest.raises(DatabaseBusy):
        await backfill(database, "0004", step)
    assert await backfill(database, "0004", step) == 1
    assert await backfill(database, "0004", step) == 0
    assert len(calls) == 4
    assert await backfill(database, "0003", [Backfill("0005", batch)]) == 0


async def test_a_schema_outside_the_range_is_refused_with_what_to_do(empty: Database) -> None:
    with pytest.raises(SchemaTooOld, match="run portside migrate"):
        check(await read_schema(empty), newest_schema())
    await bring_to(empty, "0001")
    with pytest.raises(SchemaTooOld, match=f"needs {OLDEST_SERVED}"):
        check(await read_schema(empty), newest_schema())
    await migrate(empty, VAULT)
    check(await read_schema(empty), newest_schema())


async def test_a_newer_schema_is_served_until_it_says_otherwise(database: Database) -> None:
    await pretend(database, "9001", int(newest_schema()))
    check(await read_schema(database), newest_schema())
    await migrate(database, VAULT)  # by a starter of this release: nothing to do, and nothing undone
    assert (await read_schema(database)).revision == "9001"
    await pretend(database, "9002", 9001)
    with pytest.raises(SchemaTooNew, match="serves releases that know 9001"):
        check(await read_schema(database), newest_schema())
    with pytest.raises(SchemaTooNew):
        await migrate(database, VAULT)


async def test_a_migration_that_meets_a_busy_table_lets_others_pass_and_comes_again(
    empty: Database,
) -> None:
    if empty.dialect != "postgresql":
        await migrate(empty, VAULT, patience_s=1)  # SQLite has one writer: nobody can stand behind a migration
        return
    await bring_to(empty, "0002")
    async with empty.write() as session:
        # Somebody reads for long; the migration must not queue up before everybody else's reads.
        await session.execute(select(Tenant.id))
        await session.execute(text("LOCK TABLE operations IN ACCESS SHARE MODE"))
        migrating = asyncio.create_task(migrate(empty, VAULT, patience_s=300))
        for _ in range(2):  # it gives way, and comes again
            await somebody_waits_for_a_lock(empty)
            async with empty.read() as other:
                await other.execute(text("SELECT id FROM operations"))
        assert not migrating.done()
    await migrating
    check(await read_schema(empty), newest_schema())
