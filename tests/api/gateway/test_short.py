"""The short way, over real sockets: what goes there, that it answers as the long way does, and how it ends."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Scope

from api.gateway.connection import ConnectionPool
from api.gateway.holding import Holding
from api.gateway.short import ShortWay
from api.gateway.split import Gateway
from api.gateway.table import Backend, RoutingTable
from cli.server import http_server, serve_until
from core.errors import Unauthenticated
from state.advance import advance, lock
from state.database import Database
from state.migrate import DEFAULT_TENANT
from state.tables import Service
from tests.api.gateway.ports import Port, at_a_port, request
from tests.api.gateway.replicas import Answer, FakeReplica, Seen, ok, replica
from tests.api.gateway.test_gateway import TEST, make_replica, make_service, serve_iris, until

PREDICT, INFER, V1 = "/api/v1/services/iris/predict", "/v2/models/iris/infer", "/v1/models/iris:predict"


@dataclass(slots=True)
class World:
    """One service behind a gateway."""

    port: Port
    gateway: Gateway
    one: FakeReplica

    @property
    def backend(self) -> Backend:
        route = self.gateway.table.route(DEFAULT_TENANT, "iris")
        assert route is not None
        return route.backends[0]

    def counted(self, status: int) -> int:
        tally = self.gateway.tallies.by_service.get("iris")
        return tally.by_status.get(status, 0) if tally is not None else 0


@asynccontextmanager
async def world(
    database: Database, table: RoutingTable, folder: Path, answer: Answer = ok, *, warm: bool = True
) -> AsyncIterator[World]:
    """The gateway has an idle connection to the replica, so that the next prediction goes the short way."""

    def tenant_of(scope: Scope) -> str:
        if any(name == b"authorization" for name, _ in scope["headers"]):
            raise Unauthenticated("no token is valid here")
        return DEFAULT_TENANT

    async def first_ok(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await (ok if len(one.seen) == 1 and warm else answer)(seen, writer)

    with closing(ConnectionPool()) as pool:
        gateway = Gateway(PlainTextResponse("the api"), Holding(table, 0), pool, tenant_of, 5_000_000, "9.9")
        async with replica(folder, answer=first_ok) as one, at_a_port(gateway) as port:
            await serve_iris(database, table, one)
            if warm:
                assert (await port.say(request(PREDICT, last=True))).startswith(b"HTTP/1.1 200")
                assert port.long == [PREDICT]
                port.long.clear()
            yield World(port, gateway, one)


def head_of(answer: bytes) -> dict[str, str]:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


async def never(seen: Seen, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def test_it_answers_as_the_long_way_does(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    headers = ("X-Request-Id: mine", "Cookie: a=b", "Accept-Encoding: gzip", "Content-Type: application/json")
    async with world(database, table, tmp_path) as here:
        for path in (PREDICT, f"{PREDICT}?on_error=record", INFER, V1, "/v1/models/iris%3Apredict"):
            short = await here.port.say(request(path, b'{"a":1}', *headers, last=True))
            assert here.port.long == []
            long = await here.port.say(request(path, b'{"a":1}', *headers, "Expect: 100-continue", last=True))
            assert here.port.long.pop() == path.partition("?")[0].replace("%3A", ":")
            interim, _, long = long.partition(b"\r\n\r\n")
            assert interim == b"HTTP/1.1 100 Continue"
            assert {**head_of(short), "date": ""} == {**head_of(long), "date": ""}
            assert short.partition(b"\r\n\r\n")[2] == long.partition(b"\r\n\r\n")[2] == b'{"outputs":1}'
            by_short, by_long = here.one.seen[-2:]
            assert (by_short.line, by_short.headers, by_short.body) == (by_long.line, by_long.headers, by_long.body)
            assert by_short.line == f"POST {path} HTTP/1.1"
            assert by_short.headers["x-request-id"] == "mine"
            assert "cookie" not in by_short.headers


async def test_what_needs_more_than_to_be_passed_on_goes_the_long_way(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with world(database, table, tmp_path) as here:
        for headers in (
            ("Origin: http://localhost",),
            ("Expect: 100-continue",),
            ("X-Request-Id: one", "X-Request-Id: two"),
            ("Trailer: X-A",),
        ):
            await here.port.say(request(PREDICT, b"{}", *headers, last=True))
        assert (here.port.long, len(here.one.seen)) == ([PREDICT] * 4, 5)


async def test_refusals_are_said_by_the_long_way(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with world(database, table, tmp_path) as here:
        for head, status in (
            (request(PREDICT, b"{}", "Authorization: Bearer x", last=True), 401),
            (request(PREDICT, b"{}", "Portside-Timeout: soon", last=True), 422),
            (request("/v2/models/rose/infer", last=True), 404),
            (request(PREDICT, last=True).replace(b"Content-Length: 2", b"Content-Length: 5000001"), 413),
        ):
            assert (await here.port.say(head)).startswith(b"HTTP/1.1 %d" % status)
        assert len(here.port.long) == 4
        async with database.write() as session:
            service = await lock(session, Service, here.gateway.table.routes_of(DEFAULT_TENANT)[0].service.id)
            await advance(session, service, "pause", TEST)
        await until(lambda: here.gateway.table.routes_of(DEFAULT_TENANT)[0].service.status == "pausing")
        assert (await here.port.say(request(PREDICT, last=True))).startswith(b"HTTP/1.1 409")
    assert len(here.one.seen) == 1
    assert here.gateway.tallies.in_flight == 0


async def test_pipelined_requests_are_answered_in_their_order(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async def echo(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.body == b"0":
            await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(seen.body), seen.body))

    async with world(database, table, tmp_path, echo) as here:
        asked = [request(PREDICT if n % 2 else INFER, b"%d" % n, last=n == 8) for n in range(9)]
        answer = await here.port.say(b"".join(asked[:4]), *asked[4:])
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"%d" % n for n in range(9)]
    assert len(here.port.long) < 9  # the first at least was alone


async def test_a_body_may_come_in_pieces_and_one_that_stalls_is_given_up(
    database: Database, table: RoutingTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(database, table, tmp_path) as here:
        whole = request(PREDICT, b"abcdef", last=True)
        assert (await here.port.say(whole[:-4], whole[-4:-2], whole[-2:], pause_s=0.01)).startswith(b"HTTP/1.1 200")
        assert (here.one.seen[-1].body, here.port.long) == (b"abcdef", [])
        monkeypatch.setattr("api.gateway.short.BODY_IDLE_S", 0.05)  # a figure, not a function
        for path, told in ((PREDICT, b'"code": "body_stalled"'), (INFER, b'{"error": "no more of the body')):
            answer = await here.port.say(request(path, b"abcdef", last=True)[:-2])
            assert answer.startswith(b"HTTP/1.1 408")
            assert told in answer
        assert (len(here.one.seen), here.gateway.tallies.in_flight, here.counted(408)) == (2, 0, 2)


async def test_a_deadline_is_met_and_frees_the_replica(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with world(database, table, tmp_path, never) as here:
        answer = await here.port.say(request(PREDICT, b"{}", "Portside-Timeout: 50ms", last=True))
        document = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert (document["status"], document["code"]) == (504, "prediction_timeout")
        assert "iris" in document["detail"]
        assert (here.port.long, here.backend.outstanding, here.gateway.tallies.in_flight) == ([], 0, 0)
        await until(lambda: len(here.one.seen) == 2)  # it was sent before the time was over
        assert here.one.seen[-1].headers["portside-timeout"] == "50ms"
        assert here.gateway.pool.idle_count == 0


async def test_a_client_that_hangs_up_frees_the_replica(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    hung_up = asyncio.Event()

    async def watch(seen: Seen, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            await asyncio.sleep(0.01)
        hung_up.set()

    async with world(database, table, tmp_path, watch) as here:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port.number)
        writer.write(request(PREDICT))
        await until(lambda: len(here.one.seen) == 2)
        assert (here.port.long, here.backend.outstanding) == ([], 1)
        writer.close()
        await until(lambda: here.backend.outstanding == 0)
        assert (here.counted(499), here.gateway.tallies.in_flight, here.gateway.pool.idle_count) == (1, 0, 0)


async def test_an_answer_that_breaks_off_is_cut_and_counted_as_failed(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async def half(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async with world(database, table, tmp_path, half) as here:
        with suppress(ConnectionError):
            assert (await here.port.say(request(PREDICT))).endswith((b"half", b""))
        assert (here.port.long, here.counted(502), here.backend.outstanding) == ([], 1, 0)


@pytest.mark.parametrize(("path", "told"), [(PREDICT, b'"code": "replica_failed"'), (INFER, b'{"error": "a replica')])
async def test_an_answer_cut_in_its_head_is_a_502(
    database: Database, table: RoutingTable, tmp_path: Path, path: str, told: bytes
) -> None:
    async def cut(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-le")
        await writer.drain()
        writer.close()

    async with world(database, table, tmp_path, cut) as here:
        answer = await here.port.say(request(path, last=True))
    assert answer.startswith(b"HTTP/1.1 502")
    assert told in answer
    assert (len(here.one.seen), here.port.long, here.counted(502)) == (2, [], 1)


async def test_a_stale_connection_is_left_to_the_long_way_which_tries_a_new_one(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async def close_first(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if len(here.one.seen) == 2:
            writer.close()
        else:
            await ok(seen, writer)

    async with world(database, table, tmp_path, close_first) as here:
        assert (await here.port.say(request(PREDICT, last=True))).endswith(b'{"outputs":1}')
        assert (len(here.one.seen), here.port.long, here.gateway.tallies.in_flight) == (3, [PREDICT], 0)
        assert here.counted(200) == 2


async def test_a_chunked_answer_stays_one_and_a_slow_client_holds_it_back(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    sent, piece, count = 0, b"x" * 65536, 512

    async def much(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(count):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            sent += 1
        writer.write(b"0\r\n\r\n")

    async with world(database, table, tmp_path, much) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port.number, limit=65536)
        writer.write(request(PREDICT, last=True))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        before = -1
        while before != sent:  # until nobody can send any more
            before = sent
            await asyncio.sleep(0.05)
        assert sent < count - 64
        received = await reader.read()
        writer.close()
    assert received.count(b"x") == count * len(piece)
    assert received.endswith(b"\r\n0\r\n\r\n")


HIDING = [
    request(PREDICT, b"{}", "Transfer-Encoding: chunked"),
    request(PREDICT, b"{}", "Content-Length: 5"),
    request(PREDICT, b"{}", "Content-Length : 2"),
    request(PREDICT).replace(b"Content-Length: 2", b"Content-Length: +2"),
    request(PREDICT).replace(b"Content-Length: 2", b"Content-Length: 2, 2"),
    request(PREDICT, b"{}", "X-A: b\x00c"),
    request(PREDICT, b"{}", "X-A: b\rGET /: c"),
    request(PREDICT, b"{}", " folded"),
    request(f"{PREDICT}\tx"),
    request(PREDICT).replace(b"HTTP/1.1", b"HTTP/9.9"),
]


async def test_no_request_hides_in_another(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with world(database, table, tmp_path) as here:
        for data in HIDING:
            before = len(here.one.seen)
            answer = await here.port.say(data + request("/api/v1/services/iris/predict?hidden=1", last=True))
            assert answer.startswith(b"HTTP/1.1 4"), data
            assert len(here.one.seen) <= before + 1  # what came before the nonsense may have been a request
        assert not any("hidden" in seen.line for seen in here.one.seen)


async def test_what_a_path_encodes_stays_encoded(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    path = "/api/v1/services/iris/parts/a%0d%0aGET%20x/predict"
    async with world(database, table, tmp_path) as here:
        await here.port.say(request(path, last=True))
    assert [seen.line for seen in here.one.seen[1:]] == [f"POST {path} HTTP/1.1"]


@pytest.mark.parametrize(("path", "member"), [(PREDICT, "code"), (INFER, "error")])
async def test_what_outlives_the_grace_of_a_process_that_stops_is_told_to_come_again(
    database: Database, table: RoutingTable, tmp_path: Path, path: str, member: str
) -> None:
    stop = asyncio.Event()
    async with world(database, table, tmp_path, never) as here:
        listener = socket.create_server(("127.0.0.1", 0))  # which the server closes
        server = http_server(here.gateway, 1, (), ShortWay(here.gateway, lambda: False))
        serving = asyncio.create_task(serve_until(server, listener, stop, lambda: asyncio.sleep(0)))
        try:
            asking = asyncio.create_task(Port(listener.getsockname()[1]).say(request(path)))
            await until(lambda: len(here.one.seen) == 2)
        finally:
            stop.set()
            await serving
        head, _, body = (await asking).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in head
        assert b"connection: close" in head
        assert member in json.loads(body)
        assert (here.backend.outstanding, here.gateway.tallies.in_flight) == (0, 0)


async def test_a_services_own_port_has_it_too_and_for_this_service_only(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with world(database, table, tmp_path) as here:
        rose = await make_service(database, ["deploy"], "rose")
        async with database.write() as session:
            service = await lock(session, Service, rose.id)
            service.port = 31000
            await advance(session, service, "ready", TEST)
        await make_replica(database, rose, here.one.address)
        await until(lambda: table.service_at(31000) is not None and table.counts == (2, 2))
        async with at_a_port(here.gateway, own=31000) as own:
            for path in ("/predict?on_error=fail", "/parts/fr/predict", "/v2/models/rose/infer"):
                assert (await own.say(request(path, last=True))).startswith(b"HTTP/1.1 200"), path
            assert own.long == []
            for path in (INFER, PREDICT, "/v1/models/iris:predict"):
                assert (await own.say(request(path, last=True))).startswith(b"HTTP/1.1 404"), path
    lines = [seen.line.split(" ")[1] for seen in here.one.seen[1:]]
    beginning = "/api/v1/services/rose"
    assert lines == [f"{beginning}/predict?on_error=fail", f"{beginning}/parts/fr/predict", "/v2/models/rose/infer"]


async def test_it_is_closed_while_the_process_leaves(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    leaving = False
    async with world(database, table, tmp_path) as here, at_a_port(here.gateway, lambda: leaving) as other:
        await other.say(request(PREDICT, last=True))
        leaving = True
        await other.say(request(PREDICT, last=True))
    assert other.long == [PREDICT]
