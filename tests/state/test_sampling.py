"""Samples of several processes are written, added up window by window, and lost without harm."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import pytest
from sqlalchemy import func, select, text, update

from core.clock import now_micros
from core.ids import new_id
from state.advance import advance, lock
from state.database import Database, WriteSession
from state.history import begin
from state.latencies import bucket_of
from state.queries.samples import ServiceFigures, service_figures
from state.samples import Sample
from state.sampling import Sampler, Seen, Traffic, Usage
from state.tables import Replica, Service
from tests.state.rows import TEST, make_service

WINDOWS_S = (60, 300, 3600)
MINUTE = 60_000_000


class Process:
    """One that writes what it is told to have seen."""

    def __init__(self, database: Database, every_s: float = 10) -> None:
        self.seen: list[Seen] = []
        self.sampler = Sampler(database, self._see, every_s)

    async def _see(self) -> Seen:
        return self.seen.pop() if self.seen else []

    async def write(self, seen: Seen) -> None:
        self.seen.append(seen)
        await self.sampler.write()


async def make_replica(session: WriteSession, service: Service, *moves: str) -> Replica:
    replica = Replica(
        id=new_id("rep"),
        tenant_id=service.tenant_id,
        created_at=now_micros(),
        service_id=service.id,
        revision_id="rev",
        generation=1,
    )
    await begin(session, replica, TEST)
    for move in moves:
        await advance(session, replica, move, TEST)
    return replica


async def service_of(database: Database, replicas: int = 1) -> tuple[Service, Sequence[Replica]]:
    async with database.write() as session:
        service = await make_service(session, f"s{new_id('x')[-12:]}")
        return service, [await make_replica(session, service, "ready") for _ in range(replicas)]


def traffic(
    service: Service,
    replica: Replica | None,
    requests: int = 1,
    errors: int = 0,
    refused: int = 0,
    took_s: float = 0.01,
) -> Traffic:
    latency = {} if replica is None else {bucket_of(took_s): requests}
    replica_id = None if replica is None else replica.id
    return Traffic(service.tenant_id, service.id, replica_id, requests, errors, refused, latency)


async def figures(database: Database, service: Service, windows_s: Sequence[int] = WINDOWS_S) -> ServiceFigures:
    async with database.read() as session:
        return await service_figures(session, service, windows_s)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.01)


async def lie_apart(database: Database, micros: int) -> None:
    """Let the last samples be just so much newer than those before, however long it took to write them."""
    async with database.write() as session:
        newest = (await session.scalars(select(func.max(Sample.created_at)))).one()
        older = update(Sample).where(Sample.created_at < newest).values(created_at=newest - micros)
        await session.execute(older)


async def test_what_two_processes_saw_adds_up(database: Database) -> None:
    service, (one, two) = await service_of(database, 2)
    other, (third,) = await service_of(database)
    first, second = Process(database), Process(database)
    await first.write([traffic(service, one, 70, errors=2, refused=5), traffic(service, None, 4, refused=4)])
    await second.write([traffic(service, one, 20, took_s=1.0), traffic(service, two, 10, took_s=1.0)])
    await second.write([traffic(other, third, 1000)])
    found = await figures(database, service)
    minute = found.windows[0]
    assert (minute.requests, minute.errors, minute.refused) == (104, 2, 9)
    assert minute.latency == {bucket_of(0.01): 70, bucket_of(1.0): 30}
    assert {each.id: each.windows[0].requests for each in found.replicas} == {one.id: 90, two.id: 10}
    assert abs(found.as_of - now_micros()) < MINUTE


async def test_a_sample_counts_for_each_window_that_it_lies_in(database: Database) -> None:
    service, (replica,) = await service_of(database)
    process = Process(database)
    for requests, age in ((1, 2 * 60 * MINUTE), (10, 30 * MINUTE), (100, 2 * MINUTE), (1000, 0)):
        await process.write([traffic(service, replica, requests)])
        async with database.write() as session:
            newest = select(Sample.id).where(Sample.requests == requests).scalar_subquery()
            older = update(Sample).where(Sample.id == newest).values(created_at=Sample.created_at - age)
            await session.execute(older.execution_options(synchronize_session=False))
    found = await figures(database, service)
    assert [window.requests for window in found.windows] == [1000, 1100, 1110]
    assert [sum(window.latency.values()) for window in found.replicas[0].windows] == [1000, 1100, 1110]
    (only,) = (await figures(database, service, (300,))).windows
    assert only.requests == 1100


async def test_processors_and_memory_are_told_of_each_replica_and_together(database: Database) -> None:
    service, (one, two) = await service_of(database, 2)
    node = Process(database)
    await node.write([Usage(one.id, 8_000_000, 10_000_000, 500), Usage(two.id, 2_000_000, 10_000_000, 100)])
    await node.write([Usage(one.id, 4_000_000, 10_000_000, 300), Usage(two.id, 2_000_000, 10_000_000, 200)])
    await lie_apart(database, 10_000_000)
    found = await figures(database, service)
    minute = found.windows[0]
    assert minute.cores == pytest.approx(0.8)  # 16 s of 20
    assert minute.memory_bytes == 600  # at once, not 500 + 200
    by_id = {each.id: each.windows[0] for each in found.replicas}
    assert by_id[one.id].cores == pytest.approx(0.6)
    assert by_id[two.id].memory_bytes == 200
    assert found.windows[2].memory_bytes == 600


async def test_a_replica_that_has_ended_counts_and_one_without_samples_is_shown(database: Database) -> None:
    service, (ended, fresh) = await service_of(database, 2)
    await Process(database).write([traffic(service, ended, 7)])
    async with database.write() as session:
        leaving = await lock(session, Replica, ended.id)
        for move in ("stop", "stopped"):
            await advance(session, leaving, move, TEST)
        await make_replica(session, service, "fail")  # it has ended, and did nothing
    found = await figures(database, service)
    assert {each.id: (each.status, each.windows[0].requests) for each in found.replicas} == {
        ended.id: ("stopped", 7),
        fresh.id: ("ready", 0),
    }


async def test_a_service_that_was_never_asked_has_zeros_and_nothing_else(database: Database) -> None:
    service, _ = await service_of(database, 0)
    found = await figures(database, service)
    assert found.replicas == []
    for window in found.windows:
        assert (window.requests, window.cores, window.memory_bytes, window.latency) == (0, None, None, {})


async def test_usage_of_a_replica_that_nobody_knows_is_not_written(database: Database) -> None:
    await Process(database).write([Usage("rep_gone", 1, 1, 1)])
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Sample)) == 0


async def test_samples_that_cannot_be_written_are_lost_and_the_next_ones_are_not(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.sampling.LAST_S", 60.0)  # a figure, not a function
    caplog.set_level(logging.WARNING)
    service, (replica,) = await service_of(database)
    process = Process(database, every_s=0.01)

    async def is_told() -> bool:
        return "samples for the services' metrics are lost" in caplog.text

    async def is_counted() -> bool:
        return (await figures(database, service)).windows[0].requests == 10

    async with database.write() as session:
        await session.execute(text("ALTER TABLE samples RENAME TO hidden"))
    process.seen.append([traffic(service, replica, 1)])
    process.sampler.start()
    try:
        await until(is_told)
        async with database.write() as session:
            await session.execute(text("ALTER TABLE hidden RENAME TO samples"))
        process.seen.append([traffic(service, replica, 10)])
        await until(is_counted)
    finally:
        await process.sampler.stop()
    process.seen.append([traffic(service, replica, 100)])
    await process.sampler.finish()
    assert (await figures(database, service)).windows[0].requests == 110
