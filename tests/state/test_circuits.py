"""A receiver that fails is left alone for a growing time, and never has more than its share under way."""

import asyncio

import pytest
from sqlalchemy import func, insert, select, update

from core.clock import now_micros
from core.ids import new_id
from state import claims
from state.circuits import (
    AT_ONCE,
    FIRST_PAUSE_S,
    JITTER,
    LONGEST_PAUSE_S,
    MOST_UNDER_WAY,
    TRIPS_AFTER,
    WAITING,
    close,
    find_circuit,
    let_go,
    note_failed,
    pause_s,
    put_off,
    receiver_of,
)
from state.database import Database, WriteSession
from state.deliveries import note_failure, note_success
from state.events import send
from state.migrate import DEFAULT_TENANT
from state.switches import switch_off, switch_on
from state.tables import Circuit, Delivery, Event, WebhookEndpoint
from tests.state.rows import LEASE, make_endpoint, somebody_waits_for_a_lock

URL = "https://example.com/hook"


@pytest.fixture
def first_pause_s(monkeypatch: pytest.MonkeyPatch) -> float:
    """So long that it is not over before a test has looked, however busy the machine is."""
    monkeypatch.setattr("state.circuits.FIRST_PAUSE_S", 600.0)  # a figure, not a function
    return 600.0


async def queue(session: WriteSession, endpoint_id: str | None, url: str = URL) -> Delivery:
    event = Event(
        id=new_id("evt"),
        tenant_id=DEFAULT_TENANT,
        created_at=now_micros(),
        type="version.ready",
        resource_type="version",
        resource_id="ver_1",
        sequence=1,
        data={},
    )
    session.add(event)
    return await send(session, event, "{}", url, endpoint_id)


async def queue_many(database: Database, endpoint_id: str | None, count: int) -> list[str]:
    async with database.write() as session:
        return [(await queue(session, endpoint_id)).id for _ in range(count)]


async def claim(database: Database) -> str | None:
    """What a free worker takes now: the receiver."""
    taken = await claims.take(database, "deliver", "one", LEASE)
    if taken is None:
        return None
    assert isinstance(taken[1], Delivery)
    return taken[1].receiver


async def fail(database: Database, receiver: str, times: int) -> int | None:
    until: int | None = None
    for _ in range(times):
        async with database.write() as session:
            until = await note_failed(session, receiver)
    return until


async def waiting(database: Database, receiver: str) -> list[tuple[str | None, bool]]:
    """What waits for a receiver: why, and whether it is due."""
    async with database.read() as session:
        query = select(Delivery).where(Delivery.receiver == receiver, Delivery.status == "pending")
        return [(row.waiting_for, row.due_at <= now_micros()) for row in await session.scalars(query)]


async def test_one_receiver_gets_its_share_and_the_others_theirs(database: Database) -> None:
    await queue_many(database, "whk_slow", 20)
    await queue_many(database, "whk_good", 1)
    taken = [await claim(database) for _ in range(MOST_UNDER_WAY + 2)]
    assert taken == ["whk_slow"] * MOST_UNDER_WAY + ["whk_good", None]


async def test_one_that_failed_the_last_time_gets_one_at_a_time(database: Database) -> None:
    await fail(database, "whk_slow", 1)
    await queue_many(database, "whk_slow", 3)
    assert [await claim(database) for _ in range(2)] == ["whk_slow", None]


async def test_failures_in_a_row_put_off_what_waits_and_what_comes(database: Database, first_pause_s: float) -> None:
    await queue_many(database, "whk_bad", 3)
    assert await fail(database, "whk_bad", TRIPS_AFTER - 1) is None
    assert await waiting(database, "whk_bad") == [(None, True)] * 3
    began = now_micros()
    until = await fail(database, "whk_bad", 1)
    assert until is not None
    least_s, most_s = first_pause_s * (1 - JITTER), first_pause_s * (1 + JITTER)
    assert began + int(least_s * 1_000_000) <= until <= now_micros() + int(most_s * 1_000_000)
    await queue_many(database, "whk_bad", 1)
    await queue_many(database, "whk_good", 1)
    assert await waiting(database, "whk_bad") == [(WAITING, False)] * 4
    assert await claim(database) == "whk_good"
    assert await claim(database) is None


async def test_what_was_under_way_when_it_opened_does_not_lengthen_the_pause(database: Database) -> None:
    until = await fail(database, "whk_bad", TRIPS_AFTER)
    assert await fail(database, "whk_bad", 3) == until


async def test_after_the_pause_one_probes_and_its_success_lets_all_go(database: Database) -> None:
    await queue_many(database, "whk_bad", 5)
    await fail(database, "whk_bad", TRIPS_AFTER)
    past = now_micros() - 1
    async with database.write() as session:
        await session.execute(update(Circuit).values(open_until=past))
        await session.execute(update(Delivery).values(due_at=past))
    assert [await claim(database) for _ in range(2)] == ["whk_bad", None]
    async with database.write() as session:
        await close(session, "whk_bad")
    assert await waiting(database, "whk_bad") == [(None, True)] * 4
    taken = [await claim(database) for _ in range(MOST_UNDER_WAY)]
    assert taken == ["whk_bad"] * (MOST_UNDER_WAY - 1) + [None]  # the probe is still under way
    async with database.read() as session:
        assert await find_circuit(session, "whk_bad") is None


async def test_a_failed_probe_doubles_the_pause(database: Database) -> None:
    await fail(database, "whk_bad", TRIPS_AFTER)
    async with database.write() as session:
        await session.execute(update(Circuit).values(open_until=now_micros() - 1))
    began = now_micros()
    until = await fail(database, "whk_bad", 1)
    assert until is not None
    assert (until - began) / 1_000_000 >= 2 * FIRST_PAUSE_S * (1 - JITTER)


def test_the_pause_grows_to_a_quarter_of_an_hour() -> None:
    pauses = [pause_s(TRIPS_AFTER + more) for more in range(12)]
    assert all(0.8 * FIRST_PAUSE_S <= pause <= 1.2 * LONGEST_PAUSE_S for pause in pauses)
    assert pauses[0] < pauses[3] < pauses[7]
    assert pauses[-1] >= 0.8 * LONGEST_PAUSE_S


async def test_concurrent_failures_are_all_counted(database: Database) -> None:
    await asyncio.gather(*(fail(database, "whk_bad", 1) for _ in range(TRIPS_AFTER)))
    async with database.read() as session:
        assert await session.scalar(select(Circuit.failures)) == TRIPS_AFTER


@pytest.mark.usefixtures("first_pause_s")
async def test_a_long_queue_is_put_off_and_let_go_in_parts(database: Database) -> None:
    await queue_many(database, "whk_bad", 1)
    async with database.write() as session:
        [row] = await session.execute(select(Delivery.__table__))
        copies = [{**row._mapping, "id": new_id("dlv")} for _ in range(AT_ONCE)]
        await session.execute(insert(Delivery), copies)
    until = await fail(database, "whk_bad", TRIPS_AFTER)
    assert until is not None
    assert (await waiting(database, "whk_bad")).count((None, True)) == 1  # the rest of the first part
    async with database.write() as session:
        assert not await put_off(session, "whk_bad", until)
    assert await waiting(database, "whk_bad") == [(WAITING, False)] * (AT_ONCE + 1)
    async with database.write() as session:
        assert await let_go(session, "whk_bad")
        assert not await let_go(session, "whk_bad")
    assert await waiting(database, "whk_bad") == [(None, True)] * (AT_ONCE + 1)


async def test_a_success_and_a_failure_at_one_endpoint_do_not_wait_for_each_other(database: Database) -> None:
    async with database.write() as session:
        endpoint = await make_endpoint(session, ["*"])
        delivery = await queue(session, endpoint.id)
    await fail(database, endpoint.id, 1)

    async def succeed() -> None:
        async with database.write() as session:
            await note_success(session, delivery)

    async with database.write() as session:
        query = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint.id)
        await session.execute(query.with_for_update())  # what a failure begins with
        succeeding = asyncio.create_task(succeed())
        await somebody_waits_for_a_lock(database)
        await note_failure(session, delivery)
    await succeeding
    async with database.read() as reading:
        assert await find_circuit(reading, endpoint.id) is None


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://a.example/x", "https://a.example"),
        ("https://A.example/y?z", "https://a.example"),
        ("http://u:p@a.example:8080/", "http://a.example:8080"),
    ],
)
def test_predictions_webhooks_are_told_apart_by_tenant_and_host(url: str, host: str) -> None:
    assert receiver_of("ten_1", url, None) == f"ten_1 {host}"
    assert receiver_of("ten_1", url, "whk_1") == "whk_1"
    assert receiver_of("ten_1", "http://[::1", None) == "ten_1"


async def test_a_delivery_of_a_release_without_receivers_goes_out(database: Database) -> None:
    await queue_many(database, "whk_old", 1)
    await queue_many(database, "whk_slow", MOST_UNDER_WAY)
    async with database.write() as session:
        await session.execute(update(Delivery).where(Delivery.receiver == "whk_old").values(receiver=None))
    taken = [await claim(database) for _ in range(MOST_UNDER_WAY + 1)]
    assert taken.count(None) == 1
    async with database.read() as session:
        sending = select(func.count()).select_from(Delivery).where(Delivery.status == "sending")
        assert await session.scalar(sending) == MOST_UNDER_WAY + 1


async def test_no_delivery_is_attempted_while_webhooks_are_off_and_none_is_lost(database: Database) -> None:
    async with database.write() as session:
        endpoint = await make_endpoint(session, ["*"])
        await switch_off(session, "webhooks", "local", "a test", None)
    await queue_many(database, endpoint.id, 2)
    assert await claim(database) is None
    async with database.write() as session:
        await switch_on(session, "webhooks")
    assert [await claim(database) for _ in range(2)] == [endpoint.id] * 2


async def test_a_switch_whose_time_is_over_holds_nothing_back(database: Database) -> None:
    async with database.write() as session:
        await switch_off(session, "webhooks", "local", "a test", -1)
    await queue_many(database, "whk_1", 1)
    assert await claim(database) == "whk_1"
