"""Idempotency keys, waiting by `Prefer`, and how finished, failed and unfinished mutations are answered."""

import asyncio

import pytest
from httpx2 import AsyncClient, Response
from sqlalchemy import delete

from api.dependencies import Context
from api.mutations import ANSWER_EARLY_S
from state.tables import Operation
from tests.api.platform import add_operation, add_user, fails, is_problem, succeeds, until, work_on

WEBHOOKS = "/api/v1/webhooks"
BODY = {"url": "https://example.com/hook"}


async def _total(client: AsyncClient, path: str = WEBHOOKS) -> int:
    return int((await client.get(f"{path}?count=true&page_size=1")).json()["total"])


async def test_an_instant_mutation_answers_201_with_the_resource_and_its_operation(client: AsyncClient) -> None:
    answer = await client.post(WEBHOOKS, json=BODY)
    assert answer.status_code == 201
    assert answer.headers["location"] == f"http://localhost:8000{WEBHOOKS}/{answer.json()['id']}"
    operation = (await client.get(answer.headers["operation-location"])).json()
    assert (operation["kind"], operation["status"], operation["result"]) == ("webhook.create", "succeeded", {})
    assert operation["target"]["url"] == answer.headers["location"]


@pytest.mark.parametrize("second", ["key-1", '"key-1"'])
async def test_the_same_key_and_body_is_done_once_and_answered_alike(client: AsyncClient, second: str) -> None:
    first = await client.post(WEBHOOKS, json=BODY, headers={"Idempotency-Key": "key-1"})
    replay = await client.post(WEBHOOKS, json=BODY, headers={"Idempotency-Key": second})
    assert (replay.status_code, replay.json()) == (201, first.json())
    assert replay.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert replay.headers["operation-location"] == first.headers["operation-location"]
    assert await _total(client) == 1


async def test_the_same_key_with_another_body_is_refused(client: AsyncClient) -> None:
    await client.post(WEBHOOKS, json=BODY, headers={"Idempotency-Key": "key"})
    other = await client.post(WEBHOOKS, json={**BODY, "enabled": False}, headers={"Idempotency-Key": "key"})
    is_problem(other, 422, "idempotency_key_reused")
    assert await _total(client) == 1


async def test_a_refused_request_does_not_use_up_its_key(client: AsyncClient) -> None:
    key = {"Idempotency-Key": "key"}
    is_problem(await client.post(WEBHOOKS, json={"url": "ftp://x"}, headers=key), 422, "invalid_field")
    is_problem(await client.delete(f"{WEBHOOKS}/whk_none", headers=key), 404, "not_found")
    assert (await client.post(WEBHOOKS, json=BODY, headers=key)).status_code == 201


async def test_a_key_belongs_to_one_tenant_method_and_path(client: AsyncClient, context: Context) -> None:
    key = {"Idempotency-Key": "key"}
    other = await add_user(context, "acme", "ada")
    mine = (await client.post(WEBHOOKS, json=BODY, headers=key)).json()
    theirs = await client.post(WEBHOOKS, json=BODY, headers={**key, **other})
    assert theirs.json()["id"] != mine["id"]
    assert (await client.delete(f"{WEBHOOKS}/{mine['id']}", headers=key)).status_code == 204


@pytest.mark.parametrize("key", ["", '""', "x" * 256])
async def test_a_key_that_is_none_is_refused(client: AsyncClient, key: str) -> None:
    is_problem(await client.post(WEBHOOKS, json=BODY, headers={"Idempotency-Key": key}), 422, "invalid_field")


async def test_a_hundred_concurrent_duplicates_have_one_effect(client: AsyncClient) -> None:
    async def send() -> Response:
        return await client.post(WEBHOOKS, json=BODY, headers={"Idempotency-Key": "storm"})

    answers = await asyncio.gather(*(send() for _ in range(100)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 99
    assert await _total(client) == 1


async def test_a_replayed_deletion_is_a_deletion_again(client: AsyncClient) -> None:
    made = (await client.post(WEBHOOKS, json=BODY)).json()["id"]
    for replayed in (None, "true"):
        answer = await client.delete(f"{WEBHOOKS}/{made}", headers={"Idempotency-Key": "gone"})
        assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (204, replayed)


async def test_a_replay_of_what_is_gone_shows_its_operation_under_a_status_of_its_own(client: AsyncClient) -> None:
    key = {"Idempotency-Key": "key"}
    path = f"{WEBHOOKS}/{(await client.post(WEBHOOKS, json=BODY, headers=key)).json()['id']}"
    await client.patch(path, json={"enabled": False}, headers=key)
    await client.delete(path)
    created = await client.post(WEBHOOKS, json=BODY, headers=key)
    changed = await client.patch(path, json={"enabled": False}, headers=key)
    for replay, kind in ((created, "webhook.create"), (changed, "webhook.update")):
        assert (replay.status_code, replay.json()["kind"], replay.json()["done"]) == (202, kind, True)
        assert replay.headers["location"] == replay.headers["operation-location"]


async def test_a_stale_if_match_changes_nothing(client: AsyncClient) -> None:
    made = await client.post(WEBHOOKS, json=BODY)
    path, stale = f"{WEBHOOKS}/{made.json()['id']}", {"If-Match": made.headers["etag"]}
    changed = await client.patch(path, json={"description": "one"}, headers=stale)
    assert (changed.status_code, changed.json()["generation"]) == (200, 2)
    problem = is_problem(await client.patch(path, json={"description": "two"}, headers=stale), 412, "stale_etag")
    assert problem["current_etag"] == changed.headers["etag"]
    assert (await client.get(path)).json()["description"] == "one"
    assert (await client.patch(path, json={}, headers={"If-Match": "*"})).status_code == 200


async def _failed(client: AsyncClient, context: Context) -> str:
    operation = await add_operation(context)
    await work_on(context, fails)
    return f"/api/v1/operations/{operation.id}:retry"


async def test_unfinished_work_is_202_with_where_to_look(client: AsyncClient, context: Context) -> None:
    answer = await client.post(await _failed(client, context))
    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    assert answer.headers["location"] == answer.headers["operation-location"]
    assert answer.headers["retry-after"] == "1"
    assert "preference-applied" not in answer.headers


async def test_prefer_wait_holds_the_answer_until_the_work_is_done(client: AsyncClient, context: Context) -> None:
    path = await _failed(client, context)
    asked = asyncio.create_task(client.post(path, headers={"Prefer": "wait=60"}))
    await _is_queued(client, path)
    await work_on(context, succeeds)
    answer = await asked
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["preference-applied"] == "wait=60"


async def test_prefer_wait_answers_a_failure_with_its_own_problem(client: AsyncClient, context: Context) -> None:
    path = await _failed(client, context)
    asked = asyncio.create_task(client.post(path, headers={"Prefer": "wait=60"}))
    await _is_queued(client, path)
    await work_on(context, fails)
    answer = await asked
    problem = is_problem(answer, 500, "inspection_failed")
    assert isinstance(problem["operation"], dict)
    assert problem["operation"]["status"] == "failed"
    assert "operation-location" in answer.headers


async def test_prefer_wait_answers_before_its_time_with_what_is_there(
    client: AsyncClient, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ANSWER_EARLY_S >= 0.2
    monkeypatch.setattr(
        "api.mutations.ANSWER_EARLY_S", 59.9
    )  # a figure, not a function: nobody waits for a minute here
    path = await _failed(client, context)
    async with asyncio.timeout(50):
        answer = await client.post(path, headers={"Prefer": "respond-async, wait=60"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=60"


@pytest.mark.parametrize("prefer", ["wait=soon", "wait=-1", "handling=lenient", "", "wait=0"])
async def test_a_preference_that_means_nothing_is_ignored(client: AsyncClient, context: Context, prefer: str) -> None:
    answer = await client.post(await _failed(client, context), headers={"Prefer": prefer})
    assert answer.status_code == 202


async def test_a_replay_of_finished_work_shows_how_it_ended(client: AsyncClient, context: Context) -> None:
    path, key = await _failed(client, context), {"Idempotency-Key": "again"}
    assert (await client.post(path, headers=key)).status_code == 202
    await work_on(context, succeeds)
    replay = await client.post(path, headers=key)
    assert (replay.status_code, replay.json()["status"]) == (200, "succeeded")
    assert replay.headers["idempotent-replayed"] == "true"


async def _is_queued(client: AsyncClient, path: str) -> None:
    async def queued() -> bool:
        found = (await client.get(path.removesuffix(":retry"))).json()
        return bool(found["status"] == "queued")

    await until(queued)


async def test_a_replay_of_what_is_no_longer_kept_says_so(client: AsyncClient, context: Context) -> None:
    key = {"Idempotency-Key": "key"}
    made = await client.post(WEBHOOKS, json=BODY, headers=key)
    async with context.database.write() as session:
        made_by = made.headers["operation-location"].rpartition("/")[2]
        await session.execute(delete(Operation).where(Operation.id == made_by))
    is_problem(await client.post(WEBHOOKS, json=BODY, headers=key), 404, "not_found")
