"""Lists: pages that do not shift, filters, order, and tokens that fit only where they were made."""

import base64
import json

import pytest
from httpx2 import AsyncClient

from tests.api.platform import is_problem

WEBHOOKS = "/api/v1/webhooks"


async def _make(client: AsyncClient, *names: str) -> list[str]:
    return [(await client.post(WEBHOOKS, json={"url": f"https://{n}.example.com/"})).json()["id"] for n in names]


async def _ids(client: AsyncClient, query: str) -> list[str]:
    answer = await client.get(f"{WEBHOOKS}?{query}")
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_pages_hold_every_row_once_though_rows_are_made_meanwhile(client: AsyncClient) -> None:
    made = await _make(client, "a", "b", "c", "d", "e")
    seen: list[str] = []
    token = ""
    while True:
        page = (await client.get(f"{WEBHOOKS}?page_size=2{token}")).json()
        seen += [item["id"] for item in page["items"]]
        await _make(client, f"new{len(seen)}")
        if page["next_page_token"] is None:
            break
        token = f"&page_token={page['next_page_token']}"
    assert seen == made[::-1]


async def test_the_total_counts_what_the_filters_keep(client: AsyncClient) -> None:
    await _make(client, "iris", "iris2", "other")
    page = (await client.get(f"{WEBHOOKS}?url.contains=IRIS&count=true&page_size=1")).json()
    assert (page["total"], len(page["items"])) == (2, 1)
    assert "total" not in (await client.get(WEBHOOKS)).json()


async def test_filters_compare_text_times_and_flags(client: AsyncClient) -> None:
    a, b = await _make(client, "a%", "b_")
    await client.patch(f"{WEBHOOKS}/{b}", json={"enabled": False})
    created = (await client.get(f"{WEBHOOKS}/{b}")).json()["created_at"]
    assert await _ids(client, "url.prefix=https://a%25") == [a]
    assert await _ids(client, "url.suffix=_.example.com/") == [b]
    assert await _ids(client, "url.not.contains=a%25") == [b]
    assert await _ids(client, "enabled=false") == [b]
    assert await _ids(client, f"created_at.lt={created}") == [a]
    assert await _ids(client, f"created_at.ge={created}") == [b]
    assert await _ids(client, "url.in=https://b_.example.com/,x") == [b]
    assert await _ids(client, "url.not.eq=x&url.ne=https://a%25.example.com/") == [b]


@pytest.mark.parametrize(
    ("query", "pointer", "hint"),
    [
        ("ulr=x", "/ulr", "did you mean 'url'?"),
        ("url.containz=x", "/url.containz", "did you mean 'contains'?"),
        ("url.gt=x", "/url.gt", ""),
        ("page-size=3", "/page-size", "did you mean 'page_size'?"),
        ("url.not.not.eq=x", "/url.not.not.eq", ""),
    ],
)
async def test_an_unknown_parameter_is_named_with_the_nearest(
    client: AsyncClient, query: str, pointer: str, hint: str
) -> None:
    problem = is_problem(await client.get(f"{WEBHOOKS}?{query}"), 422, "unknown_field")
    errors = problem["errors"]
    assert isinstance(errors, list)
    assert errors[0]["pointer"] == pointer
    assert hint in errors[0].get("hint", "")


@pytest.mark.parametrize(
    "query",
    [
        "page_size=0",
        "page_size=501",
        "page_size=many",
        "order_by=secret",
        "created_at.gt=yesterday",
        "created_at.gt=2026-01-01T00:00:00",
        "enabled=maybe",
        "count=perhaps",
        "page_token=nonsense",
        "page_token=" + base64.urlsafe_b64encode(b"[1,2]").decode(),
        "page_token=" + base64.urlsafe_b64encode(b'[{"a":1},"x","y"]').decode(),
        "page_token=%00",
        "url=%00",
        "url.in=" + "," * 500,
    ],
)
async def test_a_wrong_value_is_refused(client: AsyncClient, query: str) -> None:
    is_problem(await client.get(f"{WEBHOOKS}?{query}"), 422, "invalid_field")


@pytest.mark.parametrize(
    ("value", "row_id"), [(10**30, "whk_1"), ("2020", "whk_1"), (1, 2), (1, "a\x00"), (1.5, "a"), (1, "\ud800")]
)
async def test_a_token_that_somebody_changed_is_refused(client: AsyncClient, value: object, row_id: object) -> None:
    await _make(client, "a", "b")
    token = (await client.get(f"{WEBHOOKS}?page_size=1")).json()["next_page_token"]
    made_for = json.loads(base64.urlsafe_b64decode(token + "=="))[2]
    forged = base64.urlsafe_b64encode(json.dumps([value, row_id, made_for]).encode()).decode().rstrip("=")
    is_problem(await client.get(f"{WEBHOOKS}?page_token={forged}"), 422, "invalid_field")


@pytest.mark.parametrize("changed", ["url.contains=b", "order_by=created_at"])
async def test_a_token_does_not_fit_another_list(client: AsyncClient, changed: str) -> None:
    await _make(client, "a", "b", "c")
    token = (await client.get(f"{WEBHOOKS}?page_size=1")).json()["next_page_token"]
    answer = await client.get(f"{WEBHOOKS}?page_size=1&page_token={token}&{changed}")
    is_problem(answer, 422, "invalid_field")
    assert (await client.get(f"{WEBHOOKS}?page_size=2&page_token={token}")).status_code == 200
    is_problem(await client.get(f"/api/v1/events?page_token={token}"), 422, "invalid_field")
