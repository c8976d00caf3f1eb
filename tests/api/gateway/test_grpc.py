"""The platform's gRPC port before real sockets: who asks, where it goes, what comes back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Scope

from api.gateway.connection import ConnectionPool
from api.gateway.grpc import GrpcGateway
from api.gateway.holding import Holding
from api.gateway.protobuf import field, fields, texts
from api.gateway.split import Gateway
from api.gateway.table import RoutingTable
from core.errors import Unauthenticated
from state.database import Database
from state.migrate import DEFAULT_TENANT
from tests.api.gateway.ports import PATIENCE_S
from tests.api.gateway.replicas import Seen, replica
from tests.api.gateway.test_gateway import make_replica, make_service, serve_iris, until

SERVICE = "/inference.GRPCInferenceService"
INFER, STREAM = f"{SERVICE}/ModelInfer", f"{SERVICE}/ModelStreamInfer"
HEALTH = "/grpc.health.v1.Health"
MAX_BYTES = 100_000
IRIS = field(1, "iris")
TIMEOUT_S = PATIENCE_S
Channel = Any  # the library's stubs know no call without serializers


def answering(body: bytes, status: int = 200, code: int | None = None) -> Any:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        told = b"" if code is None else b"grpc-status: %d\r\n" % code
        writer.write(b"HTTP/1.1 %d Said\r\n%bcontent-length: %d\r\n\r\n%b" % (status, told, len(body), body))

    return answer


@asynccontextmanager
async def gateway_of(
    table: RoutingTable, *, admits_tokenless: bool = True, hold_s: float = 0, leaving: Sequence[bool] = ()
) -> AsyncIterator[tuple[Channel, Gateway]]:
    pool = ConnectionPool()

    def tenant_of(scope: Scope) -> str:
        headers = dict(scope["headers"])
        if headers.get(b"authorization", b"Bearer good") != b"Bearer good":
            raise Unauthenticated("no such token")
        return DEFAULT_TENANT

    gateway = Gateway(PlainTextResponse("the api"), Holding(table, hold_s), pool, tenant_of, MAX_BYTES, "9.9")
    server = GrpcGateway(gateway, admits_tokenless=admits_tokenless, is_leaving=lambda: bool(leaving))
    port = await server.start("127.0.0.1", 0)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel, gateway
    finally:
        await server.stop(0)
        pool.close()


async def call(channel: Channel, path: str, data: bytes, timeout_s: float = TIMEOUT_S, token: str = "") -> bytes:
    metadata = [("authorization", f"Bearer {token}")] if token else []
    return bytes(await channel.unary_unary(path)(data, timeout=timeout_s, metadata=metadata))


async def refusal(channel: Channel, path: str, data: bytes, **how: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, path, data, **how)
    return caught.value.code(), caught.value.details() or ""


async def test_a_message_goes_to_the_replica_as_it_came_and_back(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    data = IRIS + field(7, bytes(range(256)))
    async with replica(tmp_path, answer=answering(b"told")) as one, gateway_of(table) as (channel, gateway):
        await serve_iris(database, table, one)
        assert await call(channel, INFER, data) == b"told"
        assert await call(channel, INFER, data) == b"told"
        counted = gateway.tallies.by_service["iris"].by_status
    assert (one.seen[0].line, one.seen[0].body) == (f"POST {INFER} HTTP/1.1", data)
    assert one.seen[0].headers["x-request-id"].startswith("req_")
    assert one.seen[0].headers["portside-timeout"].endswith("ms")
    assert (one.connections, counted) == (1, {200: 2})


async def test_a_models_own_status_is_passed_on(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    answer = answering(b"unknown input 'q'", 400, 3)
    async with replica(tmp_path, answer=answer) as one, gateway_of(table) as (channel, _):
        await serve_iris(database, table, one)
        assert await refusal(channel, INFER, IRIS) == (grpc.StatusCode.INVALID_ARGUMENT, "unknown input 'q'")


async def test_a_replica_of_an_older_release_is_no_bug(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with replica(tmp_path, answer=answering(b"{}", 404)) as one, gateway_of(table) as (channel, _):
        await serve_iris(database, table, one)
        assert (await refusal(channel, INFER, IRIS))[0] is grpc.StatusCode.NOT_FOUND


async def test_each_problem_of_the_gateway_has_its_code(database: Database, table: RoutingTable) -> None:
    await make_service(database, ["deploy"], "young")
    await make_service(database, ["deploy", "ready", "pause", "paused"], "resting")
    await until(lambda: table.counts[0] == 2)
    async with gateway_of(table) as (channel, _):
        assert await refusal(channel, INFER, IRIS) == (
            grpc.StatusCode.NOT_FOUND,
            "Request for unknown model: 'iris' is not found",
        )
        assert (await refusal(channel, INFER, field(1, "young")))[0] is grpc.StatusCode.UNAVAILABLE
        assert (await refusal(channel, INFER, field(1, "resting")))[0] is grpc.StatusCode.FAILED_PRECONDITION
        assert (await refusal(channel, INFER, b"\xff"))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert (await refusal(channel, INFER, bytes(MAX_BYTES + 1)))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await refusal(channel, f"{SERVICE}/Nothing", IRIS))[0] is grpc.StatusCode.UNIMPLEMENTED
        assert (await refusal(channel, "/another.Service/Method", b""))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_a_deadline_ends_the_request(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async def never(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with replica(tmp_path, answer=never) as one, gateway_of(table) as (channel, gateway):
        await serve_iris(database, table, one)
        code, _ = await refusal(channel, INFER, IRIS, timeout_s=0.2)
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        route = table.route(DEFAULT_TENANT, "iris")
        assert route is not None
        await until(lambda: gateway.tallies.in_flight == 0 == route.backends[0].outstanding)


async def test_who_asks_needs_a_token_where_the_port_is_not_a_loopback_one(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with (
        replica(tmp_path, answer=answering(b"told")) as one,
        gateway_of(table, admits_tokenless=False) as (channel, _),
    ):
        await serve_iris(database, table, one)
        assert (await refusal(channel, INFER, IRIS))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert (await refusal(channel, INFER, IRIS, token="bad"))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert (await refusal(channel, f"{HEALTH}/Check", IRIS))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert await call(channel, INFER, IRIS, token="good") == b"told"
        for path in (f"{SERVICE}/ServerLive", f"{SERVICE}/ServerReady", f"{HEALTH}/Check"):
            assert await call(channel, path, b"") == b"\x08\x01"
        talk = channel.stream_stream(STREAM)(iter([IRIS]), timeout=TIMEOUT_S)
        assert await talk.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_stream_asks_several_services_in_order_and_goes_on_after_an_error(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with replica(tmp_path, answer=answering(b"told")) as one, gateway_of(table) as (channel, _):
        await serve_iris(database, table, one)
        asked = [IRIS, field(1, "rose") + field(3, "7"), b"\xff", IRIS]
        talk = channel.stream_stream(STREAM)(iter(asked), timeout=TIMEOUT_S)
        told = [dict(fields(answer)) async for answer in talk]
    assert [each.get(2) for each in told] == [b"told", field(3, "7"), None, b"told"]
    assert [1 in each for each in told] == [False, True, True, False]


async def test_what_is_asked_of_all_services_is_answered_from_the_table(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with replica(tmp_path, answer=answering(field(1, "figures"))) as one, gateway_of(table) as (channel, _):
        await serve_iris(database, table, one)
        await make_service(database, ["deploy"], "young")
        await until(lambda: table.counts[0] == 2)
        index = [texts(entry, (1, 3)) for _, entry in fields(await call(channel, f"{SERVICE}/RepositoryIndex", b""))]
        assert index == [{1: "iris", 3: "READY"}, {1: "young", 3: "UNAVAILABLE"}]
        ready = await call(channel, f"{SERVICE}/RepositoryIndex", b"\x10\x01")
        assert [texts(entry, (1,))[1] for _, entry in fields(ready)] == ["iris"]
        assert texts(await call(channel, f"{SERVICE}/ServerMetadata", b""), (1, 2)) == {1: "portside", 2: "9.9"}
        assert await call(channel, f"{SERVICE}/ModelStatistics", b"") == field(1, "figures")
        assert texts(await call(channel, f"{SERVICE}/RepositoryModelLoad", field(2, "iris")), (1,)) == {1: "iris"}
        for method, name, code in (
            ("RepositoryModelLoad", "rose", grpc.StatusCode.NOT_FOUND),
            ("RepositoryModelLoad", "young", grpc.StatusCode.FAILED_PRECONDITION),
            ("RepositoryModelUnload", "iris", grpc.StatusCode.FAILED_PRECONDITION),
            ("SystemSharedMemoryRegister", "iris", grpc.StatusCode.UNIMPLEMENTED),
        ):
            assert (await refusal(channel, f"{SERVICE}/{method}", field(1, name)))[0] is code
        for method in ("LogSettings", "TraceSetting"):
            settings = await call(channel, f"{SERVICE}/{method}", b"")
            assert await call(channel, f"{SERVICE}/{method}", settings) == settings
            changed = settings.replace(b"default", b"another").replace(b"OFF", b"ALL")
            assert (await refusal(channel, f"{SERVICE}/{method}", changed))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_health_follows_the_service_and_the_platform(
    database: Database, table: RoutingTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.gateway.grpc.LOOK_S", 0.05)  # a figure, not a function
    leaving: list[bool] = []
    async with replica(tmp_path) as one, gateway_of(table, leaving=leaving) as (channel, _):
        watched = channel.unary_stream(f"{HEALTH}/Watch")(IRIS, timeout=TIMEOUT_S)
        assert await watched.read() == b"\x08\x03"
        service = await make_service(database, ["deploy", "ready"])
        assert await watched.read() == b"\x08\x02"  # read before there is a replica: a watch tells the last of several
        await make_replica(database, service, one.address)
        assert await watched.read() == b"\x08\x01"
        assert await call(channel, f"{HEALTH}/Check", IRIS) == b"\x08\x01"
        assert (await refusal(channel, f"{HEALTH}/Check", field(1, "rose")))[0] is grpc.StatusCode.NOT_FOUND
        leaving.append(True)
        assert await watched.read() == b"\x08\x02"
        assert await call(channel, f"{HEALTH}/Check", b"") == b"\x08\x02"


async def test_reflection_is_answered_by_a_model_server(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    async with replica(tmp_path, answer=answering(b"files")) as one, gateway_of(table) as (channel, _):
        assert await channel.stream_stream(path)(iter([b""]), timeout=TIMEOUT_S).code() is grpc.StatusCode.UNAVAILABLE
        await serve_iris(database, table, one)
        assert [answer async for answer in channel.stream_stream(path)(iter([b"a", b"b"]))] == [b"files"] * 2
    assert [seen.body for seen in one.seen] == [b"a", b"b"]
