"""What KServe's V1 and the Open Inference Protocol ask of the platform's own port: about one service, and about all."""

import asyncio
from pathlib import Path

import pytest

from api.gateway.table import RoutingTable
from state.database import Database
from state.migrate import DEFAULT_TENANT
from tests.api.gateway.replicas import Seen, replica
from tests.api.gateway.test_gateway import client_of, make_replica, make_service, serve_iris, until


async def stats(seen: Seen, writer: asyncio.StreamWriter) -> None:
    body = b'{"model_stats":[{"name":"%b"}]}' % seen.line.split("/")[3].encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def until_listed(table: RoutingTable, count: int) -> None:
    await until(lambda: len(table.routes_of(DEFAULT_TENANT)) == count)


OF_ONE = [
    ("POST", "/v1/models/iris:predict"),
    ("POST", "/v1/models/iris%3Apredict"),
    ("GET", "/v1/models/iris"),
    ("GET", "/v2/models/iris/config"),
    ("GET", "/v2/models/iris/stats"),
    ("GET", "/v2/models/iris/versions/3/config"),
    ("GET", "/v2/models/iris/versions/3/stats"),
    ("GET", "/v2/models/iris/trace/setting"),
    ("POST", "/v2/models/iris/trace/setting"),
]


async def test_what_is_asked_of_one_service_is_asked_of_its_replica_in_the_same_way(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    coded = {"content-encoding": "gzip", "accept-encoding": "gzip", "inference-header-content-length": "2"}
    async with replica(tmp_path) as one, client_of(table) as client:
        await serve_iris(database, table, one)
        for method, path in OF_ONE:
            answer = await client.request(method, path, content=b"{}" if method == "POST" else b"", headers=coded)
            assert (answer.status_code, answer.json()) == (200, {"outputs": 1})
            assert one.seen[-1].line == f"{method} {path} HTTP/1.1"
            assert coded.items() <= one.seen[-1].headers.items()


async def test_the_codings_of_an_answer_pass_untouched(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async def coded(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-encoding: br\r\ninference-header-content-length: 2\r\n"
            b"connection: keep-alive\r\nserver: x\r\n\r\n\x00\x01\x02\x03"
        )

    async with replica(tmp_path, answer=coded) as one, client_of(table) as client:
        await serve_iris(database, table, one)
        for _ in range(2):  # the long way, then the short one
            async with client.stream("POST", "/v2/models/iris/infer", content=b"{}") as answer:
                raw = b"".join([piece async for piece in answer.aiter_raw()])
            assert (raw, answer.headers["content-encoding"]) == (b"\x00\x01\x02\x03", "br")
            assert answer.headers["inference-header-content-length"] == "2"
            assert not {"server", "connection"} & answer.headers.keys()


async def test_services_are_listed_in_both_protocols(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with replica(tmp_path) as one, client_of(table) as client:
        await serve_iris(database, table, one)
        await make_service(database, ["deploy", "ready", "pause", "paused"], "rose")
        await until_listed(table, 2)
        assert (await client.get("/v1/models")).json() == {"models": ["iris", "rose"]}
        listed = (await client.post("/v2/repository/index")).json()
        ready = (await client.post("/v2/repository/index", json={"ready": True})).json()
        refused = await client.post("/v2/repository/index", content=b"[")
    assert [(each["name"], each["state"]) for each in listed] == [("iris", "READY"), ("rose", "UNAVAILABLE")]
    assert listed[1]["reason"] == "the service is paused"
    assert ready == [listed[0]]
    assert (refused.status_code, list(refused.json())) == (400, ["error"])


async def test_the_statistics_of_all_are_asked_of_each(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with replica(tmp_path, answer=stats) as one, client_of(table) as client:
        for name in ("iris", "rose"):
            await make_replica(database, await make_service(database, ["deploy", "ready"], name), one.address)
        await make_service(database, [], "later")
        await until(lambda: table.counts == (3, 2))
        answer = await client.get("/v2/models/stats")
    assert answer.json() == {"model_stats": [{"name": "iris"}, {"name": "rose"}]}


async def test_load_and_unload_say_what_the_platform_does_instead(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with replica(tmp_path) as one, client_of(table) as client:
        await serve_iris(database, table, one)
        await make_service(database, ["deploy", "ready", "pause", "paused"], "rose")
        await until_listed(table, 2)
        loaded = await client.post("/v2/repository/models/iris/load", json={"parameters": {}})
        empty = await client.post("/v2/repository/models/iris/load")
        paused = await client.post("/v2/repository/models/rose/load")
        unknown = await client.post("/v2/repository/models/nobody/load")
        unloaded = await client.post("/v2/repository/models/iris/unload")
    assert (loaded.status_code, empty.status_code) == (200, 200)
    assert (unknown.status_code, unknown.json()["error"].startswith("failed to load 'nobody', ")) == (400, True)
    assert (paused.status_code, ":resume" in paused.json()["error"]) == (400, True)
    assert (unloaded.status_code, "iris:pause" in unloaded.json()["error"]) == (400, True)


OF_ALL: list[tuple[str, str, object, int]] = [
    ("GET", "/v2/systemsharedmemory/status", None, 200),
    ("GET", "/v2/cudasharedmemory/region/a/status", None, 400),
    ("POST", "/v2/systemsharedmemory/region/a/register", {"key": "/a", "byte_size": 8}, 400),
    ("POST", "/v2/cudasharedmemory/unregister", None, 200),
    ("POST", "/v2/systemsharedmemory/region/a/unregister", None, 200),
    ("GET", "/v2/logging", None, 200),
    ("POST", "/v2/logging", {"log_info": True}, 200),
    ("POST", "/v2/logging", {"log_verbose_level": 2}, 400),
    ("GET", "/v2/trace/setting", None, 200),
    ("POST", "/v2/trace/setting", {"trace_level": ["TIMESTAMPS"]}, 400),
    ("POST", "/v2/trace/setting", {"trace_level": ["OFF"]}, 200),
    ("GET", "/v2/repository/index", None, 405),
    ("POST", "/v2/health/live", None, 405),
    ("GET", "/v2/nothing", None, 404),
    ("POST", "/v1/models/iris:explain", None, 404),
    ("POST", "/v1/models/rose:predict", None, 404),
    ("GET", "/v2/models/stats/config", None, 404),
]


async def test_what_is_not_done_here_is_said_in_the_protocols_words(table: RoutingTable) -> None:
    async with client_of(table) as client:
        for method, path, body, status in OF_ALL:
            answer = await client.request(method, path, json=body)
            assert answer.status_code == status, path
            assert status == 200 or list(answer.json()) == ["error"], path


async def test_a_service_called_stats_is_still_one(database: Database, table: RoutingTable, tmp_path: Path) -> None:
    async with replica(tmp_path) as one, client_of(table) as client:
        await make_replica(database, await make_service(database, ["deploy", "ready"], "stats"), one.address)
        await until(lambda: table.counts == (1, 1))
        assert (await client.get("/v2/models/stats")).json() == {"outputs": 1}
        assert (await client.get("/v2/models/stats/stats")).json() == {"outputs": 1}


async def test_who_may_not_ask_is_told_so_in_the_protocols_words(table: RoutingTable) -> None:
    async with client_of(table) as client:
        for method, path in (("GET", "/v1/models"), ("GET", "/v2"), ("POST", "/v2/repository/index")):
            answer = await client.request(method, path, headers={"Authorization": "Bearer x"})
            assert (answer.status_code, list(answer.json())) == (401, ["error"])


async def test_the_statistics_of_all_wait_for_no_service_that_hangs(
    database: Database, table: RoutingTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    for figure, seconds in (("ALL_STATS_S", 0.2), ("STATS_S", 60.0)):  # figures, not functions
        monkeypatch.setattr(f"api.gateway.protocols.{figure}", seconds)
    async with replica(tmp_path, answer=never) as one, client_of(table) as client:
        await serve_iris(database, table, one)
        async with asyncio.timeout(20):
            while not one.seen:  # on a busy machine the time may be over before it gets there
                assert (await client.get("/v2/models/stats")).json() == {"model_stats": []}
