"""Whether the process lives, predicts and controls; and what it tells of itself."""

from dataclasses import replace

from httpx2 import ASGITransport, AsyncClient

from api.app import build_app, openapi_document
from api.dependencies import Context
from core.settings import Settings
from tests.api.platform import add_operation, is_problem


def _client(context: Context) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(build_app(context)), base_url="http://localhost")


async def test_everything_is_ready(client: AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json() == {"status": "ready"}
    assert (await client.get("/readyz/control")).json() == {"status": "ready", "checked": ["database", "store"]}


async def test_readiness_is_the_prediction_path(context: Context) -> None:
    async with _client(replace(context, is_routing_ready=lambda: False)) as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


async def test_the_control_plane_names_what_is_not_ready(context: Context) -> None:
    async def away() -> str | None:
        return "no worker was seen for 30 s"

    async with _client(replace(context, checks={"worker": away})) as client:
        answer = await client.get("/readyz/control")
        assert answer.status_code == 503
        assert answer.json()["waiting_for"] == {"worker": "no worker was seen for 30 s"}
        assert (await client.get("/readyz")).status_code == 200


async def test_metrics_count_requests_by_route(client: AsyncClient) -> None:
    await client.get("/api/v1/operations/op_1")
    await client.get("/api/v1/operations/op_2")
    await client.get("/api/v1/nowhere")
    lines = (await client.get("/metrics")).text.splitlines()
    route = 'portside_http_requests_total{method="GET",route="/api/v1/operations/{operation_id}",status="404"} 2.0'
    assert route in lines


async def test_metrics_and_system_need_who_asks(client: AsyncClient) -> None:
    for path in ("/metrics", "/api/v1/system"):
        is_problem(await client.get(path, headers={"Host": "evil.example"}), 403, "foreign_host")


async def test_the_system_tells_its_lanes_and_no_secret(
    client: AsyncClient, context: Context, settings: Settings
) -> None:
    await add_operation(context)
    body = (await client.get("/api/v1/system")).json()
    assert body["lanes"]["control"]["waiting"] == 1
    assert body["database"] == "sqlite"
    assert str(settings.data) not in str(body)


def test_every_operation_of_the_api_has_its_own_id_and_tells_errors_as_problems() -> None:
    description = openapi_document()
    assert description["openapi"] == "3.1.0"
    paths = description["paths"]
    assert isinstance(paths, dict)
    found = [operation for path in paths.values() for operation in path.values()]
    ids = [operation["operationId"] for operation in found]
    assert len(set(ids)) == len(ids)
    assert all(operation["summary"] and operation["description"] for operation in found)
    assert all("application/problem+json" in operation["responses"]["default"]["content"] for operation in found)
    assert description == openapi_document()


async def test_the_description_is_served_without_a_token_and_without_a_page_from_elsewhere(
    client: AsyncClient,
) -> None:
    answer = await client.get("/api/v1/openapi.json", headers={"Host": "anything.example"})
    assert answer.status_code == 200
    assert answer.json()["openapi"] == "3.1.0"
    assert (await client.get("/docs")).status_code == 404
