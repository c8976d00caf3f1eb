"""The stream of a tenant's events: each that happens, once, also those that others commit and those that came late."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import pytest

from api.dependencies import Context
from api.feed import EventFeed
from api.streams import AGAIN, events_of
from core.clock import now_micros
from core.ids import id_at, micros_of, new_id
from state.migrate import DEFAULT_TENANT
from state.queries.lists import Condition, View
from state.tables import Event, Tenant

ALL = View()
DEADLINE_S = 10


@dataclass(frozen=True)
class Told:
    """One server-sent event."""

    id: str
    name: str
    data: dict[str, object]


def made(number: int, tenant_id: str = DEFAULT_TENANT, kind: str = "service.running", at: int | None = None) -> Event:
    at = now_micros() if at is None else at
    return Event(
        id=id_at("evt", at)[:-5] + f"{number:05}",
        tenant_id=tenant_id,
        created_at=at,
        type=kind,
        resource_type="service",
        resource_id="svc_1",
        sequence=number,
        data={"number": number},
    )


async def happen(context: Context, *events: Event) -> None:
    async with context.database.write() as session:
        session.add_all(events)


def read(block: bytes) -> Iterator[Told]:
    for part in block.decode().strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in part.split("\n"))
        if "id" in lines:
            yield Told(lines["id"], lines["event"], json.loads(lines["data"]))


class Stream:
    """What a client has been told so far."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.told: list[Told] = []

    async def opened(self) -> "Stream":
        assert (await anext(self._pieces)).startswith(b": ")
        return self

    async def numbers(self, count: int) -> list[object]:
        """The numbers of the events once there are so many."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.told) < count:
                self.told += read(await anext(self._pieces))
        return [each.data["data"]["number"] for each in self.told]  # type: ignore[index]  # as `made` has it


@pytest.fixture
async def stream(context: Context) -> AsyncIterator[Stream]:
    """A client that follows the default tenant."""
    async with aclosing(events_of(context, DEFAULT_TENANT, ALL, None)) as pieces:
        yield await Stream(pieces).opened()


async def test_what_happens_is_told_and_what_has_happened_is_not(context: Context) -> None:
    await happen(context, made(1))
    async with aclosing(events_of(context, DEFAULT_TENANT, ALL, None)) as pieces:
        stream = await Stream(pieces).opened()
        await happen(context, made(2), made(3))
        assert await stream.numbers(2) == [2, 3]
        assert stream.told[0].name == "service.running"


async def test_an_event_that_was_made_before_and_committed_later_is_told(context: Context, stream: Stream) -> None:
    now = now_micros()
    await happen(context, made(5, at=now))
    assert await stream.numbers(1) == [5]
    await happen(context, made(4, at=now - 1_000_000))
    assert await stream.numbers(2) == [5, 4]


async def test_an_event_is_told_once_however_often_it_is_looked(context: Context, stream: Stream) -> None:
    for number in range(1, 4):
        await happen(context, made(number))
        assert await stream.numbers(number) == list(range(1, number + 1))


async def test_a_tenant_hears_of_its_own_events_only(context: Context, stream: Stream) -> None:
    stranger = new_id("ten")
    async with context.database.write() as session:
        session.add(Tenant(id=stranger, name="stranger", created_at=now_micros()))
    await happen(context, made(1, stranger), made(2))
    assert await stream.numbers(1) == [2]


async def test_filters_hold_for_the_stream_too(context: Context) -> None:
    view = replace(ALL, conditions=(Condition("type", "eq", ("service.failed",)),))
    async with aclosing(events_of(context, DEFAULT_TENANT, view, None)) as pieces:
        stream = await Stream(pieces).opened()
        await happen(context, made(1), made(2, kind="service.failed"))
        assert await stream.numbers(1) == [2]


async def test_a_client_that_comes_again_misses_nothing(context: Context) -> None:
    now = now_micros()
    last = made(10, at=now - 60_000_000)
    late = made(9, at=last.created_at - AGAIN // 2)
    await happen(
        context, made(1, at=last.created_at - 2 * AGAIN), last, late, *(made(number) for number in range(11, 14))
    )
    async with aclosing(events_of(context, DEFAULT_TENANT, ALL, last.id)) as pieces:
        stream = Stream(pieces)
        assert await stream.numbers(4) == [9, 11, 12, 13]
        await happen(context, made(14))
        assert await stream.numbers(5) == [9, 11, 12, 13, 14]


async def test_many_events_at_once_all_come(context: Context, stream: Stream) -> None:
    await happen(context, *(made(number) for number in range(1_200)))
    assert sorted(await stream.numbers(1_200), key=str) == sorted(range(1_200), key=str)


async def test_two_followers_hear_the_same(context: Context, stream: Stream) -> None:
    async with aclosing(events_of(context, DEFAULT_TENANT, ALL, None)) as pieces:
        other = await Stream(pieces).opened()
        await happen(context, made(1))
        assert await stream.numbers(1) == await other.numbers(1) == [1]


async def drained(feed: EventFeed) -> Sequence[str]:
    return [event_id async for ids in feed.follow(DEFAULT_TENANT, 60) for event_id in ids]


async def test_everybody_is_let_go_when_the_process_ends(context: Context) -> None:
    async with aclosing(context.feed.follow(DEFAULT_TENANT, 60)) as following:
        await anext(following)
        await context.let_go()
        async with asyncio.timeout(DEADLINE_S):
            assert [ids async for ids in following] == []
    assert await drained(context.feed) == []


async def test_a_reader_that_is_too_far_behind_is_let_go(context: Context) -> None:
    feed = EventFeed(context.database, most_waiting=10)
    slow, quick = feed.follow(DEFAULT_TENANT, 60), feed.follow(DEFAULT_TENANT, 60)
    async with aclosing(slow), aclosing(quick), asyncio.timeout(DEADLINE_S):
        heard = len(await anext(slow)) + len(await anext(quick))
        for begin in (0, 6):
            await happen(context, *(made(number) for number in range(begin, begin + 6)))
            while heard < begin + 6:
                heard += len(await anext(quick))
        assert [ids async for ids in slow] == []
    await feed.close()


def test_an_id_tells_when_it_was_made() -> None:
    now = now_micros()
    assert micros_of(id_at("evt", now)) == now // 1000 * 1000
    assert abs(micros_of(new_id("evt")) - now) < 1_000_000
