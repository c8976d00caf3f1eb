"""What is written once and read by nobody meanwhile is written at the end, with everything else or not at all."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from core.clock import now_micros
from core.ids import new_id
from state.database import Database, ReadSession, WriteSession
from state.tables import Audit, Base, History


class Stop(Exception):
    """Ends a transaction that shall leave nothing."""


def change(resource_id: str, sequence: int) -> History:
    return History(
        resource_id=resource_id,
        sequence=sequence,
        resource_type="model",
        to_status="active",
        move="create",
        actor="local",
        at=now_micros(),
    )


def audited() -> Audit:
    return Audit(
        id=new_id("aud"),
        tenant_id="ten_default",
        created_at=now_micros(),
        actor="local",
        action="model.create",
        target_type="model",
        target_id="mdl_1",
        target_name="m",
    )


async def count(session: ReadSession, table: type[Base]) -> int:
    return await session.scalar(select(func.count()).select_from(table)) or 0


async def test_appended_rows_are_there_after_the_commit(database: Database) -> None:
    async with database.write() as session:
        for sequence in (1, 2):
            session.append(change("mdl_1", sequence))
        session.append(audited())
    async with database.read() as session:
        assert await count(session, History) == 2
        assert await count(session, Audit) == 1


async def test_a_transaction_of_nothing_but_appended_rows_is_one(database: Database) -> None:
    async def write_and_stop() -> None:
        async with database.write() as session:
            session.append(change("mdl_1", 1))
            await session.write_appended()
            raise Stop

    with pytest.raises(Stop):
        await write_and_stop()
    async with database.read() as session:
        assert await count(session, History) == 0


async def test_a_part_that_failed_leaves_nothing_of_what_it_appended(database: Database) -> None:
    async def fail(session: WriteSession) -> None:
        async with session.part():
            session.append(change("mdl_2", 1))
            raise Stop

    async with database.write() as session:
        session.append(change("mdl_1", 1))
        with pytest.raises(Stop):
            await fail(session)
        async with session.part():
            session.append(change("mdl_3", 1))
    async with database.read() as reading:
        found = await reading.scalars(select(History.resource_id).order_by(History.resource_id))
        assert list(found) == ["mdl_1", "mdl_3"]


async def test_a_row_that_breaks_a_rule_undoes_all(database: Database) -> None:
    async def write_twice() -> None:
        async with database.write() as session:
            session.append(audited())
            session.append(change("mdl_1", 1))
            session.append(change("mdl_1", 1))

    with pytest.raises(IntegrityError):
        await write_twice()
    async with database.read() as session:
        assert await count(session, Audit) == 0
