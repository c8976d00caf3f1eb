"""The stream of a tenant's events: each that happens, once, also those that others commit and those that came late."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import delete

from api.dependencies import Context
from api.feed import EventFeed
from api.streams import AGAIN, STILL_HERE, Told, encode, encode_text, events_of
from core.clock import now_micros, to_micros
from core.ids import id_at, micros_of, new_id
from state.database import STATEMENT_S, Database, ReadSession
from state.migrate import DEFAULT_TENANT
from state.queries.lists import Condition, View
from state.tables import Event, Tenant, Token
from tests.api.platform import add_user

ALL = View()
DEADLINE_S = 60


@dataclass(frozen=True)
class Heard:
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


async def happen(context: Context, *events: Event, in_silence: bool = False) -> None:
    """In silence, as another process does, it is found by the next poll."""
    async with context.database.write() as session:
        session.add_all(events)
        if not in_silence:
            session.tell("changed")


def read(block: bytes) -> Iterator[Heard]:
    for part in block.decode().strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in part.split("\n"))
        if "id" in lines:
            yield Heard(lines["id"], lines["event"], json.loads(lines["data"]))


class Stream:
    """What a client has been told so far."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.told: list[Heard] = []

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
        await happen(context, made(2), made(3), in_silence=True)
        assert await stream.numbers(2) == [2, 3]
        assert stream.told[0].name == "service.running"


async def test_an_event_that_was_made_before_and_committed_later_is_told(context: Context, stream: Stream) -> None:
    now = now_micros()
    await happen(context, made(5, at=now))
    assert await stream.numbers(1) == [5]
    await happen(context, made(4, at=now - to_micros(timedelta(seconds=STATEMENT_S))))
    assert await stream.numbers(2) == [5, 4]


async def test_an_event_of_a_process_whose_clock_is_ahead_hides_nobody_elses(context: Context, stream: Stream) -> None:
    await happen(context, made(1, at=now_micros() + 3_600_000_000))
    assert await stream.numbers(1) == [1]
    await happen(context, made(2))
    assert await stream.numbers(2) == [1, 2]
    await happen(context, made(3))
    assert await stream.numbers(3) == [1, 2, 3]


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


async def test_a_stream_whose_filters_let_nothing_pass_is_heard_of_all_the_same(context: Context) -> None:
    view = replace(ALL, conditions=(Condition("type", "eq", ("service.failed",)),))
    async with aclosing(events_of(context, DEFAULT_TENANT, view, None, keep_alive_s=1)) as pieces:
        await Stream(pieces).opened()
        said = asyncio.ensure_future(anext(pieces))
        async with asyncio.timeout(DEADLINE_S):
            for number in itertools.count():
                await happen(context, made(number))
                if (await asyncio.wait([said], timeout=0.02))[0]:
                    break
        assert await said == STILL_HERE


async def test_a_stream_ends_when_its_reader_is_admitted_no_more(context: Context, app: FastAPI) -> None:
    asks = {**await add_user(context, "acme", "ada"), "Accept": "text/event-stream"}
    tenant_id = context.authenticator.authenticate(raw(asks)).tenant_id
    pieces = asyncio.Queue[bytes]()

    async def send(message: MutableMapping[str, Any]) -> None:
        pieces.put_nowait(message.get("body", b""))

    async def receive() -> MutableMapping[str, Any]:
        return await asyncio.Future()

    scope = {"type": "http", "method": "GET", "path": "/api/v1/events", "query_string": b"", "headers": raw(asks)}
    streaming = asyncio.ensure_future(app({**scope, "http_version": "1.1", "scheme": "http"}, receive, send))
    async with asyncio.timeout(DEADLINE_S):
        while await pieces.get() != STILL_HERE:
            pass
        await happen(context, made(1, tenant_id))
        while (piece := await pieces.get()) == STILL_HERE:
            pass
        assert b'"number": 1' in piece
        async with context.database.write() as session:
            await session.execute(delete(Token))
        await context.authenticator.refresh()
        await happen(context, made(2, tenant_id))
        await streaming
    last = [pieces.get_nowait() for _ in range(pieces.qsize())]
    assert (last[-1], set(last) - {STILL_HERE}) == (b"", {b""})


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


async def test_an_id_of_before_all_times_goes_on_from_the_beginning(context: Context) -> None:
    await happen(context, made(1, at=5_000_000), made(2))
    async with aclosing(events_of(context, DEFAULT_TENANT, ALL, "evt_" + "0" * 26)) as pieces:
        assert await Stream(pieces).numbers(2) == [1, 2]


def test_of_a_long_replay_only_what_may_come_again_is_remembered() -> None:
    last, now = id_at("evt", 1_000_000), now_micros()
    told = Told(last)
    for age_s in range(3600):
        told.add(id_at("evt", now - age_s * 1_000_000))
    assert len(told) <= 62
    assert last in told
    assert id_at("evt", now - AGAIN) in told


def test_only_the_ends_of_lines_that_a_client_knows_divide_a_text() -> None:
    document = {"name": "a\u2028b\u2029c\u0085d\x0ce"}
    (told,) = read(encode("evt_1", "x", document))
    assert told.data == document
    assert encode_text(1, "logs", "a\r\nb\rc\nd") == b"id: 1\nevent: logs\ndata: a\ndata: b\ndata: c\ndata: d\n\n"


async def test_many_events_at_once_all_come(context: Context, stream: Stream) -> None:
    await happen(context, *(made(number) for number in range(1_200)))
    assert sorted(await stream.numbers(1_200), key=str) == sorted(range(1_200), key=str)


async def test_two_followers_hear_the_same(context: Context, stream: Stream) -> None:
    async with aclosing(events_of(context, DEFAULT_TENANT, ALL, None)) as pieces:
        other = await Stream(pieces).opened()
        await happen(context, made(1))
        assert await stream.numbers(1) == await other.numbers(1) == [1]


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


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


async def test_of_a_reader_that_is_let_go_nothing_is_kept(context: Context) -> None:
    feed = EventFeed(context.database, most_waiting=10)
    slow, quick = feed.follow(DEFAULT_TENANT, 60), feed.follow(DEFAULT_TENANT, 60)
    async with aclosing(slow), aclosing(quick), asyncio.timeout(DEADLINE_S):
        heard = len(await anext(slow)) + len(await anext(quick))
        for begin in range(0, 30, 6):
            await happen(context, *(made(number) for number in range(begin, begin + 6)))
            while heard < begin + 6:
                heard += len(await anext(quick))
        assert feed.waiting == 0
    await feed.close()


class Turnstile(Database):
    """Another view of a database: its reads wait, in their order, until each is let through; some break."""

    def __init__(self, database: Database) -> None:
        vars(self).update(vars(database))
        self.free = asyncio.Semaphore(0)
        self.faults: list[Exception] = []
        self.failed = asyncio.Event()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        await self.free.acquire()
        if self.faults:
            self.failed.set()
            raise self.faults.pop()
        async with super().read() as session:
            yield session


async def test_who_joins_while_another_one_does_takes_nothing_from_him(context: Context) -> None:
    database = Turnstile(context.database)
    feed = EventFeed(database)
    first, second = feed.follow(DEFAULT_TENANT, 60), feed.follow(DEFAULT_TENANT, 60)
    async with aclosing(first), aclosing(second), asyncio.timeout(DEADLINE_S):
        joining = [asyncio.ensure_future(anext(each)) for each in (first, second)]
        await asyncio.sleep(0)
        database.free.release()
        assert await joining[0] == ()
        event = made(1)
        await happen(context, event)
        for _ in range(100):
            database.free.release()
        assert await joining[1] == ()
        assert await anext(first) == [event.id]
        await feed.close()


async def test_a_look_that_breaks_ends_neither_the_streams_nor_the_process_badly(context: Context) -> None:
    database = Turnstile(context.database)
    feed = EventFeed(database)
    database.free.release()
    async with aclosing(feed.follow(DEFAULT_TENANT, 60)) as following, asyncio.timeout(DEADLINE_S):
        await anext(following)
        database.faults = [RuntimeError("a bug")]
        database.free.release()
        await database.failed.wait()
        event = made(1)
        await happen(context, event)
        for _ in range(100):
            database.free.release()
        assert await anext(following) == [event.id]
        await feed.close()
        assert [ids async for ids in following] == []


def test_an_id_tells_when_it_was_made() -> None:
    now = now_micros()
    assert micros_of(id_at("evt", now)) == now // 1000 * 1000
    assert abs(micros_of(new_id("evt")) - now) < 1_000_000
