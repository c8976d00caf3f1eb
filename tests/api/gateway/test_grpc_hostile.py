"""What a hostile client of the gRPC port cannot do."""

import asyncio
from pathlib import Path

import grpc
import pytest

from api.gateway.connection import connect
from api.gateway.grpc import GrpcGateway
from api.gateway.table import RoutingTable
from state.database import Database
from tests.api.gateway import http2
from tests.api.gateway.replicas import replica
from tests.api.gateway.test_gateway import serve_iris, until
from tests.api.gateway.test_grpc import HEALTH, INFER, IRIS, SERVICE, gateway_of, refusal

HIDDEN = b"x\r\nContent-Length: 0\r\n\r\nPOST /hidden HTTP/1.1\r\nHost: x"


@pytest.mark.parametrize("value", [HIDDEN, b"x\nX-Hidden: 1", b"x\rX-Hidden: 1", b"x\0y", b"\xff\xfe"])
async def test_no_metadata_becomes_another_request(
    database: Database, table: RoutingTable, tmp_path: Path, value: bytes
) -> None:
    async with replica(tmp_path) as one, gateway_of(table) as (_, gateway):
        await serve_iris(database, table, one)
        server = GrpcGateway(gateway, admits_tokenless=True, is_leaving=lambda: False)
        port = await server.start("127.0.0.1", 0)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(http2.call(INFER, IRIS, traceparent=value, tracestate=b"kept=1"))
        await until(lambda: gateway.tallies.by_service.get("iris") is not None)
        writer.close()
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
