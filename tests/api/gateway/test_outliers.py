"""A replica that fails again and again is left out, for a pause that grows, as long as there is another one."""

import asyncio
import time
from pathlib import Path

import pytest

from api.gateway.outliers import FAULTS, FIRST_PAUSE_S, LONGEST_PAUSE_S, Record
from api.gateway.table import Backend, Route, RoutingTable
from state.database import Database
from state.queries.routing import RoutedService
from tests.api.gateway.replicas import Answer, Seen, replica
from tests.api.gateway.test_gateway import client_of, serve_iris

PREDICT = "/api/v1/services/iris/predict"
IRIS = RoutedService("svc_1", "ten_1", "iris", "running", ())


def answering(status: int) -> Answer:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}" % status)

    return answer


async def broken(seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-le")
    await writer.drain()
    writer.close()


def fail(record: Record, times: int = FAULTS) -> None:
    for _ in range(times):
        record.failed()


@pytest.mark.parametrize("bad", [answering(500), broken])
async def test_a_bad_replica_gets_no_more_requests_than_it_takes_to_know_it(
    database: Database, table: RoutingTable, tmp_path: Path, bad: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.gateway.outliers.FIRST_PAUSE_S", 60.0)  # a figure, not a function
    async with (
        replica(tmp_path, "a.sock", bad) as one,
        replica(tmp_path, "b.sock") as two,
        client_of(table) as client,
    ):
        await serve_iris(database, table, one, two)
        answers = [(await client.post(PREDICT, json={})).status_code for _ in range(4 * FAULTS)]
    assert len(one.seen) == FAULTS
    assert answers.count(200) == len(two.seen) == 3 * FAULTS


async def test_where_all_are_bad_all_are_asked(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with (
        replica(tmp_path, "a.sock", answering(500)) as one,
        replica(tmp_path, "b.sock", answering(500)) as two,
        client_of(table) as client,
    ):
        await serve_iris(database, table, one, two)
        answers = [(await client.post(PREDICT, json={})).status_code for _ in range(4 * FAULTS)]
    assert answers == [500] * (4 * FAULTS)
    assert min(len(one.seen), len(two.seen)) >= FAULTS


async def test_a_replica_that_has_enough_to_do_or_refuses_is_not_bad(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    for status in (503, 504, 422, 404):
        record = Record("rep_1")
        for _ in range(3 * FAULTS):
            record.answered(status)
        assert not record.is_out


def test_the_pause_grows_and_after_it_one_fault_is_enough() -> None:
    record = Record("rep_1")
    for pause_s in (FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, *(None,) * 7, LONGEST_PAUSE_S):
        before = time.monotonic()
        fail(record, 1 if record.pauses else FAULTS)
        assert record.until > before
        assert pause_s is None or before + pause_s <= record.until <= time.monotonic() + pause_s
        record.until = time.monotonic()  # the pause is over
        assert not record.is_out
    record.answered(200)
    fail(record, FAULTS - 1)
    assert not record.is_out


def test_a_deadline_that_its_caller_made_short_says_nothing_about_the_replica() -> None:
    record = Record("rep_1")
    for _ in range(3 * FAULTS):
        record.timed_out(0.05)
    assert not record.is_out
    for _ in range(FAULTS):
        record.timed_out(30)
    assert record.is_out


def test_the_least_busy_is_picked_and_the_idle_take_turns() -> None:
    backends = [Backend(f"rep_{n}", f"unix:///{n}") for n in range(3)]
    route = Route(IRIS, backends)
    assert {backend.id for _ in range(3) if (backend := route.pick()) is not None} == {"rep_0", "rep_1", "rep_2"}
    backends[0].outstanding, backends[1].outstanding = 3, 2
    assert [route.pick() for _ in range(4)] == [backends[2]] * 4
    fail(backends[2].record)
    assert [route.pick() for _ in range(4)] == [backends[1]] * 4
    for backend in backends[:2]:
        fail(backend.record)
    assert [route.pick() for _ in range(4)] == [backends[2]] * 4
    assert Route(IRIS).pick() is None
