"""What a list shows of a thing is what the thing shows of itself, on every page and in every order."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from httpx2 import AsyncClient
from starlette.responses import JSONResponse

from api.dependencies import Context
from api.pages import PageAnswer
from tests.api.catalogue import add_ready_versions, running_service
from tests.api.platform import is_problem

V1 = "/api/v1"
# Each list, where its things are found one by one, and by which of their members.
LISTS: Mapping[str, tuple[str, str]] = {
    "/models": ("/models", "name"),
    "/models/iris/versions": ("/models/iris/versions", "version"),
    "/services": ("/services", "name"),
    "/operations": ("/operations", "id"),
    "/predictions": ("/predictions", "id"),
    "/webhooks": ("/webhooks", "id"),
    "/events": ("/events", "id"),
    "/tokens": ("/tokens", "id"),
    "/files": ("/files", "id"),
    "/datasets": ("/datasets", "name"),
}


async def fill(client: AsyncClient, context: Context) -> None:
    """Two of everything, described and not."""
    await add_ready_versions(context, 2)
    await running_service(client, context)
    await running_service(client, context, name="other", env={"MODE": "quick"}, tags=["a"])
    made = [
        ("/models", {"name": "bare"}),
        ("/models", {"name": "told", "display_name": "Told ❀", "description": "…", "tags": ["x", "y"]}),
        *[("/datasets", {"name": name, "kind": "files"}) for name in ("a", "b")],
        *[("/webhooks", {"url": f"https://{name}.example.com/"}) for name in ("a", "b")],
        *[("/tokens", {"name": name}) for name in ("a", "b")],
        *[("/services/iris/predictions", {"inputs": {"x": [1, 2, 3, 4]}})] * 2,
    ]
    for path, body in made:
        answer = await client.post(V1 + path, json=body)
        assert answer.status_code in (201, 202), answer.text
    assert (await client.put(f"{V1}/models/iris/aliases/best", json={"version": "1"})).status_code == 200
    for name in ("a", "b"):
        assert (await client.post(f"{V1}/files", files={"content": (f"{name}.txt", b"text")})).status_code == 201


async def whole(client: AsyncClient, path: str) -> list[dict[str, Any]]:
    """All items of a list, one a page."""
    items: list[dict[str, Any]] = []
    query = "?page_size=1"
    while True:
        page = (await client.get(V1 + path + query)).json()
        items += page["items"] if "items" in page else page["results"]
        following = page.get("next_page_token") or (page.get("next") or "").partition("page_token=")[2]
        if not following:
            return items
        query = f"?page_size=1&page_token={following}"


async def test_what_a_list_shows_is_what_each_thing_shows_of_itself(client: AsyncClient, context: Context) -> None:
    await fill(client, context)
    for path, (where, member) in LISTS.items():
        items = await whole(client, path)
        assert len(items) >= 2, path
        for item in items:
            alone = await client.get(f"{V1}{where}/{item[member]}")
            assert alone.status_code == 200, (path, alone.text)
            assert item == alone.json(), path


@pytest.mark.parametrize(
    "content",
    [
        {"items": [], "next_page_token": None},
        {"items": [{"ä": 'q"\\\n\t\x7f\u2028❀', "n": [0, -1, 2**63, 1.5, 1e-9, True, None], "tuple": (1, "a")}]},
        {"items": [{"mapping": {"é": {}}, "empty": ""}], "total": 3},
    ],
)
def test_a_page_is_written_as_any_other_answer(content: dict[str, Any]) -> None:
    page, usual = PageAnswer(content), JSONResponse(content)
    assert json.loads(bytes(page.body)) == json.loads(bytes(usual.body))
    assert page.headers["content-type"] == usual.headers["content-type"]
    assert len(page.body) <= len(usual.body)


@pytest.mark.parametrize("path", [*LISTS, "/runs", "/jobs"])
async def test_a_status_that_there_is_not_is_refused_by_each_list_that_has_one(
    client: AsyncClient, context: Context, path: str
) -> None:
    await add_ready_versions(context, 1)
    described = (await client.get(f"{V1}/openapi.json")).json()["paths"][V1 + path.replace("iris", "{model}")]["get"]
    if "status" not in [parameter["name"] for parameter in described["parameters"]]:
        return
    for query in ("status=nonsense", "status.not=nonsense", "status.in=running,,deletd"):
        problem = is_problem(await client.get(f"{V1}{path}?{query}"), 422, "invalid_field")
        assert "has no value" in str(problem["detail"])
    assert (await client.get(f"{V1}{path}?status.prefix=dele")).status_code == 200


async def test_what_was_mistyped_is_told_with_the_nearest(client: AsyncClient) -> None:
    problem = is_problem(await client.get(f"{V1}/runs?status=runing"), 422, "invalid_field")
    assert problem["errors"] == [
        {"pointer": "/status", "detail": "'status' has no value 'runing'", "hint": "did you mean 'running'?"}
    ]
