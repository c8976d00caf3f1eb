"""Those who wait for rows: one query for all of them, and rows are read when something became of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event

from api.dependencies import Context
from api.waiters import POLL_EMBEDDED_S, WaiterHub
from state.migrate import DEFAULT_TENANT
from state.tables import Operation

COUNT = 1000
DEADLINE_S = 60


@pytest.fixture
async def hub(context: Context) -> AsyncIterator[WaiterHub]:
    opened = WaiterHub(context.database)
    yield opened
    await opened.close()


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """The statements about operations of all databases, as they are sent."""
    sent: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM operations" in statement:
            sent.append(statement)

    event.listen(Engine, "before_cursor_execute", listen)
    yield sent
    event.remove(Engine, "before_cursor_execute", listen)


async def queue(context: Context, count: int) -> None:
    async with context.database.write() as session:
        session.add_all(
            Operation(
                id=f"op_{number}",
                tenant_id=DEFAULT_TENANT,
                created_at=number,
                kind="version.test",
                target_type="version",
                target_id=f"ver_{number}",
                target_name="1",
                generation=1,
                actor="somebody",
                arguments={},
                lane="control",
                status="queued",
                due_at=2**60,
                since=0,
                sequence=1,
            )
            for number in range(count)
        )


async def finish(context: Context, row_id: str, *, in_silence: bool = False) -> None:
    """End it; in silence, as another process does."""
    async with context.database.write() as session:
        row = await session.get_one(Operation, row_id)
        row.status, row.sequence = "canceled", 2
        if not in_silence:
            session.tell("changed", "operation", row_id)


async def start(hub: WaiterHub, count: int) -> list[asyncio.Task[Operation | None]]:
    """Waiters that have all been looked after once."""
    waiting = [asyncio.create_task(hub.wait_final(Operation, f"op_{n}", {"canceled"}, 60)) for n in range(count)]
    while any(waiter.sequence is None for waiter in hub._waiters) or len(hub._waiters) < count:
        await asyncio.sleep(0.01)
    return waiting


async def test_what_one_commit_changed_is_read_alone_however_many_wait(
    context: Context, hub: WaiterHub, statements: list[str]
) -> None:
    await queue(context, COUNT)
    waiting = await start(hub, COUNT)
    rows: list[str] = []

    def loaded(row: Operation, _: object) -> None:
        rows.append(row.id)

    event.listen(Operation, "load", loaded)
    try:
        await finish(context, "op_7")
        async with asyncio.timeout(DEADLINE_S):
            row = await waiting[7]
    finally:
        event.remove(Operation, "load", loaded)
    assert row is not None
    assert row.status == "canceled"
    assert set(rows) == {"op_7"}
    assert sum(one.done() for one in waiting) == 1


async def test_a_poll_is_one_query_and_finds_what_nobody_told_of(
    context: Context, hub: WaiterHub, statements: list[str]
) -> None:
    await queue(context, COUNT)
    waiting = await start(hub, COUNT)
    statements.clear()
    began = time.monotonic()
    await finish(context, "op_7", in_silence=True)
    async with asyncio.timeout(DEADLINE_S):
        row = await waiting[7]
    assert row is not None
    assert row.status == "canceled"
    polls = [statement for statement in statements if "json_each" in statement]
    reads = [statement for statement in statements if "operations.arguments" in statement]
    assert 1 <= len(polls) <= 2 + (time.monotonic() - began) / POLL_EMBEDDED_S
    assert len(reads) == 2  # the change itself, and the waiter's


async def test_a_wait_that_is_over_in_vain_tells_the_row_as_it_is(context: Context, hub: WaiterHub) -> None:
    await queue(context, 1)
    [waiting] = await start(hub, 1)
    for wait_s in (0.2, 2.0, 20.0):  # until the change is there before the wait is over
        brief = asyncio.create_task(hub.wait_final(Operation, "op_0", {"canceled"}, wait_s))
        async with context.database.write() as session:  # no change of the status, and so nothing that wakes anybody
            (await session.get_one(Operation, "op_0")).progress = {"percent": wait_s}
        row = await brief
        assert row is not None
        if is_fresh := row.progress == {"percent": wait_s}:
            break
    assert is_fresh
    assert not waiting.done()


async def test_who_waits_for_what_does_not_exist_is_told_at_once(hub: WaiterHub) -> None:
    async with asyncio.timeout(DEADLINE_S):
        assert await hub.wait_final(Operation, "op_nobody", {"canceled"}, 60) is None
