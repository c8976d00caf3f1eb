"""What a hostile client of the gRPC port cannot do."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path

import grpc
import pytest

from api.gateway.connection import connect
from api.gateway.grpc import GrpcGateway
from api.gateway.protobuf import field
from api.gateway.table import RoutingTable
from api.gateway.turns import Turns
from state.database import Database
from tests.api.gateway import http2
from tests.api.gateway.ports import PATIENCE_S
from tests.api.gateway.replicas import Seen, ok, replica
from tests.api.gateway.test_gateway import serve_iris, until
from tests.api.gateway.test_grpc import HEALTH, INFER, IRIS, SERVICE, STREAM, TIMEOUT_S, call, gateway_of, refusal

HIDDEN = b"x\r\nContent-Length: 0\r\n\r\nPOST /hidden HTTP/1.1\r\nHost: x"


@pytest.mark.parametrize("value", [HIDDEN, b"x\nX-Hidden: 1", b"x\rX-Hidden: 1", b"x\0y", b"\xff\xfe"])
async def test_no_metadata_becomes_another_request(
    database: Database, table: RoutingTable, tmp_path: Path, value: bytes
) -> None:
    async with replica(tmp_path) as one, gateway_of(table) as (_, gateway):
        await serve_iris(database, table, one)
        server = GrpcGateway(gateway, admits_tokenless=True, is_leaving=lambda: False)
        port = await server.start("127.0.0.1", 0)
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            with closing(writer):
                writer.write(http2.call(INFER, IRIS, traceparent=value, tracestate=b"kept=1"))
                await until(lambda: gateway.tallies.by_service.get("iris") is not None)
        finally:
            await server.stop(0)
    assert [seen.line for seen in one.seen] == [f"POST {INFER} HTTP/1.1"]
    assert one.seen[0].headers["tracestate"] == "kept=1"
    assert not {"traceparent", "x-hidden"} & one.seen[0].headers.keys()


@pytest.mark.parametrize("header", [(b"a", b"b\r\nc: d"), (b"a", b"b\nc"), (b"a\0", b"b"), (b"a: b\r", b"c")])
async def test_a_connection_writes_no_header_that_is_two(tmp_path: Path, header: tuple[bytes, bytes]) -> None:
    async with replica(tmp_path) as one:
        connection = await connect(one.address)
        with pytest.raises(ValueError, match="end of a line"):
            connection.start(b"POST", b"/", [(b"host", b"replica"), header], b"")
        connection.start(b"POST", b"/good", [(b"host", b"replica"), (b"content-length", b"0")], b"")
        assert await connection.head() == 200
        connection.close()
    assert [seen.line for seen in one.seen] == ["POST /good HTTP/1.1"]


async def test_only_whole_paths_are_methods(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with replica(tmp_path) as one, gateway_of(table) as (channel, _):
        await serve_iris(database, table, one)
        for path in (f"{SERVICE}/x/ModelInfer", f"{HEALTH}/ModelInfer", f"{SERVICE}/Check", f"{SERVICE}/../ModelReady"):
            assert (await refusal(channel, path, IRIS))[0] is grpc.StatusCode.UNIMPLEMENTED
    assert one.seen == []


@pytest.mark.parametrize("method", ["LogSettings", "TraceSetting"])
async def test_settings_that_are_many_or_long_stop_nobody(table: RoutingTable, method: str) -> None:
    path, setting = f"{SERVICE}/{method}", field(1, "log_info") + b"\x18\x00" * 4000
    async with gateway_of(table) as (channel, _):
        began = time.process_time()
        assert await call(channel, path, field(1, setting) * 8)
        assert await call(channel, path, field(1, field(1, "log_info")) * 4000)
        assert (await refusal(channel, path, field(1, setting) * 12))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert time.process_time() - began < 2


@pytest.mark.parametrize("path", [INFER, STREAM, f"{SERVICE}/LogSettings", f"{SERVICE}/ModelMetadata"])
async def test_a_stranger_is_refused_before_his_message_is_read(table: RoutingTable, path: str) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async with gateway_of(table, admits_tokenless=False) as (channel, _):
        asked = channel.stream_stream(path)(nothing(), timeout=TIMEOUT_S)
        assert await asked.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_those_who_watch_are_limited_and_cost_no_task_each(
    table: RoutingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.gateway.grpc.MOST_WATCHING", 5)  # a figure, not a function
    async with gateway_of(table) as (channel, _):
        watched = [channel.unary_stream(f"{HEALTH}/Watch")(b"", timeout=TIMEOUT_S) for _ in range(5)]
        assert [await each.read() for each in watched] == [b"\x08\x01"] * 5
        assert not [task for task in asyncio.all_tasks() if "changed" in repr(task.get_coro())]
        late = channel.unary_stream(f"{HEALTH}/Watch")(b"", timeout=TIMEOUT_S)
        assert await late.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        watched[0].cancel()
        told = b""
        async with asyncio.timeout(PATIENCE_S):
            while not told:  # until the gateway has noticed
                with suppress(grpc.aio.AioRpcError):
                    told = await channel.unary_stream(f"{HEALTH}/Watch")(b"", timeout=TIMEOUT_S).read()
        assert told == b"\x08\x01"


async def test_what_asks_about_a_model_takes_no_turn_of_its_predictions(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async def only_ready(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if "ModelInfer" in seen.line:
            await asyncio.Event().wait()
        await ok(seen, writer)

    async with replica(tmp_path, answer=only_ready) as one, gateway_of(table) as (channel, gateway):
        gateway.holding.turns = Turns(1, 0.05)
        await serve_iris(database, table, one)
        asked = channel.unary_unary(INFER)(IRIS, timeout=TIMEOUT_S)
        await until(lambda: len(one.seen) == 1)
        for method in ("ModelReady", "ModelMetadata", "ModelStatistics"):
            assert await call(channel, f"{SERVICE}/{method}", IRIS) == b'{"outputs":1}'
        assert (await refusal(channel, INFER, IRIS))[0] is grpc.StatusCode.UNAVAILABLE
        asked.cancel()


async def test_the_statistics_of_all_wait_for_no_service_that_hangs(
    database: Database, table: RoutingTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("api.gateway.grpc_answers.ALL_STATS_S", 0.2)  # a figure, not a function
    async with replica(tmp_path, answer=never) as one, gateway_of(table) as (channel, gateway):
        await serve_iris(database, table, one)
        while not one.seen:  # on a busy machine the time may be over before it gets there
            assert await call(channel, f"{SERVICE}/ModelStatistics", b"", timeout_s=20) == b""
        assert gateway.tallies.in_flight == 0
