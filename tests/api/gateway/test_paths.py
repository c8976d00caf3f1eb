"""Which paths the gateway answers, by which methods, and which it leaves to the API."""

from pathlib import Path

import pytest

from api.gateway.table import RoutingTable
from state.database import Database
from state.migrate import DEFAULT_TENANT
from tests.api.gateway.replicas import replica
from tests.api.gateway.test_gateway import client_of, make_replica, make_service, serve_iris, until


@pytest.mark.parametrize(
    "path", ["/api/v1/services/iris/parts/fr/predict", "/v2/models/iris/versions/fr/infer", "/v2/models/iris/infer"]
)
async def test_a_part_is_asked_at_the_replica_by_the_same_path(
    database: Database, table: RoutingTable, tmp_path: Path, path: str
) -> None:
    async with replica(tmp_path) as one, client_of(table) as client:
        await serve_iris(database, table, one)
        answer = await client.post(f"{path}?on_error=record", json={})
        wrong = await client.get(f"{path}/")
        late = await client.post(path, json={}, headers={"Portside-Timeout": "soon"})
    assert (answer.status_code, wrong.status_code) == (200, 405)
    assert late.status_code in (400, 422)
    assert [seen.line for seen in one.seen] == [f"POST {path}?on_error=record HTTP/1.1"]


@pytest.mark.parametrize("path", ["/parts/fr", "/parts/fr/x/predict", "/parts//predict", "/parts/predict"])
async def test_what_only_looks_like_a_part_is_for_the_api(table: RoutingTable, path: str) -> None:
    async with client_of(table) as client:
        assert (await client.post(f"/api/v1/services/iris{path}")).text == "the api"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v1/services/rose/predict", "POST, OPTIONS"),
        ("/v2/models/rose/infer", "POST, OPTIONS"),
        ("/v2/models/rose/ready", "GET, HEAD, OPTIONS"),
        ("/v2/health/live", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_tells_what_a_path_takes(table: RoutingTable, path: str, allowed: str) -> None:
    async with client_of(table) as client:
        answer = await client.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")


@pytest.mark.parametrize("name", ["infer", "predict", "ready", "stats", "versions", "health", "live", "models", "v2"])
async def test_a_service_may_be_called_like_a_part_of_a_path(
    database: Database, table: RoutingTable, tmp_path: Path, name: str
) -> None:
    model = f"/v2/models/{name}"
    reads = [f"{each}{end}" for each in (model, f"{model}/versions/1") for end in ("", "/", "/ready", "/stats")]
    posts = [f"/api/v1/services/{name}/predict", f"{model}/infer", f"{model}/versions/1/infer", f"{model}/infer/"]
    async with replica(tmp_path) as one, client_of(table) as client:
        await make_replica(database, await make_service(database, ["deploy", "ready"], name), one.address)
        await until(lambda: (route := table.route(DEFAULT_TENANT, name)) is not None and bool(route.backends))
        for method, other, paths in (("GET", "POST", reads), ("POST", "GET", posts)):
            for path in paths:
                assert (await client.request(method, path)).status_code == 200, (method, path)
                assert one.seen[-1].line == f"{method} {path.rstrip('/')} HTTP/1.1"
                refused = await client.request(other, path)
                assert (refused.status_code, refused.headers["allow"].split(", ")[0]) == (405, method), (other, path)
        resource = await client.get(f"/api/v1/services/{name}")
        assert (resource.text, len(one.seen)) == ("the api", len(reads) + len(posts))
