"""The gateway in front of real unix sockets and a real routing table over SQLite."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import update
from starlette.responses import PlainTextResponse
from starlette.types import Scope

from api.gateway.connection import ConnectionPool, connect
from api.gateway.holding import Holding
from api.gateway.split import Gateway
from api.gateway.table import RoutingTable
from core.clock import now_micros
from core.errors import Unauthenticated
from core.ids import new_id
from state.advance import advance
from state.database import Database
from state.history import By, begin
from state.installation import Counter
from state.migrate import DEFAULT_TENANT
from state.tables import Replica, Service
from tests.api.gateway.ports import PATIENCE_S, Port, at_a_port
from tests.api.gateway.replicas import FakeReplica, Seen, ok, replica

TEST = By("test")


async def make_service(database: Database, moves: list[str], name: str = "iris") -> Service:
    now = now_micros()
    service = Service(
        id=new_id("svc"), tenant_id=DEFAULT_TENANT, created_at=now, updated_at=now, tags=[], name=name, replicas=1
    )
    async with database.write() as session:
        await begin(session, service, TEST)
        for move in moves:
            await advance(session, service, move, TEST)
    return service


async def make_replica(database: Database, service: Service, address: str) -> Replica:
    row = Replica(
        id=new_id("rep"),
        tenant_id=DEFAULT_TENANT,
        created_at=now_micros(),
        service_id=service.id,
        revision_id="rev",
        generation=1,
        address=address,
    )
    async with database.write() as session:
        await begin(session, row, TEST)
        await advance(session, row, "ready", TEST)
    return row


@asynccontextmanager
async def client_of(
    table: RoutingTable, max_bytes: int = 10_000_000, hold_s: float = 0
) -> AsyncIterator[httpx2.AsyncClient]:
    def tenant_of(scope: Scope) -> str:
        if any(name == b"authorization" for name, _ in scope["headers"]):
            raise Unauthenticated("no token is valid here")
        return DEFAULT_TENANT

    with closing(ConnectionPool()) as pool:
        gateway = Gateway(PlainTextResponse("the api"), Holding(table, hold_s), pool, tenant_of, max_bytes, "9.9")
        async with (
            at_a_port(gateway) as port,
            httpx2.AsyncClient(
                base_url=f"http://localhost:{port.number}", trust_env=False, timeout=PATIENCE_S
            ) as client,
        ):
            yield client


def port_of(client: httpx2.AsyncClient) -> Port:
    """The same port for requests as bytes: they come as one piece."""
    return Port(client.base_url.port or 0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def serve_iris(database: Database, table: RoutingTable, *replicas: FakeReplica) -> list[Replica]:
    service = await make_service(database, ["deploy", "ready"])
    rows = [await make_replica(database, service, found.address) for found in replicas]
    await until(lambda: (route := table.route(DEFAULT_TENANT, "iris")) is not None and len(route.backends) == len(rows))
    return rows


async def test_a_prediction_goes_to_a_replica_and_back(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with replica(tmp_path) as one, client_of(table) as client:
        rows = await serve_iris(database, table, one)
        answer = await client.post(
            "/api/v1/services/iris/predict?on_error=record", json={"inputs": {}}, headers={"Cookie": "secret=1"}
        )
    assert (answer.status_code, answer.json()) == (200, {"outputs": 1})
    assert answer.headers["portside-replica"] == rows[0].id
    assert answer.headers["x-request-id"].startswith("req_")
    assert one.seen[0].line == "POST /api/v1/services/iris/predict?on_error=record HTTP/1.1"
    assert one.seen[0].body == b'{"inputs":{}}'
    assert "cookie" not in one.seen[0].headers


async def test_connections_are_kept_alive(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with replica(tmp_path) as one, client_of(table) as client:
        await serve_iris(database, table, one)
        for _ in range(5):
            await client.post("/api/v1/services/iris/predict", json={})
    assert (one.connections, len(one.seen)) == (1, 5)


async def test_requests_at_once_are_spread_over_the_replicas(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    released = asyncio.Event()

    async def slow(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with (
        replica(tmp_path, "a.sock", slow) as one,
        replica(tmp_path, "b.sock", slow) as two,
        client_of(table) as client,
    ):
        await serve_iris(database, table, one, two)
        asked = [asyncio.create_task(client.post("/api/v1/services/iris/predict")) for _ in range(6)]
        await until(lambda: len(one.seen) + len(two.seen) == 6)
        released.set()
        assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 6
    assert (len(one.seen), len(two.seen)) == (3, 3)


async def test_a_replica_that_is_gone_is_passed_over(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with replica(tmp_path, "b.sock") as two, client_of(table) as client:
        await serve_iris(database, table, FakeReplica(f"unix://{tmp_path}/gone.sock"), two)
        answers = [(await client.post("/api/v1/services/iris/predict")).status_code for _ in range(6)]
    assert answers == [200] * 6


async def test_a_connection_that_went_stale_is_replaced_unseen(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async def then_close(seen: Seen, writer: asyncio.StreamWriter) -> None:
        # No 'connection: close': the client believes that it may use the connection again.
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with replica(tmp_path, answer=then_close) as one, client_of(table) as client:
        await serve_iris(database, table, one)
        answers = [(await client.post("/api/v1/services/iris/predict")).status_code for _ in range(5)]
    assert answers == [200] * 5


async def test_a_request_that_ends_its_replica_is_not_tried_on_the_next(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async def end(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with (
        replica(tmp_path, "a.sock", end) as one,
        replica(tmp_path, "b.sock", end) as two,
        client_of(table) as client,
    ):
        await serve_iris(database, table, one, two)
        answer = await client.post("/api/v1/services/iris/predict", json={"inputs": "poison"})
    assert (answer.status_code, answer.json()["code"]) == (502, "replica_failed")
    assert len(one.seen) + len(two.seen) == 1


async def test_without_any_replica_left_the_answer_is_503(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with client_of(table) as client:
        await serve_iris(database, table, FakeReplica(f"unix://{tmp_path}/gone.sock"))
        answer = await client.post("/api/v1/services/iris/predict")
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_an_answer_cut_in_its_head_is_a_502(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async def cut(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-le")
        await writer.drain()
        writer.close()

    async with replica(tmp_path, answer=cut) as one, client_of(table) as client:
        await serve_iris(database, table, one)
        answer = await client.post("/api/v1/services/iris/predict")
    assert (answer.status_code, answer.json()["code"]) == (502, "replica_failed")
    assert len(one.seen) == 1


async def test_a_large_body_streams_through_both_ways(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async def echo(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for at in range(0, len(seen.body), 100_000):
            piece = seen.body[at : at + 100_000]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    sent = os.urandom(5_000_000)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(sent), 65536):
            yield sent[at : at + 65536]

    async with replica(tmp_path, answer=echo) as one, client_of(table) as client:
        await serve_iris(database, table, one)
        answer = await client.post("/api/v1/services/iris/predict", content=pieces())
    assert answer.content == sent
    assert one.seen[0].headers["transfer-encoding"] == "chunked"


async def test_a_body_over_the_limit_is_refused(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    async with replica(tmp_path) as one, client_of(table, max_bytes=10_000) as client:
        await serve_iris(database, table, one)
        announced = await client.post("/api/v1/services/iris/predict", content=b"x" * 10_001)
        streamed = await client.post("/api/v1/services/iris/predict", content=pieces())
    assert [answer.status_code for answer in (announced, streamed)] == [413, 413]
    assert announced.json()["limit_bytes"] == 10_000
    assert not one.seen


async def test_a_slow_replica_meets_the_callers_deadline(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async def never(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with replica(tmp_path, answer=never) as one, client_of(table) as client:
        await serve_iris(database, table, one)
        limit_ms = 25
        while not one.seen:  # on a busy machine the time may be over before it gets there
            limit_ms *= 2
            limit = {"Portside-Timeout": f"{limit_ms}ms"}
            answer = await client.post("/api/v1/services/iris/predict", headers=limit)
            assert (answer.status_code, answer.json()["code"]) == (504, "prediction_timeout")
        nonsense = await client.post("/api/v1/services/iris/predict", headers={"Portside-Timeout": "soon"})
    assert one.seen[0].headers["portside-timeout"] == f"{limit_ms}ms"
    assert (nonsense.status_code, nonsense.json()["code"]) == (422, "invalid_field")


@pytest.mark.parametrize(
    ("moves", "status", "code"),
    [
        ([], 503, "service_unavailable"),
        (["deploy"], 503, "service_unavailable"),
        (["deploy", "fail"], 409, "service_failed"),
        (["deploy", "ready", "pause", "paused"], 409, "service_paused"),
        (["deploy", "ready", "delete"], 404, "not_found"),
    ],
)
async def test_a_service_without_replicas_says_why(
    database: Database, table: RoutingTable, moves: list[str], status: int, code: str
) -> None:
    await make_service(database, moves)
    wanted = {"delete": "deleting", "paused": "paused", "fail": "failed", "deploy": "deploying"}
    expected = wanted.get(moves[-1], "pending") if moves else "pending"
    await until(lambda: (route := table.route(DEFAULT_TENANT, "iris")) is not None and route.service.status == expected)
    async with client_of(table) as client:
        answer = await client.post("/api/v1/services/iris/predict")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unknown_service_and_a_wrong_method_are_named(database: Database, table: RoutingTable) -> None:
    async with client_of(table) as client:
        unknown = await client.post("/api/v1/services/rose/predict")
        method = await client.get("/api/v1/services/rose/predict")
        model = await client.post("/v2/models/rose/infer")
        protocol = await client.get("/v2/nonsense")
    assert (unknown.status_code, "rose" in unknown.json()["detail"]) == (404, True)
    assert (method.status_code, method.headers["allow"]) == (405, "POST, OPTIONS")
    assert (model.status_code, model.json()) == (404, {"error": "Request for unknown model: 'rose' is not found"})
    assert (protocol.status_code, list(protocol.json())) == (404, ["error"])


async def test_the_server_of_the_open_inference_protocol_introduces_itself(table: RoutingTable) -> None:
    async with client_of(table) as client:
        assert (await client.get("/v2/health/live")).json() == {"live": True}
        assert (await client.get("/v2/health/ready")).json() == {"ready": True}
        assert (await client.get("/v2")).json()["version"] == "9.9"


async def test_a_refused_token_is_refused_here_too(table: RoutingTable) -> None:
    async with client_of(table) as client:
        answer = await client.post("/api/v1/services/iris/predict", headers={"Authorization": "Bearer x"})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_everything_else_reaches_the_api(table: RoutingTable) -> None:
    async with client_of(table) as client:
        for path in ("/", "/api/v1/services", "/api/v1/services/iris", "/v2x", "/api/v1/services/iris/predictions"):
            assert (await client.get(path)).text == "the api"


async def test_a_stopped_replica_gets_no_more_requests(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with replica(tmp_path, "a.sock") as one, replica(tmp_path, "b.sock") as two, client_of(table) as client:
        rows = await serve_iris(database, table, one, two)
        async with database.write() as session:
            await advance(session, await session.merge(rows[0]), "stop", TEST)
        await until(lambda: (route := table.route(DEFAULT_TENANT, "iris")) is not None and len(route.backends) == 1)
        for _ in range(4):
            await client.post("/api/v1/services/iris/predict")
    assert (len(one.seen), len(two.seen)) == (0, 4)


async def test_the_table_is_read_again_after_a_bug(
    database: Database, table: RoutingTable, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.gateway.table.POLL_WITH_SIGNALS_S", 0.05)  # a figure, not a function
    async with database.write() as session:
        await session.execute(update(Counter).where(Counter.name == "routing_version").values(name="lost"))
        session.tell("routing")
    await until(lambda: "stays as it is" in caplog.text)
    async with database.write() as session:
        await session.execute(update(Counter).where(Counter.name == "lost").values(name="routing_version"))
    await make_service(database, [])
    await until(lambda: table.route(DEFAULT_TENANT, "iris") is not None)


async def test_a_length_with_thousands_of_zeros_is_a_number_like_any_other(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with replica(tmp_path) as first, client_of(table) as client:
        await serve_iris(database, table, first)
        head = "POST /api/v1/services/iris/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
        for _ in range(2):
            answer = await port_of(client).say(f"{head}{'0' * 5000}2\r\n\r\n{{}}".encode())
            assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("apart", [False, True])
async def test_an_answer_that_nobody_asked_for_is_given_to_nobody(
    database: Database, table: RoutingTable, tmp_path: Path, apart: bool
) -> None:
    async def two_answers(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await ok(seen, writer)
        if apart:
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nanothers")

    async with replica(tmp_path, answer=two_answers) as one, client_of(table) as client:
        await serve_iris(database, table, one)
        for _ in range(5):
            answer = await client.post("/api/v1/services/iris/predict", content=b"{}")
            assert (answer.status_code, answer.text) in ((200, '{"outputs":1}'), (502, answer.text))
            assert "anothers" not in answer.text


async def test_a_request_line_is_one_request(tmp_path: Path) -> None:
    async with replica(tmp_path) as one:
        connection = await connect(one.address)
        for target in (b"/x HTTP/1.1\r\n\r\nPOST /predict", b"/x y", b"/\x00", b"/\x7f"):
            with pytest.raises(ValueError, match="no request target"):
                connection.start(b"POST", target, [], b"")
        connection.start(b"POST", b"/predict", [(b"content-length", b"0")], b"")
        assert await connection.head() == 200
        connection.close()
    assert [seen.line for seen in one.seen] == ["POST /predict HTTP/1.1"]
