"""Connections that mix everything, cut at random places, and end at random moments: answers stay in order, nothing
leaks."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from api.gateway.table import RoutingTable
from state.database import Database
from state.migrate import DEFAULT_TENANT
from tests.api.gateway.ports import PATIENCE_S, request
from tests.api.gateway.replicas import Seen
from tests.api.gateway.test_gateway import until
from tests.api.gateway.test_short import INFER, PREDICT, World, world

ROUNDS = 60
Kind = Callable[[bytes], tuple[bytes, bytes]]  # of a mark, the request and what its answer must end with


async def echo(seen: Seen, writer: asyncio.StreamWriter) -> None:
    for _ in range(len(seen.body) % 3):
        await asyncio.sleep(0)
    if seen.body.startswith(b"chunked"):
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % len(seen.body))
        await writer.drain()
        writer.write(b"%b\r\n0\r\n\r\n" % seen.body)
    else:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(seen.body), seen.body))


def chunked(mark: bytes) -> tuple[bytes, bytes]:
    head = request(INFER).partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(mark), mark), mark


KINDS: list[Kind] = [
    lambda mark: (request(PREDICT, mark), mark),
    lambda mark: (request(INFER, mark), mark),
    lambda mark: (request(PREDICT, b"chunked" + mark), mark + b"\r\n0\r\n\r\n"),
    lambda mark: (request(PREDICT, mark, "Origin: http://localhost"), mark),
    lambda mark: (request("/v2/models/nobody/infer", mark), b'is not found"}'),
    lambda mark: (b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n", b'{"live": true}'),
    lambda mark: (request("/other", mark), b"the api"),
    chunked,
]


async def one_connection(here: World, chance: random.Random) -> None:
    asked = [chance.choice(KINDS)(b"<%d>" % n * chance.choice((1, 40))) for n in range(chance.randint(1, 12))]
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port.number)
    try:
        await speak(reader, writer, asked, chance)
    except ConnectionError:
        pass  # it was the first to leave
    finally:
        writer.transport.abort()


async def speak(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[tuple[bytes, bytes]], chance: random.Random
) -> None:
    data = b"".join(request for request, _ in asked)
    leaves_after = chance.choice((len(data), len(data), chance.randrange(len(data))))
    at = 0
    while at < leaves_after:
        size = chance.choice((1, 7, 60, 400, len(data)))
        writer.write(data[at : min(at + size, leaves_after)])
        at += size
        await asyncio.sleep(0)
    if leaves_after == len(data):
        for _, end in asked:
            async with asyncio.timeout(PATIENCE_S):
                await reader.readuntil(end)


async def test_answers_come_in_order_and_nothing_is_left_under_way(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    chance = random.Random(25)
    async with world(database, table, tmp_path, echo) as here:
        for _ in range(ROUNDS // 6):
            await asyncio.gather(*(one_connection(here, chance) for _ in range(6)))
        await until(lambda: here.gateway.tallies.in_flight == 0)
        assert here.backend.outstanding == 0
        assert not here.backend.record.is_out
        service_id = here.gateway.table.routes_of(DEFAULT_TENANT)[0].service.id
        statuses = dict(here.gateway.tallies.by_service["iris"].by_status)
        for _ in range(1024):  # every turn was given back
            assert here.gateway.holding.turns.take_now(service_id)
    assert set(statuses) <= {200, 499}
    assert statuses[200] > ROUNDS
