"""A receiver that is slow, dead or wrong holds up nobody else, and gets everything once it answers again."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import select, update

from core.clock import now_micros
from core.ids import new_id
from state.circuits import MOST_UNDER_WAY, TRIPS_AFTER, WAITING
from state.database import WriteSession
from state.events import send
from state.migrate import DEFAULT_TENANT
from state.switches import switch_off, switch_on
from state.tables import Circuit, Delivery, Event
from tests.workers.platform import Platform, wait_for
from tests.workers.receiver import open_receiver
from tests.workers.test_webhooks import HANDLERS, add_endpoint, endpoint_now

HEALTHY = 20
EACH = 2
LATEST_S = 18.0  # before the first attempt at the one that hangs is given up (20 s)


async def tell(platform: Platform, url: str, endpoint_id: str | None, count: int) -> list[str]:
    """So many events for one receiver, in one transaction."""
    async with platform.database.write() as session:
        return [(await send(session, _event(session), "{}", url, endpoint_id)).id for _ in range(count)]


def _event(session: WriteSession) -> Event:
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
    return event


async def rows(platform: Platform, receiver_id: str) -> list[Delivery]:
    async with platform.database.read() as session:
        return list(await session.scalars(select(Delivery).where(Delivery.endpoint_id == receiver_id)))


@pytest.mark.parametrize("count", [1, 5])
async def test_those_that_hang_hold_up_none_of_twenty_healthy_ones(platform: Platform, count: int) -> None:
    never = asyncio.Event()
    async with open_receiver(pause=never) as hanging, open_receiver() as healthy:
        those = [(await add_endpoint(platform, hanging.url, events=["run.failed"]))[0] for _ in range(count)]
        for slow in those:
            await tell(platform, slow.url, slow.id, 50)
        endpoints = [(await add_endpoint(platform, healthy.url, events=["run.failed"]))[0] for _ in range(HEALTHY)]
        host = await platform.start(HANDLERS)
        await wait_for(lambda: len(hanging.received) >= count * MOST_UNDER_WAY)
        began = time.monotonic()
        for endpoint in endpoints:
            await tell(platform, endpoint.url, endpoint.id, EACH)
        async with asyncio.timeout(LATEST_S):
            while len(healthy.received) < HEALTHY * EACH:
                await asyncio.sleep(0.01)
        took_s = time.monotonic() - began
        print(f"{HEALTHY * EACH} healthy deliveries in {took_s:.2f} s beside {count} that hang")
        for slow in those:  # their 46 others each wait, and take no slot
            assert sum(row.status == "sending" for row in await rows(platform, slow.id)) <= MOST_UNDER_WAY
        await host.stop(0.0)
        never.set()
    ids = [received.headers["webhook-id"] for received in healthy.received]
    assert len(set(ids)) == HEALTHY * EACH


async def test_one_that_fails_is_left_alone_and_gets_everything_when_it_answers(platform: Platform) -> None:
    async with open_receiver(answers=["500 Oops"]) as receiver:
        endpoint, _ = await add_endpoint(platform, receiver.url, events=["run.failed"])
        ids = await tell(platform, endpoint.url, endpoint.id, 12)
        await platform.start(HANDLERS)

        async def left_alone() -> bool:
            async with platform.database.read() as session:
                circuit = await session.get(Circuit, endpoint.id)
            found = await rows(platform, endpoint.id)
            is_open = circuit is not None and circuit.open_until is not None
            return is_open and all(row.status == "pending" and row.waiting_for == WAITING for row in found)

        await _until(left_alone)
        tried = len(receiver.received)
        assert TRIPS_AFTER <= tried < TRIPS_AFTER + MOST_UNDER_WAY
        assert (await endpoint_now(platform, endpoint.id)).failing_since is not None
        receiver.answers = ["200 OK"]
        await _pass_the_pause(platform)

        async def all_delivered() -> bool:
            return all(row.status == "delivered" for row in await rows(platform, endpoint.id))

        await _until(all_delivered)
        async with platform.database.read() as session:
            assert await session.get(Circuit, endpoint.id) is None
        assert (await endpoint_now(platform, endpoint.id)).failing_since is None
    assert len(receiver.received) == tried + len(ids)
    kept = {id: row for row in await rows(platform, endpoint.id) for id in [row.id]}
    assert sum(len(kept[id].attempts) for id in ids) == tried + len(ids)  # waiting used no attempt


async def test_a_probe_that_fails_is_the_only_one(platform: Platform) -> None:
    async with open_receiver(answers=["500 Oops"]) as receiver:
        endpoint, _ = await add_endpoint(platform, receiver.url, events=["run.failed"])
        await tell(platform, endpoint.url, endpoint.id, 10)
        async with platform.database.write() as session:
            past = now_micros() - 1
            session.add(Circuit(receiver=endpoint.id, failures=TRIPS_AFTER, open_until=past, updated_at=past))
        await platform.start(HANDLERS)

        async def is_open_again() -> bool:
            async with platform.database.read() as session:
                circuit = await session.get(Circuit, endpoint.id)
            return circuit is not None and circuit.failures == TRIPS_AFTER + 1

        await _until(is_open_again)

        async def nothing_due() -> bool:
            return all(row.due_at > now_micros() for row in await rows(platform, endpoint.id))

        await _until(nothing_due)
    assert len(receiver.received) == 1


async def test_a_host_that_predictions_name_is_left_alone_too(platform: Platform) -> None:
    async with open_receiver(answers=["500 Oops"]) as bad, open_receiver() as good:
        await tell(platform, bad.url, None, TRIPS_AFTER + 3)
        await platform.start(HANDLERS)

        async def is_open() -> bool:
            async with platform.database.read() as session:
                circuit = await session.get(Circuit, f"{DEFAULT_TENANT} http://127.0.0.1:{bad.port}")
            return circuit is not None and circuit.open_until is not None

        await _until(is_open)
        await tell(platform, good.url, None, 1)
        await wait_for(lambda: bool(good.received))


async def test_what_is_to_be_told_while_webhooks_are_off_goes_out_afterwards(platform: Platform) -> None:
    async with open_receiver() as receiver:
        endpoint, _ = await add_endpoint(platform, receiver.url, events=["run.failed"])
        async with platform.database.write() as session:
            await switch_off(session, "webhooks", "local", "a test", None)
        await platform.start(HANDLERS, poll_s=0.05)
        ids = await tell(platform, endpoint.url, endpoint.id, 3)
        for _ in range(6):  # the worker looks at its lanes several times
            await asyncio.sleep(0.05)
        assert receiver.received == []
        async with platform.database.write() as session:
            await switch_on(session, "webhooks")

        async def all_delivered() -> bool:
            return all(row.status == "delivered" for row in await rows(platform, endpoint.id))

        await _until(all_delivered)
    assert len(receiver.received) == len(ids)
    assert all(len(row.attempts) == 1 for row in await rows(platform, endpoint.id))


async def _pass_the_pause(platform: Platform) -> None:
    past = now_micros() - 1
    async with platform.database.write() as session:
        await session.execute(update(Circuit).values(open_until=past))
        await session.execute(update(Delivery).where(Delivery.status == "pending").values(due_at=past))
        session.tell("work", "deliver", "")


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.01)
